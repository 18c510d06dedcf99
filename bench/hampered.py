"""The real server with two bottlenecks that can be switched on from outside while it runs.

`python -m bench.hampered serve ...`: SIGUSR1 makes every fsync of the database's log take SYNC_S
longer until the next SIGUSR1; SIGUSR2 sets a task going that keeps the loop busy for HOG_S at a
time. Everything else is the production code.
"""

import asyncio
import signal
import time
from typing import Any

import apsw

from tests.storage.faulty_disk import NAME, Disk, FaultyDisk
from whimbrel.cli.main import main
from whimbrel.node import assemble
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.sqlite import SqliteStore

SYNC_S = 0.8
HOG_S = 0.8


class _Store(SqliteStore):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, vfs=NAME, **options)


class Bottlenecks:
    def __init__(self) -> None:
        self.disk = Disk()
        self.vfs = FaultyDisk(self.disk)
        self.is_slow = self.is_busy = False

    def switch_disk(self, *_: Any) -> None:
        self.is_slow = not self.is_slow
        self.disk.fault = _slowly if self.is_slow else lambda operation, name: None

    def switch_hog(self, *_: Any) -> None:
        self.is_busy = not self.is_busy
        if self.is_busy:
            asyncio.get_running_loop().call_soon(self.hog)

    def hog(self) -> None:
        """What a careless feature might do: count something, for long, in the loop."""
        end_s, count = time.monotonic() + HOG_S, 0
        while time.monotonic() < end_s:
            count += 1
        if self.is_busy:
            asyncio.get_running_loop().call_later(0.1, self.hog)


def _slowly(operation: str, name: str) -> None:
    if operation == "sync" and name.endswith("-wal"):
        time.sleep(SYNC_S)


class _Node(assemble.Node):
    async def start(self, lock: FolderLock | None = None, carried: bytes = b"") -> None:
        """Signals are heard by the loop, which may run code of the program then."""
        await super().start(lock, carried)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, BOTTLENECKS.switch_disk)
        loop.add_signal_handler(signal.SIGUSR2, BOTTLENECKS.switch_hog)


BOTTLENECKS = Bottlenecks()


def start() -> None:
    setattr(assemble, "SqliteStore", _Store)  # noqa: B010
    from whimbrel.node import main as node_main

    setattr(node_main, "Node", _Node)  # noqa: B010
    assert NAME in apsw.vfs_names()
    main()


if __name__ == "__main__":
    start()
