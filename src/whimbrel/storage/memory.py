"""The store in memory, for tests and the simulator: the same answers, no disk.

A MemoryDisk holds committed rows and survives its MemoryStore, as a folder survives a
process. A callable may decide the fate of each commit. Passes the same suite as sqlite.py.
Law: a batch is applied wholly or not at all, at the moment its commit returns.
"""

import enum
from collections import deque
from collections.abc import Callable, Sequence

from whimbrel.domain.batch import Batch
from whimbrel.domain.errors import Unready
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.wants import Want
from whimbrel.storage.memory_rows import Conflict, Tables
from whimbrel.storage.memory_wants import read

Done = Callable[[Outcome, str], None]


class Fate(enum.Enum):
    """What the disk does with a commit."""

    COMMIT = "commit"
    FAIL = "fail"  # nothing is written
    HANG = "hang"  # nothing happens until resume()
    UNKNOWN_WRITTEN = "unknown, written"  # nobody hears whether it was written; it was
    UNKNOWN_LOST = "unknown, lost"  # ... and it was not


class MemoryDisk:
    """What outlives a process: tables, era, epoch."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.era = 1
        self.epoch = 0


def at_once(callback: Callable[[], None]) -> None:
    """The default schedule: a commit is done before commit() returns."""
    callback()


def always_commit(batch: Batch) -> Fate:
    """The default fate."""
    return Fate.COMMIT


class MemoryStore:
    """Opening one raises the disk's epoch; older stores over the same disk are fenced off.

    schedule: runs a callback later (or at once), in order. fate: consulted per commit.
    sound: consulted by recover(); "" or the reason why the disk is still broken.
    """

    def __init__(
        self,
        disk: MemoryDisk | None = None,
        *,
        schedule: Callable[[Callable[[], None]], None] = at_once,
        fate: Callable[[Batch], Fate] = always_commit,
        sound: Callable[[], str] = str,
        inline: bool = True,
        limits: Limits | None = None,
    ) -> None:
        self.disk = disk or MemoryDisk()
        self.inline = inline
        self.fate = fate
        self.sound = sound
        self.commits = 0
        self._schedule = schedule
        self._limits = limits or Limits()
        self._queue: deque[tuple[Batch, Done]] = deque()
        self._running: tuple[Batch, Done] | None = None
        self._hanging = False
        self._broken = ""
        self._closed = False
        self._open()

    def _open(self) -> None:
        self.disk.epoch += 1
        self._epoch = self.disk.epoch
        self.era = self.disk.era

    def commit(self, batch: Batch, done: Done) -> None:
        """done(outcome, reason), when the schedule gets to it; in order."""
        self._queue.append((batch, done))
        if self._running is None:
            self._start()

    def _start(self) -> None:
        self._running = self._queue.popleft()
        self._schedule(self._finish)

    def _finish(self) -> None:
        assert self._running is not None
        batch, done = self._running
        fate = Fate.FAIL if self._broken or self._closed else self.fate(batch)
        if fate is Fate.HANG:
            self._hanging = True
            return
        self._end(batch, done, fate)

    def resume(self, fate: Fate = Fate.COMMIT) -> None:
        """Let a hanging commit end."""
        assert self._hanging, "no commit hangs"
        assert self._running is not None
        self._hanging = False
        batch, done = self._running
        self._schedule(lambda: self._end(batch, done, fate))

    def _end(self, batch: Batch, done: Done, fate: Fate) -> None:
        outcome, reason = self._write(batch, fate)
        if outcome is not Outcome.COMMITTED:
            self._broken = reason
        else:
            self.commits += 1
        done(outcome, reason)
        self._running = None
        if self._queue:
            self._start()

    def _write(self, batch: Batch, fate: Fate) -> tuple[Outcome, str]:
        if self._broken or self._closed:
            return Outcome.FAILED, self._broken or "the store is closed"
        if self._epoch != self.disk.epoch:
            return Outcome.FENCED, "another process took over the database"
        if fate is Fate.FAIL:
            return Outcome.FAILED, "disk full (injected)"
        if fate is not Fate.UNKNOWN_LOST:
            try:
                self.disk.tables.apply(batch, self._limits.dead_letters_max)
            except Conflict as error:
                return Outcome.FAILED, f"a row contradicts the tables ({error})"
        if fate is Fate.COMMIT:
            return Outcome.COMMITTED, ""
        return Outcome.UNKNOWN, "connection lost (injected)"

    def load(self, wants: Sequence[Want], done: Callable[[list[object] | Exception], None]) -> None:
        """Answers in the order of the wants; before it returns if `inline`."""
        if self.inline:
            done(self._read(wants))
        else:
            self._schedule(lambda: done(self._read(wants)))

    def _read(self, wants: Sequence[Want]) -> list[object] | Exception:
        if self._closed:
            return Unready("the store is closed")
        return [read(self.disk.tables, want) for want in wants]

    def recover(self, done: Callable[[bool, str], None]) -> None:
        """Sound as soon as `sound` says so; takes the disk over again."""
        self._schedule(lambda: self._recovered(done))

    def _recovered(self, done: Callable[[bool, str], None]) -> None:
        reason = "the store is closed" if self._closed else self.sound()
        if not reason:
            self._open()
            self._broken = ""
        done(not reason, reason)

    def tick(self) -> None:
        """Nothing to wipe: there are no files."""

    def close(self) -> None:
        """Commits that have not returned fail."""
        self._closed = True
