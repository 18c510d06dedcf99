"""Timers, sleep, mailboxes and gauges."""

import pytest

from tests.runtime.toy import SECOND, Add, Fact, Noted, Say, ToyWorld, Wake, toy_rules
from whimbrel.domain.limits import Limits
from whimbrel.runtime.timers import Timers


def test_a_timer_fires_once_when_its_time_has_come() -> None:
    world = ToyWorld()
    world.post(1, Wake([5 * SECOND]))
    world.run()
    world.pass_to(5 * SECOND - 1)
    assert world.said == []
    world.pass_to(5 * SECOND)
    assert world.said == [f"1 woken at {5 * SECOND}"]
    world.pass_to(60 * SECOND)
    assert len(world.said) == 1


def test_a_clock_that_jumps_forward_fires_everything_that_is_due_once() -> None:
    world = ToyWorld()
    world.post(1, Wake([5 * SECOND, 6 * SECOND]))
    world.post(2, Wake([7 * SECOND]))
    world.run()
    for _ in range(4):
        world.pass_to(1_000 * SECOND)
    assert sorted(line[:7] for line in world.said) == ["1 woken", "1 woken", "2 woken"]


def test_an_earlier_time_replaces_a_later_one() -> None:
    world = ToyWorld()
    world.post(1, Wake([50 * SECOND]), Wake([5 * SECOND]))
    world.run()
    world.pass_to(5 * SECOND)
    assert len(world.said) == 1
    world.pass_to(50 * SECOND)
    assert len(world.said) == 1, "the later one is no longer wanted"


def test_a_later_time_replaces_an_earlier_one() -> None:
    world = ToyWorld()
    world.post(1, Wake([5 * SECOND]), Wake([50 * SECOND]))
    world.run()
    world.pass_to(5 * SECOND)
    world.post(1, Wake([70 * SECOND]))
    world.run()
    world.pass_to(50 * SECOND)
    assert world.said == []
    world.pass_to(70 * SECOND)
    assert world.said == [f"1 woken at {70 * SECOND}"]


def test_an_alarm_that_falls_due_while_its_actor_waits_for_a_read_is_not_lost() -> None:
    world = ToyWorld(inline=False)
    world.post(1, Wake([5 * SECOND]))
    world.run()
    world.post(1, Fact([2]))
    world.step()  # the read is under way
    world.now_us = 5 * SECOND
    world.engine.tick(world.now_us)
    world.run()
    world.pass_to(6 * SECOND)
    assert world.said[0] == "1 knows 0"
    assert [line for line in world.said if "woken" in line] == world.said[1:]
    assert len(world.said) == 2


def test_who_fell_asleep_with_a_timer_is_not_woken_by_it() -> None:
    """Waking sets its timers anew; an entry that was left over belongs to nobody."""
    world = ToyWorld(Limits(actor_idle_s=1.0))
    world.post(1, Wake([50 * SECOND]))
    world.run()
    assert world.engine.sweep(world.now_us + 2 * SECOND) == 1
    world.pass_to(60 * SECOND)
    assert world.said == []
    assert len(world.engine.timers) == 0


def test_timers_come_out_in_order_and_no_more_than_asked_for() -> None:
    timers = Timers()
    for at_us, key in [(30, 3), (10, 1), (20, 2), (10, 4)]:
        timers.add(at_us, key)
    assert timers.next_us() == 10
    assert timers.due(25, 2) == [1, 4]
    assert timers.due(25, 9) == [2]
    assert timers.due(25, 9) == []
    assert len(timers) == 1


def test_an_idle_actor_leaves_memory_and_comes_back_as_it_was() -> None:
    world = ToyWorld(Limits(actor_idle_s=10.0))
    world.post(1, Add(7))
    world.run()
    assert world.engine.sweep(world.now_us + 9 * SECOND) == 0
    assert world.engine.sweep(world.now_us + 11 * SECOND) == 1
    assert world.host.slept == [1]
    assert 1 not in world.engine.cells
    world.post(1, Add())
    world.run()
    assert world.said == ["1=7", "1=8"]


def test_an_actor_that_is_busy_stays_in_memory() -> None:
    world = ToyWorld(Limits(actor_idle_s=10.0))
    world.post(1, Add())
    world.run()
    world.state(1).busy = True
    assert world.engine.sweep(world.now_us + 3_600 * SECOND) == 0


def test_many_sleeping_actors_are_woken_by_one_read() -> None:
    world = ToyWorld()
    reads: list[int] = []
    load = world.memory.load

    def counted(wants, done):  # type: ignore[no-untyped-def]
        reads.append(len(wants))
        load(wants, done)

    world.memory.load = counted  # type: ignore[method-assign]
    for key in range(50):
        world.post(key, Say(str(key)))
    world.run()
    assert reads == [50]


def test_too_many_actors_in_memory_are_put_to_sleep_before_their_time() -> None:
    world = ToyWorld(Limits(actors_max=5, actor_idle_s=1_000.0))
    for key in range(10):
        world.post(key, Say("x"))
    world.run()
    assert world.engine.sweep(world.now_us) > 0


def test_a_full_mailbox_refuses_requests_and_takes_acknowledgements() -> None:
    world = ToyWorld(Limits(mailbox_max=3))
    taken = [world.engine.post(1, Say(str(n))) for n in range(5)]
    assert taken == [True, True, True, False, False]
    assert world.engine.post(1, Noted("an answer"))
    assert world.engine.counts["mailbox_busy"] == 2
    assert world.engine.post(2, Say("another mailbox"))
    world.run()
    assert world.said == ["0", "1", "2", "an answer", "another mailbox"]
    assert world.engine.post(1, Say("room again"))


def test_the_whole_queue_is_bounded_too() -> None:
    world = ToyWorld(Limits(queue_max=4))
    assert [world.engine.post(n, Say("x")) for n in range(6)] == [True] * 4 + [False] * 2


def test_gauges_tell_length_age_and_rate() -> None:
    world = ToyWorld(Limits(turn_messages_max=2))
    world.post(1, *(Say(str(n)) for n in range(6)))
    gauge = world.engine.queue_gauge
    world.step()
    facts = gauge.snapshot(world.now_us + 3_000)
    assert facts["turn_queue_length"] == 4
    assert facts["turn_queue_age_us"] == 3_000
    assert (facts["turn_queue_arrived"], facts["turn_queue_served"]) == (6, 2)
    world.run()
    facts = gauge.snapshot(world.now_us + 3_000)
    assert facts["turn_queue_length"] == facts["turn_queue_age_us"] == 0
    assert facts["turn_queue_longest"] == 6


def test_rules_are_replaced_between_two_messages_and_put_back_as_fast() -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.run()
    handlers = {**world.behaviours[0].handlers, Say: lambda state, m, turn: []}
    fresh = toy_rules(HANDLERS=handlers)
    old = world.behaviours.replace(0, fresh)
    world.post(1, Say("unheard"), Add())
    world.run()
    world.behaviours.restore(0, old)
    world.post(1, Say("heard"))
    world.run()
    assert world.said == ["1=1", "1=2", "heard"]


def test_rules_that_leave_a_message_unanswered_are_refused_whole() -> None:
    world = ToyWorld()
    fresh = toy_rules(HANDLERS={Say: world.behaviours[0].handlers[Say]})
    with pytest.raises(ValueError, match="Add"):
        world.behaviours.replace(0, fresh)
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1"]
