"""When a turn or a commit fails: nothing half done, no late word of the disk is misread."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.toy import Add, Boom, Fact, Look, Noted, Pass, Say, ToyWorld, Wake, toy_rules
from whimbrel.domain.errors import Unready
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.wants import Want
from whimbrel.runtime.engine import RECOVER_FIRST_US, RECOVER_MAX_US
from whimbrel.storage.memory import Fate, MemoryStore

HOUR_US = 3_600_000_000


def torn_reads(world: ToyWorld) -> Callable[[], None]:
    """Reads fail from now on, until the returned function is called."""
    load = world.memory.load

    def torn(wants: list[Want], done: Callable[[Any], None]) -> None:
        done(Unready("torn"))

    def mend() -> None:
        world.memory.load = load  # type: ignore[method-assign]

    world.memory.load = torn  # type: ignore[method-assign, assignment]
    return mend


def hang_once(world: ToyWorld) -> None:
    fates = [Fate.HANG]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT


def test_a_failed_commit_drops_every_actor_and_what_was_queued_behind_it() -> None:
    world = ToyWorld()
    world.post(3, Say("in memory"))
    world.run()
    hang_once(world)
    world.post(1, Add())
    world.run()
    world.post(2, Add())
    world.run()
    world.memory.resume(Fate.FAIL)
    world.post(4, Say("in the queue"))
    world.run()
    assert world.engine.cells == {}
    assert world.engine.quiet
    (outcome, reason, releases) = world.host.failures[0]
    assert outcome is Outcome.FAILED
    assert reason
    assert releases == ["1=1", "2=1"], "also those of the batch that was still open"
    assert (world.number(1), world.number(2)) == (0, 0)


def test_of_an_unknown_outcome_that_was_written_the_next_reader_sees_the_truth() -> None:
    world = ToyWorld()
    fates = [Fate.UNKNOWN_WRITTEN]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(1, Add(5))
    world.run()
    assert world.host.failures[0][0] is Outcome.UNKNOWN
    world.pass_to(world.now_us + HOUR_US)
    world.post(1, Add())
    world.run()
    assert world.said == ["1=6"]


def test_an_owner_that_was_replaced_writes_nothing_and_answers_nobody() -> None:
    world = ToyWorld()
    MemoryStore(world.disk)  # somebody else opens the same disk
    world.post(1, Add())
    world.run()
    assert world.host.failures[0][0] is Outcome.FENCED
    assert world.said == []
    assert world.number(1) == 0


def test_acknowledgements_are_taken_and_forgotten_while_the_node_is_not_ready() -> None:
    world = ToyWorld()
    fates = [Fate.FAIL]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(1, Add())
    world.run()
    assert world.engine.post(1, Noted("an answer to nobody"))
    assert not world.engine.post(1, Say("refused"))
    world.pass_to(world.now_us + HOUR_US)
    assert world.said == []
    world.post(1, Noted("heard"))
    world.run()
    assert world.said == ["heard"]


@pytest.mark.parametrize("end", [Fate.COMMIT, Fate.FAIL, Fate.UNKNOWN_WRITTEN])
def test_a_commit_that_ends_after_the_node_has_failed_is_not_taken_for_a_later_one(
    end: Fate,
) -> None:
    world = ToyWorld()
    hang_once(world)
    world.post(1, Add())
    world.run()
    mend = torn_reads(world)
    world.post(2, Say("cannot be read"))
    world.run()
    assert not world.engine.ready
    mend()
    world.memory.resume(end)
    world.run()
    assert len(world.host.failures) == 1, "it has failed once"
    world.pass_to(world.now_us + HOUR_US)
    assert world.engine.ready
    assert world.host.recoveries == 1
    written = 0 if end is Fate.FAIL else 1
    world.post(1, Add())
    world.run()
    assert world.said == [f"1={written + 1}"]


def test_nothing_is_read_anew_while_a_commit_of_before_may_still_be_written() -> None:
    world = ToyWorld()
    hang_once(world)
    world.post(1, Add())
    world.run()
    mend = torn_reads(world)
    world.post(2, Say("cannot be read"))
    world.run()
    mend()
    world.pass_to(world.now_us + HOUR_US)
    assert not world.engine.ready, "the disk has not said what became of the commit"
    world.memory.resume()
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    assert world.engine.ready
    world.post(1, Add())
    world.run()
    assert world.said == ["1=2"]


def test_a_message_that_makes_waking_impossible_does_not_stop_the_node() -> None:
    def want(key: int, message: Any) -> Want:
        if isinstance(message, Boom):
            raise TypeError("what to read for this?")
        wanted: Want = old.want(key, message)
        return wanted

    world = ToyWorld()
    old = world.behaviours.replace(0, toy_rules(want=want))
    world.post(1, Boom(0))
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    assert world.engine.ready
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1"]


def test_a_read_that_an_actor_asked_for_is_forgotten_with_the_failure() -> None:
    world = ToyWorld()
    hang_once(world)
    world.post(1, Look(4))
    world.run()
    world.memory.resume(Fate.FAIL)
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    world.post(1, Look())
    world.run()
    assert world.said == ["read 0"]


def test_who_was_paused_before_a_failure_is_served_after_it() -> None:
    world = ToyWorld(Limits(restart_intensity=1, restart_pause_s=7_200.0))
    world.post(1, Boom(1), Boom(1))
    world.run()
    assert world.engine.counts["actors_paused"] == 1
    fates = [Fate.FAIL]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(2, Add())
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    world.post(1, Add())
    world.run()
    assert world.said[-1] == "1=2"
    before = list(world.said)
    world.pass_to(world.now_us + 2 * HOUR_US)
    assert world.said == before, "the end of the old pause wakes nobody"


def test_timers_of_before_a_failure_are_gone_and_new_ones_work() -> None:
    world = ToyWorld()
    world.post(1, Wake([world.now_us + 2 * HOUR_US]))
    world.run()
    fates = [Fate.FAIL]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(2, Add())
    world.run()
    assert len(world.engine.timers) == 0
    world.pass_to(world.now_us + HOUR_US)
    at_us = world.now_us + HOUR_US // 2
    world.post(1, Wake([at_us]))
    world.run()
    world.pass_to(world.now_us + 3 * HOUR_US)
    assert len(world.said) == 1
    assert world.said[0].startswith("1 woken")


def test_a_node_that_is_not_ready_fires_no_timer() -> None:
    world = ToyWorld()
    world.post(1, Wake([world.now_us + 1]))
    world.run()
    fates, sound = [Fate.FAIL], ["still full"]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.memory.sound = lambda: sound[0]
    world.post(2, Add())
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    assert not world.engine.ready
    assert world.said == []


def test_too_many_rows_behind_a_running_commit_make_the_turns_wait_and_lose_nothing() -> None:
    world = ToyWorld(Limits(batch_rows_max=4, turn_messages_max=2))
    hang_once(world)
    for key in range(1, 21):
        world.post(key, Add())
    world.run()
    turns = len(world.host.turns)
    assert turns == 3, "one under way, two in the open batch"
    world.post(21, Add())
    world.run()
    assert len(world.host.turns) == turns
    world.memory.resume()
    world.run()
    assert world.said == [f"{key}=1" for key in range(1, 22)]


def test_who_belongs_to_another_node_now_is_forgotten_and_not_answered() -> None:
    world = ToyWorld(inline=False)
    world.post(1, Add())
    world.post(2, Add())
    world.run()
    world.post(1, Say("queued"), Fact([5]))
    world.post(2, Say("queued too"))
    world.step()
    world.post(1, Pass([(2, Say("never"))]))
    world.engine.abandon(lambda key: key == 1)
    world.run()
    assert 1 not in world.engine.cells
    assert world.host.lost == [1]
    assert "never" not in world.said
    assert "1 knows 0" not in world.said
    assert "queued too" in world.said


def test_what_was_queued_for_an_actor_that_went_elsewhere_is_not_served_here() -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.run()
    world.post(1, Say("never"), Add())
    world.engine.abandon(lambda key: key == 1)
    world.run()
    assert world.said == ["1=1"]
    assert world.host.crashes == []
    world.post(1, Add())  # the node owns it again
    world.run()
    assert world.said == ["1=1", "1=2"]


def test_a_disk_that_stays_broken_is_tried_less_and_less_often_but_for_ever() -> None:
    world = ToyWorld()
    trouble = ["still full"]
    world.memory.fate = lambda batch: Fate.FAIL if trouble else Fate.COMMIT
    world.memory.sound = lambda: trouble[0] if trouble else ""
    waits = []
    world.post(1, Add())
    world.run()
    for _ in range(12):
        (at_us, _), *others = world.timers
        assert others == [], "one attempt at a time"
        waits.append(at_us - world.now_us)
        world.pass_to(at_us)
    assert waits[:4] == [RECOVER_FIRST_US * n for n in (1, 2, 4, 8)]
    assert set(waits[-3:]) == {RECOVER_MAX_US}
    trouble.clear()
    world.pass_to(world.timers[0][0])
    assert world.engine.ready
    trouble.append("full again")
    world.post(1, Add())
    world.run()
    assert world.timers[0][0] - world.now_us == RECOVER_FIRST_US, "a new trouble, a new count"


def test_what_ran_before_its_actor_went_elsewhere_never_leaves_although_the_actor_comes_back() -> (
    None
):
    """The simulator found it: the batch would carry the epoch of the second tenure."""
    world = ToyWorld(inline=False)
    hang_once(world)
    world.post(2, Add())
    world.run()  # its commit hangs
    world.post(1, Add())
    world.run()  # runs in the batch behind it
    world.engine.abandon(lambda key: key == 1)
    assert world.said == []
    world.memory.resume()
    while not world.engine.ready:
        world.pass_to(world.timers[0][0])
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1"], "nothing of the first tenure was written"
