"""The shard map that other parts are tested on."""

from functools import partial

from whimbrel.cluster.memory import MemoryCluster
from whimbrel.cluster.ports import NOBODY


def test_a_move_is_heard_by_both_nodes_and_known_by_the_third() -> None:
    cluster = MemoryCluster(nodes=3, shards=6)
    heard: list[tuple[int, str, frozenset[int], int]] = []

    def hear(n: int, what: str, shards: frozenset[int]) -> None:
        heard.append((n, what, shards, cluster.maps[n].epoch(4)))

    for n, each in enumerate(cluster.maps):
        each.watch(partial(hear, n, "gained"), partial(hear, n, "lost"))
    cluster.move(4, to=2)
    assert heard == [(1, "lost", frozenset({4}), -1), (2, "gained", frozenset({4}), 2)]
    assert [each.owner(4) for each in cluster.maps] == [2, 2, 2]
    assert [each.epoch(4) for each in cluster.maps] == [-1, -1, 2]


def test_who_was_not_told_believes_a_newer_epoch_only() -> None:
    cluster = MemoryCluster(nodes=3, shards=6)
    first, second, _ = cluster.maps
    cluster.move(4, to=2, told=False)
    assert first.owner(4) == 1  # old, and only a hint
    assert second.owner(4) == NOBODY
    first.correct(4, 0, 1)
    assert first.owner(4) == 1
    first.correct(4, 2, 2)
    assert (first.owner(4), first.known_epoch(4)) == (2, 2)


def test_nobody_can_be_talked_out_of_what_it_owns() -> None:
    cluster = MemoryCluster(nodes=2, shards=4)
    cluster.maps[0].correct(0, 1, 99)
    assert (cluster.maps[0].owner(0), cluster.maps[0].epoch(0)) == (0, 1)
