"""A program in a terminal of its own: what it shows is read, what is typed is written."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

PATIENCE_S = 30.0
_ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])|\x0f|\r")


class Terminal:
    def __init__(self, command: Sequence[str], home: Path, **env: str) -> None:
        self._command = list(command)
        self._home = home
        self._env: Mapping[str, str] = env
        self._seen = b""

    def __enter__(self) -> "Terminal":
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        env = {"PATH": os.environ["PATH"], "HOME": str(self._home), "TERM": "xterm", **self._env}
        env["LANG"] = "C.UTF-8"
        self.process = subprocess.Popen(
            self._command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._master, 65_536):
                self._seen += data

    @property
    def text(self) -> str:
        """What was shown so far, without colours and movements."""
        return _ESCAPES.sub(b"", self._seen).decode(errors="replace")

    def type(self, line: str) -> None:
        """A line of input and Enter."""
        os.write(self._master, line.encode() + b"\r")

    def until(self, text: str, after: int = 0) -> None:
        end = time.monotonic() + PATIENCE_S
        while text not in self.text[after:]:
            assert time.monotonic() < end, f"{text!r} was not shown:\n{self.text[-3000:]}"
            time.sleep(0.02)
