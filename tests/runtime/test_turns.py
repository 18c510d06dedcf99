"""Turns: bounded, in order, and a tell arrives in the turn in which it was told."""

from collections.abc import Callable

import pytest

from tests.runtime.toy import Add, Fact, Message, Pass, Say, ToyWorld
from whimbrel.domain.batch import Batch
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.runtime.engine import CHAIN_FACTOR


def test_a_turn_takes_no_more_messages_than_its_bound() -> None:
    world = ToyWorld(Limits(turn_messages_max=10))
    for key in range(25):
        world.post(key, Say(str(key)))
    world.step()
    assert len(world.host.performed) == 10
    assert world.engine.queue_gauge.snapshot(0)["turn_queue_length"] == 15
    world.run()
    assert world.said == [str(key) for key in range(25)]
    assert len(world.host.turns) == 3


def test_effects_are_performed_in_the_order_in_which_a_rule_returned_them() -> None:
    world = ToyWorld()
    world.post(1, Pass([(3, Say("a")), (2, Say("b"))]), Add())
    world.run()
    assert world.host.performed[:2] == ["1:Tell", "1:Tell"]
    assert world.host.performed[2:4] == ["3:Spoken", "2:Spoken"]
    assert world.host.performed[4:] == ["1:Write", "1:Spoken"]
    assert world.said == ["a", "b", "1=1"]


def test_a_tell_runs_in_the_same_turn_and_is_covered_by_the_same_commit() -> None:
    world = ToyWorld()
    world.post(1, Pass([(2, Pass([(3, Add())]))]))
    world.run()
    assert len(world.host.turns) == 1
    assert world.memory.commits == 1
    assert world.number(3) == 1


def test_a_batch_lists_every_actor_that_ran_also_those_that_wrote_nothing() -> None:
    world = ToyWorld()
    touched: list[set[int]] = []
    commit = world.memory.fate

    def fate(batch):  # type: ignore[no-untyped-def]
        touched.append(set(batch.touched))
        return commit(batch)

    world.memory.fate = fate
    world.post(1, Pass([(2, Add())]))
    world.run()
    assert touched == [{1, 2}]


def test_a_chain_of_tells_ends_with_the_turn_and_goes_on_in_the_next() -> None:
    world = ToyWorld()
    depth = 4 * CHAIN_FACTOR
    message: Message = Say("the end")
    for _ in range(depth):
        message = Pass([(2, message)])
    world.post(1, message)
    world.step()
    assert len(world.host.performed) == 1 + 2 * CHAIN_FACTOR  # (1 message + 1) * the factor
    world.run()
    assert world.said == ["the end"]
    assert len(world.host.turns) > 1


def test_an_endless_chain_does_not_starve_the_others() -> None:
    world = ToyWorld()
    tells: list[tuple[int, Message]] = []
    tells.append((1, Pass(tells)))
    world.post(1, Pass(tells))
    world.post(2, Say("still served"))
    for _ in range(10):
        world.step()
    assert world.said == ["still served"]


def test_messages_to_one_actor_are_served_in_their_order() -> None:
    world = ToyWorld(Limits(turn_messages_max=3))
    world.post(1, *(Say(str(i)) for i in range(10)))
    world.run()
    assert world.said == [str(i) for i in range(10)]


def test_what_an_actor_tells_is_never_overtaken_by_what_it_tells_later() -> None:
    """Also when a chain is cut at the end of a turn and goes on in the next."""
    world = ToyWorld(Limits(turn_messages_max=10))
    posts, tells = 30, 2 * CHAIN_FACTOR  # twice as many tells as a turn serves
    for n in range(posts):
        world.post(1, Pass([(2, Say(f"{n}.{i}")) for i in range(tells)]))
    world.run()
    assert len(world.host.turns) > posts // 10
    assert world.said == [f"{n}.{i}" for n in range(posts) for i in range(tells)]


@pytest.mark.parametrize("inline", [True, False], ids=["read-at-once", "read-later"])
@pytest.mark.parametrize("bound", [1, 3, 100])
def test_an_actor_that_waits_for_facts_gets_its_messages_in_their_order(
    inline: bool, bound: int
) -> None:
    """Each fact is read after the commit of what was written before: the others wait."""
    world = ToyWorld(Limits(turn_messages_max=bound), inline=inline)
    expected = []
    for n in range(1, 20):
        world.post(1, Add(), Fact([100 + n]), Say(f"after {n}"))
        expected += [f"1={n}", "1 knows 0", f"after {n}"]
        if n % 3 == 0:
            world.step()
    world.run()
    assert world.said == expected


def test_what_waited_for_a_fact_is_not_overtaken_by_what_was_posted_meanwhile() -> None:
    world = ToyWorld(Limits(turn_messages_max=10 * CHAIN_FACTOR), inline=False)
    words = [f"early {n}" for n in range(5 * CHAIN_FACTOR)]
    world.post(1, Add(), Fact([2]), *(Say(word) for word in words))
    for n in range(20):
        world.step()
        world.post(1, Say(f"late {n}"))
    world.run()
    assert world.said == ["1=1", "1 knows 0", *words, *(f"late {n}" for n in range(20))]


def test_a_batch_carries_the_tenure_under_which_each_actor_was_loaded() -> None:
    """Not the one of the moment at which it leaves: a shard may go and come back meanwhile."""
    world = ToyWorld(inline=False)
    seen: list[dict[int, int]] = []
    commit = world.memory.commit

    def watched(batch: Batch, done: Callable[[Outcome, str], None]) -> None:
        seen.append(dict(batch.touched))
        commit(batch, done)

    world.memory.commit = watched  # type: ignore[method-assign]
    world.host.tenures = {1: 7, 2: 3}
    world.post(1, Add())
    world.run()
    world.host.tenures = {1: 8, 2: 3}
    world.post(1, Add())
    world.post(2, Add())
    world.run()
    assert seen == [{1: 7}, {1: 7}, {2: 3}]


def test_an_actor_of_another_node_is_not_loaded_and_what_came_for_it_is_dropped() -> None:
    world = ToyWorld(inline=False)
    world.host.tenures = {1: -1}
    world.post(1, Add(), Say("never"))
    world.post(2, Add())
    world.run()
    assert world.said == ["2=1"]
    assert 1 not in world.engine.cells
    world.host.tenures = {}
    world.post(1, Add())  # it is ours again
    world.run()
    assert world.said == ["2=1", "1=1"]
