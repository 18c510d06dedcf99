"""One server for all clients, with an archive; accounts are made by the command line."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bench.server import Server

PAGE = """\
<!doctype html><html><head><meta charset="utf-8"><title>Converse</title>
<link rel="stylesheet" href="/converse.min.css"></head><body class="converse-fullscreen">
<script type="module" src="/converse.min.js"></script><script type="module">
converse.plugins.add("here", { initialize() { window.here = this._converse; } });
converse.initialize(JSON.parse(decodeURIComponent(location.hash.slice(1))));
</script></body></html>
"""
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


class Site(SimpleHTTPRequestHandler):
    """Converse.js as it is distributed, and one page that starts it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, directory=str(MODULES / "converse.js" / "dist"))

    def do_GET(self) -> None:
        if self.path != "/chat.html":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to read it."""


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[int]:
    """The port of another site: it serves Converse.js, as somebody's web server would."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
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
