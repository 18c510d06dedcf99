"""A shard map without a database, for tests: the same answers, moved by hand.

cluster = MemoryCluster(nodes=3)
one, two, three = cluster.maps
cluster.move(17, to=2)         # map 0 hears `lost`, map 2 hears `gained`, both at once
cluster.move(17, to=1, told=False)   # others go on believing what they knew
"""

from collections.abc import Callable, Iterable, Mapping

from whimbrel.cluster.ports import NOBODY, NodeInfo
from whimbrel.domain.ids import SHARDS

Changed = Callable[[frozenset[int]], None]


class MemoryShardMap:
    """One node's view. Implements ports.ShardMap."""

    def __init__(self, node: NodeInfo, everybody: Mapping[int, NodeInfo], shards: int) -> None:
        self.node = node
        self.epochs: dict[int, int] = {}  # of the shards that this node owns
        self._everybody = everybody
        self._owners = [NOBODY] * shards
        self._known = [0] * shards
        self._watchers: list[tuple[Changed, Changed, Changed]] = []

    def epoch(self, shard: int) -> int:
        return self.epochs.get(shard, -1)

    def owner(self, shard: int) -> int:
        return self._owners[shard]

    def known_epoch(self, shard: int) -> int:
        return self._known[shard]

    def correct(self, shard: int, owner: int, epoch: int) -> None:
        if epoch > self._known[shard] and shard not in self.epochs:
            self._known[shard] = epoch
            self._owners[shard] = owner
            self._tell_moved(frozenset((shard,)))

    def nodes(self) -> Mapping[int, NodeInfo]:
        return self._everybody

    def watch(self, gained: Changed, lost: Changed, moved: Changed = lambda shards: None) -> None:
        self._watchers.append((gained, lost, moved))

    def _tell_moved(self, shards: frozenset[int]) -> None:
        for _, _, moved in self._watchers:
            moved(shards)

    def gain(self, epochs: Mapping[int, int]) -> None:
        for shard, epoch in epochs.items():
            self.epochs[shard] = self._known[shard] = epoch
            self._owners[shard] = self.node.number
        for gained, _, _ in self._watchers:
            gained(frozenset(epochs))
        self._tell_moved(frozenset(epochs))

    def lose(self, shards: Iterable[int]) -> None:
        gone = frozenset(shards) & self.epochs.keys()
        for shard in gone:
            del self.epochs[shard]
            self._owners[shard] = NOBODY
        for _, lost, _ in self._watchers:
            lost(gone)


class MemoryCluster:
    """Nodes 0..nodes-1 that share out all shards, shard n to node n % nodes, in epoch 1."""

    def __init__(self, nodes: int = 1, shards: int = SHARDS) -> None:
        self._infos = {n: NodeInfo(n, 1, f"node-{n}") for n in range(nodes)}
        self._epochs = [1] * shards
        self.maps = [MemoryShardMap(info, self._infos, shards) for info in self._infos.values()]
        for number, each in enumerate(self.maps):
            each.gain(dict.fromkeys(range(number, shards, nodes), 1))
        for shard in range(shards):
            self._tell(shard, shard % nodes)

    def move(self, shard: int, to: int, told: bool = True) -> None:
        """The shard has another owner, in the next epoch. told: all others know it at once."""
        self._epochs[shard] += 1
        for each in self.maps:
            if each.epoch(shard) >= 0:
                each.lose([shard])
        self.maps[to].gain({shard: self._epochs[shard]})
        if told:
            self._tell(shard, to)

    def _tell(self, shard: int, owner: int) -> None:
        for each in self.maps:
            each.correct(shard, owner, self._epochs[shard])
