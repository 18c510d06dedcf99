"""HAProxy (Debian's) before the nodes: what a balancer of an installation looks like, small.

TCP for the own protocol and XMPP; HTTP by source address, so that a BOSH session, whose requests
come on several connections, mostly stays on one node.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from trial.nodes import TrialNode

READY_S = 20.0


def haproxy_program() -> str:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin") or ""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Balancer:
    """start() and stop(). Ports of 0 are any free ones."""

    def __init__(
        self,
        folder: Path,
        nodes: Sequence[TrialNode],
        native: int = 0,
        http: int = 0,
        xmpp: int = 0,
    ) -> None:
        self.folder = folder
        self.nodes = nodes
        self.native, self.http, self.xmpp = (port or free_port() for port in (native, http, xmpp))
        self.process: subprocess.Popen[bytes] | None = None

    def configuration(self) -> str:
        """A node that answers /ready with 503 or not at all gets no new connections."""
        text = (
            "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 2s\n"
            "  timeout client 10m\n  timeout server 10m\n  option redispatch\n  retries 3\n"
        )
        for name, port in (("native", self.native), ("http", self.http), ("xmpp", self.xmpp)):
            balance = "source" if name == "http" else "leastconn"
            text += f"listen {name}\n  bind 127.0.0.1:{port}\n  balance {balance}\n"
            text += "  hash-type consistent\n" if name == "http" else ""
            text += "  option httpchk GET /ready\n  default-server inter 1s fall 2 rise 1\n"
            for node in self.nodes:
                ready = node.ready
                text += f"  server {node.name} 127.0.0.1:{ready[name]} check port {ready['http']}\n"
        return text

    def start(self) -> "Balancer":
        """Raises RuntimeError with HAProxy's words if it does not come up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config, log = self.folder / "haproxy.cfg", self.folder / "log"
        config.write_text(self.configuration())
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [haproxy_program(), "-db", "-f", str(config)], stdout=out, stderr=out
            )
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s and self.process.poll() is None:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.native)) == 0:
                    return self
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"haproxy did not start: {log.read_text()[-500:]}")

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait(20)
