"""The shared database: tables, eras, shards with owners and epochs, leases.

The tables and what a batch does to them are those of the production memory store; added are
what PostgreSQL does for several nodes (DELIVERY.md, takeover): a batch is written only if all
shards of all actors that ran in it still carry the epochs its node knows.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from sim.time import MS, SECOND
from whimbrel.domain.batch import Batch
from whimbrel.domain.ports import Outcome
from whimbrel.storage.memory import Fate, MemoryDisk, MemoryStore

if TYPE_CHECKING:
    from sim.node import SimNode

LEASE_US = 10 * SECOND
FENCED = "another node owns a shard of this batch"
Done = Callable[[Outcome, str], None]


class Shard:
    __slots__ = ("epoch", "owner")

    def __init__(self) -> None:
        self.owner = -1
        self.epoch = 0


class SharedDisk(MemoryDisk):
    """`expires`: of each node's lease, on the database's clock."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.shards = [Shard() for _ in range(shards)]
        self.expires: dict[int, int] = {}

    def shard_of(self, account: int) -> int:
        return account % len(self.shards)


class SimStore(MemoryStore):
    """One node's way to the shared disk. Commits take time, and the end of one is not the
    moment at which the node hears of it: a crash fits between.
    """

    def __init__(self, disk: SharedDisk, node: "SimNode", chance: Random, inline: bool) -> None:
        self.node = node
        self.chance = chance
        self.fates: list[Fate] = []  # of the next commits; then they all succeed
        self.reason = ""  # why the disk is not sound
        self.hang_us = 0  # how long the next commit takes
        self.oversleep_us = (
            0  # > 0: the next commit ends so long after the lease, while we are stopped
        )
        self._on_its_way: Batch | None = None
        self.die_after_write = False
        self.late_writes = True
        self._known: dict[int, int] = {}  # the epochs of the batch under way
        super().__init__(disk, schedule=self._soon, inline=inline, limits=node.limits)
        self.fate = self._fate
        self.sound = lambda: self.reason

    def _open(self) -> None:
        """No epoch of the whole disk: shards have their own."""
        self.era = self.disk.era

    def _soon(self, call: Callable[[], None]) -> None:
        delay_us, self.hang_us = self.hang_us, 0
        self.node.after(delay_us or self.chance.randrange(100, 4 * MS), call)

    def commit(self, batch: Batch, done: Done) -> None:
        """The engine has one under way at a time; it carries the epochs of now."""
        self._known = self.node.known(batch.touched)
        if self.oversleep_us and self.node.reaches_database():
            self._oversleep(batch)
        super().commit(batch, done)

    def _oversleep(self, batch: Batch) -> None:
        """The process stops; its commit ends on the database's side when the lease is over."""
        over_us, self.oversleep_us = self.oversleep_us, 0
        time = self.node.world.time
        left_us = max(0, self.node.world.disk.expires.get(self.node.number, 0) - time.now_us)
        self.node.frozen_until_us = time.now_us + left_us + over_us + 3 * SECOND
        self._write_later(batch, left_us + over_us)
        self._on_its_way = batch

    def _fate(self, batch: Batch) -> Fate:
        if batch is self._on_its_way or not self.node.reaches_database():
            return Fate.UNKNOWN_LOST
        return self.fates.pop(0) if self.fates else Fate.COMMIT

    def _end(self, batch: Batch, done: Done, fate: Fate) -> None:
        if fate is Fate.UNKNOWN_LOST and self.late_writes and batch is not self._on_its_way:
            self._write_later(batch, self.chance.randrange(10 * MS, 2 * SECOND))
        outcome, reason = self._write(batch, fate)
        if outcome is not Outcome.COMMITTED:
            self._broken = reason
        else:
            self.commits += 1
        if self.die_after_write:
            self.die_after_write = False
            self.node.crash("between the write and its answer")
            return
        self.node.after(self.chance.randrange(10, 500), lambda: self._told(done, outcome, reason))

    def _write_later(self, batch: Batch, delay_us: int) -> None:
        """MEASURED: a row that is not seen after a lost connection may be committed a second
        later by the same backend. Only its fence keeps it from contradicting what came since.
        """
        node, known = self.node, self._known

        def now() -> None:
            if node.holds(known):
                self.disk.tables.apply(batch, self._limits.dead_letters_max)
                node.world.laws.written(node, batch)
                node.world.story.add("written late", node.number, batch.number)

        if not self._broken and node.holds(known):
            node.world.time.after(delay_us, now)

    def recover(self, done: Callable[[bool, str], None]) -> None:
        """Take the own shards again (a commit may still be on its way), then load."""
        if self.node.reaches_database():
            self.node.retake()
        super().recover(done)

    def _recovered(self, done: Callable[[bool, str], None]) -> None:
        if not self.node.reaches_database():
            done(False, "the database cannot be reached")
            return
        super()._recovered(done)

    def _told(self, done: Done, outcome: Outcome, reason: str) -> None:
        self._running = None
        done(outcome, reason)
        if self._queue and self._running is None:
            self._start()

    def _write(self, batch: Batch, fate: Fate) -> tuple[Outcome, str]:
        if not self._broken and not self.node.holds(self._known):
            return Outcome.FENCED, FENCED
        if fate is not Fate.FAIL and fate is not Fate.UNKNOWN_LOST and not self._broken:
            self.node.world.laws.before_write(self.node, batch)
        outcome, reason = self._written(batch, fate)
        if outcome is Outcome.COMMITTED or fate is Fate.UNKNOWN_WRITTEN:
            self.node.world.laws.written(self.node, batch)
        return outcome, reason

    def _written(self, batch: Batch, fate: Fate) -> tuple[Outcome, str]:
        """As the memory store, without its fence of the whole disk."""
        self._epoch = self.disk.epoch
        return super()._write(batch, fate)
