"""How a server that has handed over leaves, so that whoever waits for it goes on waiting.

Either it is the main process of a service manager that can be told of another one, or a keeper
stands above it, or it becomes the keeper (keeper.py).
"""

import os
import signal
import sys

from whimbrel.node import keeper
from whimbrel.node.notify import is_watched, notify


class Keeping:
    """Made before the next server is started, which inherits `fd` and is told `environment`."""

    def __init__(self) -> None:
        self.fd = -1
        self._news = -1
        above = _keeper_above()
        if is_watched():
            return
        if above >= 0:
            self.fd = above
        else:
            self._news, self.fd = os.pipe()

    @property
    def environment(self) -> dict[str, str]:
        if self.fd < 0:
            return {}
        pid = os.getpid() if self._news >= 0 else os.getppid()
        return {keeper.VARIABLE: f"{pid}:{self.fd}"}

    def give_up(self) -> None:
        """The restart has failed: all is as before."""
        if self._news >= 0:
            os.close(self._news)
            os.close(self.fd)
            self._news = self.fd = -1

    def announce(self, pid: int) -> None:
        """The next server serves."""
        if self.fd < 0:
            notify(f"MAINPID={pid}", "READY=1")
        elif self._news < 0:
            os.write(self.fd, f"{pid}\n".encode())

    def leave(self, pid: int) -> int:
        """The exit code of this process; does not come back where it becomes the keeper."""
        if self._news < 0:
            return 0
        os.close(self.fd)
        os.set_inheritable(self._news, True)
        signal.pthread_sigmask(signal.SIG_BLOCK, keeper.PASSED_ON)  # until the keeper hears them
        words = [sys.executable, "-I", "-S", keeper.__file__, str(pid), str(self._news)]
        try:
            os.execv(sys.executable, words)
        except OSError:  # this Python is gone from the disk: then at greater cost
            return keeper.keep(pid, self._news)


def _keeper_above() -> int:
    """The keeper's pipe, if our parent is one; -1."""
    pid, _, fd = os.environ.get(keeper.VARIABLE, "").partition(":")
    if pid != str(os.getppid()) or not fd.isdigit():
        return -1
    try:
        os.set_inheritable(int(fd), False)
    except OSError:
        return -1
    return int(fd)
