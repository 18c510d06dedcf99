"""What a node may believe about shards, as plain rules over what the database said.

No clock, no database: leases.py brings answers and carries out what is decided here, and so does
the simulator. Law 6: a node counts its lease from *before* it asked for it, on its own clock, and
stops a margin earlier: so it has stopped before the database lets anybody take over.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from whimbrel.cluster.ports import NOBODY, NodeInfo
from whimbrel.domain.ids import SHARDS

LEASE_S = 10.0  # on the database's clock
RENEW_S = 3.0
MARGIN_S = 1.0  # the node's own end of the lease comes so much earlier


class Renewed(msgspec.Struct, frozen=True):
    """What the database said in one transaction that also renewed the lease.

    nodes: whose lease is alive, this one among them. owners, epochs: of all shards, by number.
    expiry_s: when the first lease of another node will be over, if it is not renewed.
    """

    nodes: Mapping[int, NodeInfo]
    owners: Sequence[int]
    epochs: Sequence[int]
    expiry_s: float = LEASE_S


class Holdings:
    """Which shards this node owns, in which epochs, and until when it may believe that.

    Times are microseconds of the node's own monotonic clock.
    """

    def __init__(
        self,
        node: int,
        shards: int = SHARDS,
        lease_us: int = int(LEASE_S * 1e6),
        margin_us: int = int(MARGIN_S * 1e6),
    ) -> None:
        self.node = node
        self.epochs: dict[int, int] = {}
        self.closing: set[int] = set()  # still ours; nobody new is let in
        self.until_us = -1
        self.owners = [NOBODY] * shards  # hints about everybody
        self.known = [0] * shards  # the highest epoch heard of
        self.nodes: Mapping[int, NodeInfo] = {}
        self._moved: set[int] = set()
        self._valid_us = lease_us - margin_us

    def epoch(self, shard: int, now_us: int) -> int:
        """-1: not owned, about to be given away, or the lease may be over."""
        if now_us >= self.until_us or shard in self.closing:
            return -1
        return self.epochs.get(shard, -1)

    def late(self, now_us: int) -> frozenset[int]:
        """The lease may be over: everything is dropped. What was dropped."""
        if now_us < self.until_us or not self.epochs:
            return frozenset()
        return self.dropped(self.epochs)

    def dropped(self, shards: Iterable[int]) -> frozenset[int]:
        """These are not ours any more, whoever has them. What of them was ours until now."""
        gone = frozenset(shards) & self.epochs.keys()
        for shard in gone:
            del self.epochs[shard]
            self.owners[shard] = NOBODY
        self.closing -= gone
        return gone

    def renewed(self, asked_us: int, now_us: int, answer: Renewed) -> frozenset[int]:
        """A renewal returned. What this node has to stop: whatever it does not own any more,
        and all of it if the answer came so late that somebody could have taken over meanwhile.
        """
        lost = set(self.late(now_us))
        self.until_us = max(self.until_us, asked_us + self._valid_us)
        lost |= self.late(now_us)
        lost |= self.dropped(
            [
                shard
                for shard, epoch in self.epochs.items()
                if answer.owners[shard] != self.node or answer.epochs[shard] != epoch
            ]
        )
        self.nodes = answer.nodes
        for shard, (owner, epoch) in enumerate(zip(answer.owners, answer.epochs, strict=True)):
            if epoch >= self.known[shard]:
                self.known[shard] = epoch
                ours = owner == self.node and shard not in self.epochs
                self._set_owner(shard, NOBODY if ours else owner)
        return frozenset(lost)

    def taken(self, asked_us: int, now_us: int, epochs: Mapping[int, int]) -> frozenset[int]:
        """A takeover was committed. What this node owns from now on."""
        if now_us >= self.until_us:
            return frozenset()  # the lease was not renewed in time: nothing may be believed
        for shard, epoch in epochs.items():
            self.epochs[shard] = self.known[shard] = epoch
            self._set_owner(shard, self.node)
        return frozenset(epochs)

    def correct(self, shard: int, owner: int, epoch: int) -> None:
        """Somebody knew better about a shard that is not ours."""
        if epoch > self.known[shard] and shard not in self.epochs:
            self.known[shard] = epoch
            self._set_owner(shard, owner)

    def _set_owner(self, shard: int, owner: int) -> None:
        if owner != self.owners[shard]:
            self.owners[shard] = owner
            if owner != NOBODY:
                self._moved.add(shard)

    def moved(self) -> frozenset[int]:
        """Which shards have got another owner since this was asked last."""
        moved, self._moved = frozenset(self._moved), set()
        return moved


class Plan(msgspec.Struct, frozen=True):
    """take: free, or their owner's lease is over. give: another node shall have them."""

    take: tuple[int, ...] = ()
    give: tuple[int, ...] = ()


def plan(
    node: int, nodes: Mapping[int, NodeInfo], owners: Sequence[int], held: Collection[int]
) -> Plan:
    """What this node does next. All nodes compute the same shares from the same rows; where
    they saw different ones, the lock of the takeover decides.
    """
    targets = assign(nodes, owners)
    take = tuple(
        shard
        for shard, target in enumerate(targets)
        if target == node
        and (owners[shard] not in nodes or (owners[shard] == node and shard not in held))
    )
    give = tuple(
        shard
        for shard, target in enumerate(targets)
        if owners[shard] == node and target not in (node, NOBODY)
    )
    return Plan(take, give)


def assign(nodes: Mapping[int, NodeInfo], owners: Sequence[int]) -> list[int]:
    """The node that shall own each shard: equal shares, and as few moves as that allows.

    Shards go to nodes that serve; if all that are left are draining, everything stays.
    """
    serving = [number for number in sorted(nodes) if not nodes[number].draining]
    if not serving:
        return [owner if owner in nodes else NOBODY for owner in owners]
    room = _shares(serving, owners)
    targets = [NOBODY] * len(owners)
    for shard, owner in enumerate(owners):
        if room.get(owner, 0) > 0:
            targets[shard] = owner
            room[owner] -= 1
    takers = iter(sorted(number for number in serving for _ in range(room[number])))
    return [target if target != NOBODY else next(takers) for target in targets]


def _shares(serving: Sequence[int], owners: Sequence[int]) -> dict[int, int]:
    """How many shards each node shall have; who has most now gets what does not divide."""
    has = dict.fromkeys(serving, 0)
    for owner in owners:
        if owner in has:
            has[owner] += 1
    share, rest = divmod(len(owners), len(serving))
    fullest = sorted(serving, key=lambda number: (-has[number], number))
    return {number: share + (place < rest) for place, number in enumerate(fullest)}
