"""The server under measurement: our own child process, and what /proc says of it."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from whimbrel.domain.rows import MESSAGE
from whimbrel.storage.opening import FILE

COMMAND = ("-m", "whimbrel.cli.main")

LIMITS = """
[probe]
on = false

[limits]
new_contacts_per_hour = 1000000
connections_per_address_max = 100000
logins_per_address_per_minute = 10000000
unauthenticated_max = 20000
frames_per_s = 1000000
bytes_per_s = 1000000000
"""


class Server:
    """Starts `whimbrel serve` on free ports in a folder of its own; ends it with the block."""

    def __init__(self, folder: Path | None = None, limits: str = "") -> None:
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="whimbrel-bench-"))
        self.limits = LIMITS + limits
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self.native_port = 0  # 0: any free one
        self.http_port = 0
        self.xmpp_port = 0
        self.start_s = 0.0
        self.command: tuple[str, ...] = COMMAND

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.stop()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        config = self.folder / "whimbrel.toml"
        config.write_text(
            'domain = "localhost"\n[listen]\nhost = "127.0.0.1"\n'
            f"native = {self.native_port}\n"
            f"native_plain = 0\nhttps = 0\nhttp = {self.http_port}\n"
            f"xmpp = {self.xmpp_port}\nxmpp_tls = 0\nxmpp_plain = 0\n"
            '[log]\nlevel = "warning"\nformat = "json"\n' + self.limits
        )
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        started = time.monotonic()
        command = [sys.executable, *self.command, "serve", "--config", str(config)]
        command += ["--data", str(self.data), "--ready-file", str(ready)]
        with open(self.folder / "server.log", "ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said)
        while not ready.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.said()}")
            if time.monotonic() - started > 60:
                raise RuntimeError("the server was not ready within 60 s")
            time.sleep(0.005)
        self.start_s = time.monotonic() - started
        self.ready = json.loads(ready.read_text())

    def in_inboxes(self) -> int:
        """Messages that wait in all inboxes, read beside the server (which sees no reader)."""
        flags = apsw.SQLITE_OPEN_READONLY
        with closing(apsw.Connection(str(self.data / FILE), flags=flags)) as db:
            db.set_busy_timeout(5_000)
            counted = db.execute("SELECT count(*) FROM inbox WHERE kind = ?", (MESSAGE,)).get
        assert isinstance(counted, int)
        return counted

    def said(self) -> str:
        """The last lines of its terminal."""
        log = self.folder / "server.log"
        return log.read_text(errors="replace")[-6_000:] if log.exists() else ""

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def pss_kib(self) -> int:
        """Proportional memory."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        return 0
