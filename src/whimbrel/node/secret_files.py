"""Secrets that a server keeps in its data folder, each made once and readable by its user only."""

import os
import secrets
from pathlib import Path

import asyncpg

from whimbrel.domain.errors import Unready
from whimbrel.protocol.sasl.verifiers import Keeper, keeper
from whimbrel.storage.postgres.connections import connect


def secret_file(path: Path, size: int) -> str:
    """A random secret in hexadecimal, kept for the life of the data folder."""
    if not path.exists():
        write_private(path, secrets.token_hex(size))
    return path.read_text().strip()


def scram_keeper(folder: Path) -> Keeper:
    """Makes the verifiers of new keys with this server's own salts."""
    return keeper(bytes.fromhex(secret_file(folder / "scram.secret", 32)))


SHARED = ("scram.secret", "pin.secret", "admin.token")
SHARED_BYTES = 32


async def share_secrets(url: str, folder: Path) -> None:
    """All nodes of an installation have the same ones: the first node's. Raises Unready."""
    try:
        db = await connect(url)
        try:
            for name in SHARED:
                ours = secret_file(folder / name, SHARED_BYTES)
                await db.execute(
                    "INSERT INTO secret VALUES ($1, $2) ON CONFLICT DO NOTHING", name, ours
                )
                theirs = await db.fetchval("SELECT value FROM secret WHERE name = $1", name)
                if theirs != ours:
                    write_private(folder / name, theirs)
        finally:
            await db.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unready(f"store.url: the installation's secrets cannot be read: {error}") from error


def write_private(path: Path, text: str) -> None:
    """Readable by the server's user only, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)
