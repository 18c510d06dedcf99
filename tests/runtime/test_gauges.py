"""Gauges tell how long, how old, how fast; never older than it is, also after a strange day."""

from tests.runtime.toy import SECOND, Add, Message, Pass, Say, ToyWorld
from whimbrel.domain.limits import Limits
from whimbrel.runtime.gauges import QueueGauge
from whimbrel.storage.memory import Fate

HOUR_US = 3_600 * SECOND


def age_of_a_fresh_head(world: ToyWorld) -> int:
    """Two messages are posted now, one is served: how old does the other seem?"""
    world.post(1, Say("a"), Say("b"))
    world.step()
    facts = world.engine.queue_gauge.snapshot(world.now_us)
    assert facts["turn_queue_length"] == 1
    return facts["turn_queue_age_us"]


def test_the_age_of_the_head_grows_while_it_waits_and_falls_when_it_was_served() -> None:
    length = [0]
    gauge = QueueGauge("q", lambda: length[0])
    length[0] = 3
    gauge.mark(1_000)
    assert gauge.age_us(1_500) == 500
    gauge.served, length[0] = 2, 3
    gauge.mark(2_000)
    assert gauge.age_us(2_100) == 1_100, "one of the first three still waits"
    gauge.served = 3
    assert gauge.age_us(2_100) == 100


def test_an_empty_queue_has_no_age() -> None:
    gauge = QueueGauge("q", lambda: 0)
    gauge.mark(5)
    assert gauge.snapshot(HOUR_US) == {
        "q_length": 0,
        "q_age_us": 0,
        "q_arrived": 0,
        "q_served": 0,
        "q_longest": 0,
    }


def test_a_queue_that_was_emptied_leaves_no_age_behind() -> None:
    world = ToyWorld(Limits(turn_messages_max=1))
    world.post(1, *(Say(str(n)) for n in range(5)))
    world.run()
    world.now_us += HOUR_US
    assert age_of_a_fresh_head(world) == 0


def test_a_chain_of_tells_that_took_several_turns_leaves_no_age_behind() -> None:
    world = ToyWorld(Limits(turn_messages_max=1))
    tells: list[tuple[int, Message]] = [(2, Say(str(n))) for n in range(100)]
    world.post(1, Pass(tells))
    world.run()
    assert len(world.host.turns) > 2
    world.now_us += HOUR_US
    assert age_of_a_fresh_head(world) == 0


def test_what_was_dropped_with_a_failure_leaves_no_age_behind() -> None:
    world = ToyWorld(Limits(turn_messages_max=1))
    fates = [Fate.FAIL]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(1, *(Add() for _ in range(9)))
    world.run()
    assert not world.engine.ready
    world.pass_to(world.now_us + HOUR_US)
    assert world.engine.ready
    assert age_of_a_fresh_head(world) == 0


def test_a_backlog_is_as_old_as_its_oldest_message() -> None:
    world = ToyWorld(Limits(turn_messages_max=2))
    world.post(1, *(Say(str(n)) for n in range(8)))
    world.step()
    began_us = world.now_us
    for _ in range(2):
        world.now_us += SECOND
        world.post(1, Say("younger"))
        world.step()
    world.now_us += SECOND
    gauge = world.engine.queue_gauge
    assert gauge.age_us(world.now_us) == world.now_us - began_us
    assert gauge.arrived - gauge.served == gauge.snapshot(0)["turn_queue_length"]
