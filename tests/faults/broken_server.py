"""The real server with two things that can be broken from outside while it runs.

`python -m tests.faults.broken_server serve ...`: SIGUSR1 makes every fsync fail until the next
SIGUSR1; SIGUSR2 sets its wall clock two hours forward, then four back, then right again.
Everything else is the production code.
"""

import signal
import time
from itertools import cycle
from typing import Any

import apsw

from tests.storage.faulty_disk import NAME, Disk, FaultyDisk
from whimbrel.cli.main import main
from whimbrel.node import assemble, clock
from whimbrel.storage.sqlite import SqliteStore

HOURS = cycle((2, -2, 0))


class _Store(SqliteStore):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, vfs=NAME, **options)


class _Faults:
    def __init__(self) -> None:
        self.disk = Disk()
        self.vfs = FaultyDisk(self.disk)
        self.offset_us = 0
        self.is_broken = False

    def switch_fsync(self, *_: Any) -> None:
        self.is_broken = not self.is_broken
        if self.is_broken:
            self.disk.broken("sync")
        else:
            self.disk.repair()

    def set_clock(self, *_: Any) -> None:
        self.offset_us = next(HOURS) * 3_600_000_000

    def now_us(self, _: object = None) -> int:
        return time.time_ns() // 1_000 + self.offset_us


def start() -> None:
    faults = _Faults()
    signal.signal(signal.SIGUSR1, faults.switch_fsync)
    signal.signal(signal.SIGUSR2, faults.set_clock)
    setattr(assemble, "SqliteStore", _Store)  # noqa: B010
    clock.SystemClock.now_us = faults.now_us  # type: ignore[method-assign, assignment]
    assert NAME in apsw.vfs_names()
    main()


if __name__ == "__main__":
    start()
