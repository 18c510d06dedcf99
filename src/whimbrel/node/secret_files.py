"""Secrets that a server keeps in its data folder, each made once and readable by its user only."""

import os
import secrets
from pathlib import Path

from whimbrel.protocol.sasl.verifiers import Keeper, keeper


def secret_file(path: Path, size: int) -> str:
    """A random secret in hexadecimal, kept for the life of the data folder."""
    if not path.exists():
        write_private(path, secrets.token_hex(size))
    return path.read_text().strip()


def scram_keeper(folder: Path) -> Keeper:
    """Makes the verifiers of new keys with this server's own salts."""
    return keeper(bytes.fromhex(secret_file(folder / "scram.secret", 32)))


def write_private(path: Path, text: str) -> None:
    """Readable by the server's user only, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
