"""What the parts of a cluster know of each other: the shard map, as its readers see it.

Kept by leases.py over a database, by memory.py in tests. Readers: the router, the engine's host.
Law 6: what stands here about *other* nodes is a hint that may be old; only the fence inside a
commit decides. What stands here about this node is never too much: a shard that may have been
taken by somebody else is not owned.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

NOBODY = -1  # no owner that is known


class NodeInfo(msgspec.Struct, frozen=True):
    """One node as the database knows it.

    number: 0..NODES_MAX-1, part of its sessions' numbers (ids.node_of). incarnation: rises with
    every process that takes the number; so (number, incarnation) never means two processes.
    address: where others reach it; what the operator gave it, for people and dashboards.
    """

    number: int
    incarnation: int
    address: str = ""
    version: str = ""
    draining: bool = False


class ShardMap(Protocol):
    """Who owns which shard. All calls and callbacks on the loop's thread; reads cost no I/O."""

    node: NodeInfo  # this one

    def epoch(self, shard: int) -> int:
        """The epoch under which this node owns the shard; -1: it does not (or not any more)."""
        ...

    def owner(self, shard: int) -> int:
        """The node that owns the shard, as far as is known here: a hint. NOBODY: unknown."""
        ...

    def known_epoch(self, shard: int) -> int:
        """The highest epoch that was heard of for this shard, whoever owned it then; 0: none."""
        ...

    def correct(self, shard: int, owner: int, epoch: int) -> None:
        """Somebody knew better (a refusal): believed if `epoch` is above the one known here.
        Never changes what this node itself owns.
        """
        ...

    def nodes(self) -> Mapping[int, NodeInfo]:
        """The nodes whose leases were alive at the last look, by number, this one among them."""
        ...

    def watch(
        self,
        gained: Callable[[frozenset[int]], None],
        lost: Callable[[frozenset[int]], None],
        moved: Callable[[frozenset[int]], None] = ...,
    ) -> None:
        """Be told of changes of what *this* node owns. epoch() tells the new truth already.

        gained: load and answer from now on; open work of these shards should be looked for.
        lost: drop their actors at once and answer nobody for them.
        moved: these have another owner than was known here, be it this node or another one, by
        a look at the database or by correct(): sessions of their accounts attach there.
        """
        ...
