"""Supervision in its corners: what is under suspicion, for how long, and what is never kept."""

from typing import Any

import pytest

from tests.runtime.toy import (
    SECOND,
    Add,
    Alarm,
    Boom,
    Fact,
    Message,
    Pass,
    Say,
    ToyWorld,
    Wake,
    toy_rules,
)
from whimbrel.domain.limits import Limits
from whimbrel.runtime.cell import READY
from whimbrel.runtime.supervisor import CrashLog

HOUR_US = 3_600 * SECOND


class Unheard(Message):
    """No rule answers it."""


def with_handlers(world: ToyWorld, **changes: Any) -> dict[type, Any]:
    """The handlers of the toy, some of them changed: Alarm=..., Say=..."""
    known = {kind.__name__: kind for kind in world.behaviours[0].handlers}
    changed = {known[name]: handler for name, handler in changes.items()}
    return {**world.behaviours[0].handlers, **changed}


def alarms_that_fail(world: ToyWorld, outcomes: list[bool], **changes: Any) -> None:
    """The handler of alarms raises where an outcome is False; then it works."""
    works = world.behaviours[0].handlers[Alarm]

    def on_alarm(state: Any, m: Alarm, turn: Any) -> Any:
        if outcomes and not outcomes.pop(0):
            raise ValueError("boom")
        return works(state, m, turn)

    def fill(state: Any, rows: object) -> None:
        """An actor that comes back wants to be woken at once, like one with open work."""
        state.alarm_us = world.now_us

    world.behaviours.replace(
        0, toy_rules(HANDLERS=with_handlers(world, Alarm=on_alarm), fill=fill, **changes)
    )


def test_a_message_that_nobody_answers_becomes_a_dead_letter_under_its_name() -> None:
    world = ToyWorld()
    world.post(1, Add(), Unheard(), Add())
    world.post(2, Add())
    world.run()
    assert world.host.letters == [(1, "Unheard")]
    assert world.host.crashes == [(1, "KeyError")] * 2
    assert "1 refuses Unheard" in world.said
    assert (world.number(1), world.number(2)) == (2, 1)


def test_a_letter_whose_refusal_raises_too_is_dropped_and_the_actor_goes_on() -> None:
    def poison(state: Any, m: Message, turn: Any) -> list[Any]:
        raise RuntimeError("not even that")

    world = ToyWorld()
    world.behaviours.replace(0, toy_rules(poison=poison))
    world.post(1, Boom(9), Add())
    world.run()
    assert world.host.letters == [(1, "Boom")]
    assert [name for _, name in world.host.crashes] == ["ValueError", "ValueError", "RuntimeError"]
    assert world.said == ["1=1"]
    assert world.engine.quiet


def test_two_messages_that_kill_are_both_set_aside() -> None:
    world = ToyWorld()
    world.post(1, Boom(9), Boom(9), Add())
    world.run()
    assert world.host.letters == [(1, "Boom")] * 2
    assert world.said == ["1 refuses Boom"] * 2 + ["1=1"]


def test_a_message_told_by_an_actor_is_judged_like_a_posted_one() -> None:
    world = ToyWorld()
    world.post(1, Pass([(2, Boom(9)), (2, Add())]))
    world.run()
    assert world.host.letters == [(2, "Boom")]
    assert world.said == ["2 refuses Boom", "2=1"]


def test_the_dead_letter_is_committed_before_the_actor_is_read_again() -> None:
    world = ToyWorld()
    letters_at_each_read: list[bool] = []
    load = world.memory.load

    def looking(wants: Any, done: Any) -> None:
        letters_at_each_read.append("dead 1" in world.disk.tables.counters)
        load(wants, done)

    world.memory.load = looking  # type: ignore[method-assign]
    world.post(1, Boom(2))
    world.run()
    assert letters_at_each_read == [False, False, True]
    assert world.engine.cells[1].status == READY


def test_two_failures_far_apart_are_not_the_second_death_of_one_alarm() -> None:
    """Every alarm is the same object; what worked in between is above suspicion."""
    world = ToyWorld(Limits(actor_idle_s=1e9))
    alarms_that_fail(world, [False, True, False, True])
    for _ in range(2):
        world.post(1, Wake([world.now_us + SECOND]))
        world.run()
        world.pass_to(world.now_us + HOUR_US)
    assert world.engine.counts["crashes"] == 2
    assert world.host.letters == []
    assert len([line for line in world.said if "woken" in line]) >= 2


def test_an_alarm_that_was_set_aside_once_is_not_refused_for_ever() -> None:
    world = ToyWorld(Limits(actor_idle_s=1e9))
    alarms_that_fail(world, [False, False])
    world.post(1, Wake([world.now_us + SECOND]))
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    assert world.host.letters == [(1, "Alarm")]
    assert world.said[-1] == "1 refuses Alarm"
    world.pass_to(world.now_us + HOUR_US)
    assert "1 woken" in world.said[-1], world.said


def test_an_alarm_that_could_not_even_be_refused_is_not_refused_for_ever() -> None:
    def poison(state: Any, m: Message, turn: Any) -> list[Any]:
        raise RuntimeError("not even that")

    world = ToyWorld()
    alarms_that_fail(world, [False, False], poison=poison)
    world.post(1, Wake([world.now_us + SECOND]))
    world.run()
    world.pass_to(world.now_us + HOUR_US)
    assert [name for _, name in world.host.crashes][-1] == "RuntimeError"
    world.post(1, world.host.alarm)
    world.run()
    assert "1 woken" in world.said[-1]


def test_an_actor_whose_alarms_always_fail_is_paused_and_does_not_fill_the_letters() -> None:
    world = ToyWorld(Limits(restart_intensity=6, restart_window_s=60.0, restart_pause_s=30.0))
    alarms_that_fail(world, [False] * 10_000)
    world.post(1, Wake([world.now_us]))
    world.run()
    for _ in range(600):  # a minute, a tenth of a second at a time
        world.pass_to(world.now_us + SECOND // 10)
    assert world.engine.counts["actors_paused"] >= 1
    assert len(world.host.letters) <= 12


def test_what_was_served_is_not_kept_in_memory_by_those_who_watch_over_it() -> None:
    """A message may hold somebody's words."""
    world = ToyWorld()
    world.post(1, Boom(1), Boom(2), Fact([2]), Say("done"))
    world.run()
    assert world.said[-2:] == ["1 knows 0", "done"]
    cell = world.engine.cells[1]
    assert cell.needy is None
    assert cell.crashes is not None
    assert cell.crashes.suspect is None


def test_an_actor_that_crashed_and_was_not_wanted_again_leaves_memory_too() -> None:
    world = ToyWorld(Limits(actor_idle_s=10.0))

    def poison(state: Any, m: Message, turn: Any) -> list[Any]:
        raise RuntimeError("not even that")

    world.behaviours.replace(0, toy_rules(poison=poison))
    world.post(1, Boom(9))
    world.run()
    assert world.engine.cells[1].state is None
    world.engine.sweep(world.now_us + HOUR_US)
    assert world.engine.cells == {}
    assert world.host.slept == [], "there was no state to keep anything of"
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1"]


def test_a_release_that_raises_is_told_and_stops_nobody() -> None:
    world = ToyWorld()
    release = world.host.release
    broken = [True]

    def once(releases: list[Any]) -> None:
        if broken:
            broken.clear()
            raise OSError("a session's fault")
        release(releases)

    world.host.release = once  # type: ignore[method-assign]
    world.post(1, Add(), Fact([2]))
    with pytest.raises(OSError, match="a session's fault"):
        world.run()  # the loop hears of it, where it stops nobody
    world.run()
    world.post(1, Add())
    world.run()
    assert world.said == ["1 knows 0", "1=2"]
    assert world.engine.ready


@pytest.mark.parametrize(("gap_us", "too_many"), [(10, True), (100, False)])
def test_crashes_are_counted_within_their_window_only(gap_us: int, too_many: bool) -> None:
    log = CrashLog()
    for n in range(4):
        log.note(object(), n * gap_us)
    assert log.too_many(3 * gap_us, 3, 100) is too_many


def test_another_message_takes_the_suspicion_over() -> None:
    log = CrashLog()
    first, second = object(), object()
    for message in (first, second, first):
        log.note(message, 0)
    assert (log.suspect, log.suspect_crashes) == (first, 1)
