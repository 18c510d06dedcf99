"""One server for all clients, with an archive; accounts are made by the command line."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bench.server import Server

MODULES = Path(sys.prefix) / "web" / "node_modules"


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
def elsewhere() -> Iterator[int]:
    """The port of another site: it serves Converse.js, as somebody's web server would."""
    files = partial(SimpleHTTPRequestHandler, directory=str(MODULES / "converse.js" / "dist"))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as site:
        thread = Thread(target=site.serve_forever, daemon=True)
        thread.start()
        yield int(site.server_address[1])
        site.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, elsewhere: int) -> Iterator[Place]:
    server = Server(tmp_path_factory.mktemp("clients"))
    server.limits = (
        f'[limits]\narchive_s = 86400\n[web]\norigins = ["http://127.0.0.1:{elsewhere}"]\n'
    )
    with server:
        yield Place(server)
