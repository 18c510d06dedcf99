"""Leases and takeovers of a played node: the production rules over the played database.

What cluster/leases.py does with a connection and a loop is played here with delays: the rules
(cluster/shards.py: what may be believed, who shall have what) are the very same. The database
judges by its own clock, and everything between a question and its answer takes time.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sim.disk import LEASE_US, Shard
from sim.time import MS, SECOND
from whimbrel.cluster.ports import NOBODY
from whimbrel.cluster.shards import RENEW_S, Holdings, Renewed, plan

if TYPE_CHECKING:
    from sim.node import SimNode

RENEW_US = int(RENEW_S * SECOND)
MARGIN_US = 1 * SECOND
AGAIN_US = 500 * MS
SETTLE_US = 2 * MS
QUIET_US_MAX = 2 * SECOND
DROP_US_MAX = 2 * SECOND


class SimLeases:
    """One process's keeper. Dies with it: callbacks of a dead process do nothing."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node
        self.disk = node.world.disk
        self.chance = node.chance
        self.holdings = Holdings(node.number, len(self.disk.shards), LEASE_US, MARGIN_US)
        self._rounds = 0  # only the newest one that was planned is begun
        self._asking = False
        self._giving = False  # one hand-over at a time

    @property
    def epochs(self) -> dict[int, int]:
        return self.holdings.epochs

    def epoch(self, shard: int) -> int:
        return self.holdings.epoch(shard, self.node.clock.monotonic_us())

    def _later(self, most_us: int, call: Callable[[], None]) -> None:
        self.node.after(self.chance.randrange(100, most_us), call)

    # ---- a round -------------------------------------------------------------------------

    def begin(self) -> None:
        """Ask for a renewal; the next round comes by itself."""
        self._plan_round(RENEW_US)
        if self._asking:
            return
        asked_us = self.node.clock.monotonic_us()
        self._asking = True
        self._later(20 * MS, lambda: self._at_the_database(asked_us))

    def _plan_round(self, in_us: int) -> None:
        self._rounds += 1
        number = self._rounds

        def now() -> None:
            if number == self._rounds:
                self.begin()

        self.node.after(in_us, now)

    def told(self) -> None:
        """NOTIFY: somebody gave something."""
        if self.node.reaches_database():
            self._plan_round(self.chance.randrange(100, 5 * MS))

    def _at_the_database(self, asked_us: int) -> None:
        if not self.node.reaches_database():
            self._asking = False
            return
        self.disk.expires[self.node.number] = self.node.world.time.now_us + LEASE_US
        answer = self._look()
        self._later(5 * MS, lambda: self._renewed(asked_us, answer))

    def _look(self) -> Renewed:
        now_us = self.node.world.time.now_us
        alive = {n: until - now_us for n, until in self.disk.expires.items() if until > now_us}
        others = [left for n, left in alive.items() if n != self.node.number]
        return Renewed(
            {n: self.node.world.nodes[n].shards.node for n in sorted(alive)},
            [shard.owner for shard in self.disk.shards],
            [shard.epoch for shard in self.disk.shards],
            min(others, default=LEASE_US) / 1e6,
        )

    def _renewed(self, asked_us: int, answer: Renewed) -> None:
        self._asking = False
        now_us = self.node.clock.monotonic_us()
        self.lost(self.holdings.renewed(asked_us, now_us, answer))
        self._plan_round(min(RENEW_US, int(answer.expiry_s * SECOND) + 20 * MS))
        todo = plan(self.node.number, answer.nodes, answer.owners, self.epochs.keys())
        if todo.give and not self._giving:
            self._give(todo.give)
        for shard in todo.take:
            self._take_over(shard)

    def look_at_the_clock(self) -> None:
        """The lease may be over: everything stops, whatever else is waited for."""
        self.lost(self.holdings.late(self.node.clock.monotonic_us()))

    def lost(self, shards: frozenset[int]) -> None:
        if not shards:
            return
        self.node.world.story.add("lets go", self.node.number, sorted(shards))
        shard_of = self.disk.shard_of
        self.node.engine.abandon(lambda account: shard_of(account) in shards)

    # ---- taking --------------------------------------------------------------------------

    def _take_over(self, number: int) -> None:
        """Raise the epoch and commit; only then is anything loaded."""
        self.node.after(self.chance.randrange(100, 20 * MS), lambda: self._raise(number))

    def _raise(self, number: int) -> None:
        """On the database: expired is judged there, by its own clock."""
        if not self.node.reaches_database():
            return
        shard = self.disk.shards[number]
        expires_us = self.disk.expires.get(shard.owner, -1)
        if shard.owner not in (NOBODY, self.node.number) and expires_us > self._database_us():
            return  # somebody else was faster
        epoch = self._set_owner(shard, self.node.number)
        asked_us = self.node.clock.monotonic_us()
        self._later(5 * MS, lambda: self._taken(asked_us, number, epoch))

    def _database_us(self) -> int:
        return self.node.world.time.now_us

    def _set_owner(self, shard: Shard, owner: int) -> int:
        shard.epoch += 1
        shard.owner = owner
        return shard.epoch

    def _taken(self, asked_us: int, number: int, epoch: int) -> None:
        now_us = self.node.clock.monotonic_us()
        for shard in self.holdings.taken(asked_us, now_us, {number: epoch}):
            self.node.world.story.add("owns", self.node.number, shard, epoch)
            self.node.gained(shard)

    # ---- giving --------------------------------------------------------------------------

    def _give(self, shards: Iterable[int]) -> None:
        """Nothing new begins; what has begun ends; then they stop here, and are free."""
        some = frozenset(shards)
        self._giving = True
        self.holdings.closing |= some & self.epochs.keys()
        end_us = self.node.clock.monotonic_us() + QUIET_US_MAX
        self._quiesce(some, end_us)

    def _quiesce(self, some: frozenset[int], end_us: int) -> None:
        if self._under_way(some, gathered=True) and self.node.clock.monotonic_us() < end_us:
            self.node.after(SETTLE_US, lambda: self._quiesce(some, end_us))
            return
        self.lost(self.holdings.dropped(some))
        self._settle(some, self.node.clock.monotonic_us() + DROP_US_MAX)

    def _settle(self, some: frozenset[int], end_us: int) -> None:
        if not self._under_way(some, gathered=False):
            self._later(10 * MS, lambda: self._free(some))
        elif self.node.clock.monotonic_us() < end_us:
            self.node.after(SETTLE_US, lambda: self._settle(some, end_us))
        else:
            self._giving = False  # a commit hangs: the next round tries again

    def _under_way(self, some: frozenset[int], gathered: bool) -> bool:
        shard_of = self.disk.shard_of
        engine = self.node.engine

        def lost(account: int) -> bool:
            return shard_of(account) in some

        return engine.commits_under_way(lost) or (gathered and engine.gathers(lost))

    def _free(self, some: frozenset[int]) -> None:
        self._giving = False
        if not self.node.reaches_database():
            return
        for number in sorted(some):
            shard = self.disk.shards[number]
            if shard.owner == self.node.number:
                self._set_owner(shard, NOBODY)
        self.lost(self.holdings.dropped(some))  # a recovery may have taken them again meanwhile
        for other in self.node.world.nodes:
            if other.up and other is not self.node:
                other.leases.told()

    # ---- after a commit of which nobody knows the end ------------------------------------

    def retake(self) -> None:
        """A renewal that takes every own shard again: a higher epoch fences that commit out."""
        asked_us = self.node.clock.monotonic_us()
        self.disk.expires[self.node.number] = self._database_us() + LEASE_US
        epochs: dict[int, int] = {}
        for number, shard in enumerate(self.disk.shards):
            if shard.owner == self.node.number:
                epochs[number] = self._set_owner(shard, self.node.number)
        self.lost(self.holdings.dropped(self.epochs.keys() - epochs.keys()))
        self.epochs.update({n: epoch for n, epoch in epochs.items() if n in self.epochs})
        self.lost(self.holdings.renewed(asked_us, asked_us, self._look()))
        for shard_number in self.holdings.taken(asked_us, asked_us, epochs):
            self.node.gained(shard_number)
