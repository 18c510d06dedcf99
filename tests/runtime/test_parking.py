"""An actor that waits for a read: its messages wait in their order, everybody else goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.toy import Add, Fact, Message, Noted, Pass, Say, ToyWorld, toy_attach, toy_rules
from whimbrel.domain.errors import Unready
from whimbrel.domain.limits import Limits
from whimbrel.domain.wants import NotLoaded, UserWant, Want
from whimbrel.runtime.engine import NEEDS_MAX
from whimbrel.storage.memory import Fate


def watched(world: ToyWorld) -> list[list[int]]:
    """Every read, as the keys that were asked for together."""
    reads: list[list[int]] = []
    load = world.memory.load

    def noted(wants: list[Want], done: Callable[[Any], None]) -> None:
        reads.append([want.number for want in wants if isinstance(want, UserWant)])
        load(wants, done)

    world.memory.load = noted  # type: ignore[method-assign, assignment]
    return reads


def clumsy(times: int) -> Callable[[Any, Want, object], None]:
    """Takes in what was read, but raises so many times before."""
    left = [times]

    def attach(state: Any, want: Want, answer: object) -> None:
        if left[0]:
            left[0] -= 1
            raise ValueError("a fact that cannot be understood")
        toy_attach(state, want, answer)

    return attach


def test_while_a_commit_hangs_who_waits_for_it_is_parked_and_the_others_run() -> None:
    world = ToyWorld()
    fates = [Fate.HANG]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(1, Add(), Fact([7]), Say("later"))
    world.run()
    world.post(2, Add())
    world.post(1, Noted("last"))
    world.run()
    assert world.host.performed[-2:] == ["2:Write", "2:Spoken"], "another actor has run"
    assert world.said == [], "and nothing is heard before its commit"
    world.memory.resume()
    world.run()
    assert world.said == ["1=1", "2=1", "1 knows 0", "later", "last"]


def test_facts_that_a_rule_asks_for_together_are_one_read() -> None:
    def on_fact(state: Any, m: Fact, turn: Any) -> list[Any]:
        missing = [UserWant(key) for key in m.wants if key not in state.facts]
        if missing:
            raise NotLoaded(*missing)
        return []

    world = ToyWorld()
    world.behaviours.replace(0, toy_rules(HANDLERS={**world.behaviours[0].handlers, Fact: on_fact}))
    reads = watched(world)
    world.post(1, Fact([4, 5, 6]))
    world.run()
    assert reads == [[1], [4, 5, 6]]
    assert world.engine.counts["reads"] == 3


def test_what_was_read_once_is_not_read_again() -> None:
    world = ToyWorld()
    reads = watched(world)
    world.post(1, Fact([4]), Fact([4]), Fact([4]))
    world.run()
    assert reads == [[1], [4]]
    assert world.said == ["1 knows 0"] * 3


@pytest.mark.parametrize("inline", [True, False], ids=["read-at-once", "read-later"])
def test_many_facts_one_after_the_other_are_within_the_bound(inline: bool) -> None:
    world = ToyWorld(inline=inline)
    world.post(1, Fact(list(range(100, 100 + NEEDS_MAX))))
    world.run()
    assert world.said == ["1 knows " + " ".join("0" * NEEDS_MAX)]
    assert world.host.crashes == []


@pytest.mark.parametrize("inline", [True, False], ids=["read-at-once", "read-later"])
def test_an_actor_told_to_twice_while_it_is_being_loaded_is_loaded_once(inline: bool) -> None:
    world = ToyWorld(inline=inline)
    reads = watched(world)
    world.post(1, Pass([(9, Say("a")), (9, Say("b"))]))
    world.post(2, Pass([(9, Say("c"))]))
    world.run()
    assert sorted(key for read in reads for key in read) == [1, 2, 9]
    assert sorted(world.said) == ["a", "b", "c"]
    assert world.said.index("a") < world.said.index("b"), "what one actor told, in its order"


@pytest.mark.parametrize("inline", [True, False], ids=["read-at-once", "read-later"])
def test_a_message_whose_facts_raised_is_served_once_and_not_twice(inline: bool) -> None:
    world = ToyWorld(inline=inline)
    world.behaviours.replace(0, toy_rules(attach=clumsy(1)))
    world.post(1, Fact([2]), Add())
    world.run()
    assert world.host.crashes == [(1, "ValueError")]
    assert world.said == ["1 knows 0", "1=1"]
    assert world.engine.cells[1].queued == 0


@pytest.mark.parametrize("inline", [True, False], ids=["read-at-once", "read-later"])
def test_facts_that_raise_twice_make_a_dead_letter_and_nobody_has_to_knock(inline: bool) -> None:
    """Also when the read returns outside a turn: the letter is committed all the same."""
    world = ToyWorld(inline=inline)
    world.behaviours.replace(0, toy_rules(attach=clumsy(2)))
    world.post(1, Fact([2]), Add())
    world.run()
    assert world.host.letters == [(1, "Fact")]
    assert "dead 1" in world.disk.tables.counters
    assert world.said == ["1 refuses Fact", "1=1"]
    assert world.engine.quiet


@pytest.mark.parametrize("inline", [True, False], ids=["read-at-once", "read-later"])
def test_a_store_that_cannot_be_read_fails_the_node_and_drops_everything(inline: bool) -> None:
    world = ToyWorld(inline=inline)
    world.post(1, Add())
    world.run()
    load = world.memory.load
    world.memory.load = lambda wants, done: done(Unready("torn"))  # type: ignore[method-assign]
    world.post(1, Fact([2]))
    world.post(2, Say("unheard"))
    world.run()
    assert not world.engine.ready
    assert [failure[1] for failure in world.host.failures] == ["torn"]
    world.memory.load = load  # type: ignore[method-assign]
    world.pass_to(world.now_us + 60_000_000)
    assert world.engine.ready
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1", "1=2"]


def test_waiting_messages_count_for_the_mailbox() -> None:
    world = ToyWorld(Limits(mailbox_max=3), inline=False)
    taken = [world.engine.post(1, Say(str(n))) for n in range(3)]
    world.step()  # the actor is being loaded, its messages are parked
    assert taken == [True] * 3
    assert not world.engine.post(1, Say("one too many"))
    world.run()
    assert world.said == ["0", "1", "2"]


def test_a_tell_to_a_full_mailbox_is_answered_with_busy() -> None:
    world = ToyWorld(Limits(mailbox_max=2))
    tells: list[tuple[int, Message]] = [(2, Say(str(n))) for n in range(4)]
    world.post(1, Pass([*tells, (2, Noted("an acknowledgement"))]))
    world.run()
    assert sorted(world.said) == ["0", "1", "2 is busy", "2 is busy", "an acknowledgement"]
    assert world.engine.counts["mailbox_busy"] == 2
