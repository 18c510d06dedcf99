"""One server for all clients, with an archive; accounts are made by the command line."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.server import Server


class Place:
    """A running server, and people on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.keys: dict[str, str] = {}

    @property
    def port(self) -> int:
        return int(self.server.ready["xmpp"])

    @property
    def tls_port(self) -> int:
        return int(self.server.ready["xmpp_tls"])

    @property
    def http_port(self) -> int:
        return int(self.server.ready["http"])

    @property
    def certificate(self) -> Path:
        return self.server.data / "certificate.pem"

    def account(self, name: str) -> tuple[str, str]:
        """(a name that is free, its key)."""
        free = f"{name}{secrets.token_hex(3)}"
        command = [sys.executable, "-m", "whimbrel", "user", "add", free]
        command += ["--data", str(self.server.data)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        key = next(line.split()[1] for line in said.stdout.splitlines() if line.startswith("key"))
        self.keys[free] = key
        return free, key


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server = Server(tmp_path_factory.mktemp("clients"))
    server.limits = "[limits]\narchive_s = 86400\n"
    with server:
        yield Place(server)
