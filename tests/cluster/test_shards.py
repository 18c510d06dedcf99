"""What a node may believe, and what it does next: the rules, without a database."""

from collections import Counter

import pytest

from whimbrel.cluster.ports import NOBODY, NodeInfo
from whimbrel.cluster.shards import Holdings, Renewed, assign, plan

S = 1_000_000


def nodes(*numbers: int, draining: tuple[int, ...] = ()) -> dict[int, NodeInfo]:
    return {n: NodeInfo(n, 1, draining=n in draining) for n in numbers}


def answer(owners: list[int], epochs: list[int] | None = None, *alive: int) -> Renewed:
    return Renewed(nodes(*alive), owners, epochs or [1] * len(owners))


def holdings(shards: int = 4) -> Holdings:
    held = Holdings(0, shards, lease_us=10 * S, margin_us=1 * S)
    held.renewed(0, 0, answer([NOBODY] * shards, [0] * shards, 0))
    return held


# ---- the lease ------------------------------------------------------------------------------


def test_the_lease_counts_from_before_it_was_asked_for_and_ends_a_margin_early() -> None:
    held = holdings()
    held.renewed(100 * S, 104 * S, answer([NOBODY] * 4, [0] * 4, 0))
    held.taken(104 * S, 104 * S, {1: 7})
    assert held.epoch(1, 109 * S - 1) == 7
    assert held.epoch(1, 109 * S) == -1


def test_a_lease_that_ran_out_drops_everything_once() -> None:
    held = holdings()
    held.taken(0, 0, {1: 7, 2: 3})
    assert held.late(8 * S) == frozenset()
    assert held.late(9 * S) == {1, 2}
    assert held.late(9 * S) == frozenset()


def test_a_renewal_that_was_late_drops_everything_although_nobody_took_it() -> None:
    held = holdings()
    held.taken(0, 0, {1: 7})
    assert held.renewed(8 * S, 9 * S, answer([NOBODY, 0, 1, 1], [0, 7, 1, 1], 0, 1)) == {1}
    assert held.epoch(1, 10 * S) == -1


def test_a_renewal_that_was_on_its_way_for_too_long_is_no_lease() -> None:
    held = holdings()
    held.taken(0, 0, {1: 7})
    assert held.renewed(5 * S, 15 * S, answer([NOBODY, 0, 1, 1], [0, 7, 1, 1], 0, 1)) == {1}
    assert held.taken(15 * S, 15 * S, {1: 8}) == frozenset()
    assert held.epoch(1, 15 * S) == -1


def test_a_renewal_drops_what_belongs_to_somebody_else_or_to_another_epoch() -> None:
    held = holdings()
    held.taken(0, 0, {0: 1, 1: 7, 2: 3})
    lost = held.renewed(1 * S, 1 * S, answer([0, 1, 0, NOBODY], [1, 8, 4, 0], 0, 1))
    assert lost == {1, 2}
    assert (held.epoch(0, 2 * S), held.owners[1], held.owners[2]) == (1, 1, NOBODY)


def test_an_old_answer_never_replaces_newer_knowledge() -> None:
    held = holdings()
    held.correct(3, 2, 9)
    held.renewed(1 * S, 1 * S, answer([NOBODY] * 3 + [1], [0, 0, 0, 8], 0, 1, 2))
    assert (held.owners[3], held.known[3]) == (2, 9)
    held.correct(3, 1, 9)
    assert held.owners[3] == 2
    held.taken(1 * S, 1 * S, {3: 10})
    held.correct(3, 1, 11)  # only the database takes something from us
    assert (held.owners[3], held.epoch(3, 2 * S)) == (0, 10)


# ---- who shall have what --------------------------------------------------------------------


def test_the_first_node_takes_everything() -> None:
    todo = plan(0, nodes(0), [NOBODY] * 8, set())
    assert (todo.take, todo.give) == (tuple(range(8)), ())


def test_a_second_node_is_given_half_and_takes_what_is_free_only() -> None:
    owners = [0] * 8
    gives = plan(0, nodes(0, 1), owners, range(8)).give
    assert len(gives) == 4
    assert plan(1, nodes(0, 1), owners, set()).take == ()  # not given yet
    freed = [NOBODY if shard in gives else 0 for shard in range(8)]
    assert plan(1, nodes(0, 1), freed, set()).take == gives


def test_the_shards_of_a_dead_node_are_shared_out_and_nothing_else_moves() -> None:
    owners = [shard % 3 for shard in range(12)]
    todo = [plan(n, nodes(0, 1), owners, {s for s in range(12) if s % 3 == n}) for n in (0, 1)]
    assert sorted(todo[0].take + todo[1].take) == [2, 5, 8, 11]
    assert {len(each.take) for each in todo} == {2}
    assert all(each.give == () for each in todo)


def test_a_draining_node_gives_all_and_takes_nothing() -> None:
    owners = [0, 0, 1, 1, NOBODY, NOBODY]
    todo = plan(0, nodes(0, 1, draining=(0,)), owners, {0, 1})
    assert (todo.take, todo.give) == ((), (0, 1))
    assert plan(1, nodes(0, 1, draining=(0,)), owners, {2, 3}).take == (4, 5)


def test_who_drains_alone_keeps_what_it_has() -> None:
    todo = plan(0, nodes(0, draining=(0,)), [0, 0, NOBODY], {0, 1})
    assert (todo.take, todo.give) == ((), ())


def test_own_shards_that_were_dropped_are_taken_again() -> None:
    assert plan(0, nodes(0), [0, 0, 0], {1}).take == (0, 2)


def test_own_shards_that_were_dropped_are_given_if_another_shall_have_them() -> None:
    """Otherwise nobody would ever own them: their owner is alive, and not its owner."""
    owners = [0] * 4
    assert len(plan(0, nodes(0, 1), owners, set()).give) == 2


@pytest.mark.parametrize("alive", [1, 2, 3, 5, 7, 64])
def test_shares_differ_by_one_at_most_and_are_stable(alive: int) -> None:
    before = [shard * 7 % 11 - 1 for shard in range(4_096)]
    targets = assign(nodes(*range(alive)), before)
    counts = Counter(targets)
    assert set(counts) == set(range(alive))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert assign(nodes(*range(alive)), targets) == targets


def test_a_joining_node_moves_its_share_only() -> None:
    before = assign(nodes(0, 1, 2), [NOBODY] * 4_096)
    after = assign(nodes(0, 1, 2, 3), before)
    moved = [shard for shard in range(4_096) if before[shard] != after[shard]]
    assert len(moved) == 1_024
    assert {after[shard] for shard in moved} == {3}
