"""An actor that raises: tried again, then set aside by name, and everybody else goes on."""

import msgspec

from tests.runtime.toy import Add, Boom, Greedy, Say, ToyWorld
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import AccountRow


def test_a_message_that_fails_once_is_served_at_the_second_try() -> None:
    world = ToyWorld()
    world.post(1, Boom(1), Add())
    world.run()
    assert world.said == ["1=1", "1=2"]
    assert world.host.letters == []
    assert world.engine.counts["crashes"] == 1


def test_what_an_actor_had_in_memory_only_is_gone_with_the_crash() -> None:
    """The rule counts before it raises: a state that was not dropped would show it."""
    world = ToyWorld()
    world.post(1, Add(5), Boom(1))
    world.run()
    assert world.said == ["1=5", "1=6"]
    assert world.number(1) == 6


def test_a_message_that_kills_twice_becomes_a_dead_letter_and_is_refused_by_name() -> None:
    world = ToyWorld()
    world.post(1, Add(), Boom(2), Add())
    world.run()
    assert world.host.letters == [(1, "Boom")]
    assert world.said == ["1=1", "1 refuses Boom", "1=2"]
    assert "dead 1" in world.disk.tables.counters


def test_the_crash_of_one_actor_is_not_felt_by_another() -> None:
    world = ToyWorld()
    world.post(1, Boom(2))
    world.post(2, Add())
    world.post(1, Say("still here"))
    world.run()
    assert "2=1" in world.said
    assert world.said[-1] == "still here"
    assert world.host.lost == [1, 1]


def test_an_actor_that_crashes_too_often_rests_for_a_while_and_then_goes_on() -> None:
    world = ToyWorld(Limits(restart_intensity=3, restart_window_s=60.0, restart_pause_s=30.0))
    world.post(1, *(Boom(1) for _ in range(4)), Add())
    world.run()
    assert world.engine.counts["actors_paused"] == 1
    assert world.said == ["1=1", "1=2", "1=3"]
    world.post(2, Add())
    world.run()
    assert world.said[-1] == "2=1", "the others are served meanwhile"
    world.pass_to(world.now_us + 31_000_000)
    assert world.said[-2:] == ["1=4", "1=5"]


def test_old_crashes_are_forgotten() -> None:
    world = ToyWorld(Limits(restart_intensity=3, restart_window_s=60.0))
    for _ in range(10):
        world.post(1, Boom(1))
        world.run()
        world.pass_to(world.now_us + 61_000_000)
    assert world.engine.counts["actors_paused"] == 0
    assert world.engine.counts["crashes"] == 10


def test_a_rule_that_asks_for_the_same_fact_for_ever_is_a_crash_like_any_other() -> None:
    world = ToyWorld()
    world.post(1, Greedy(), Add())
    world.run()
    assert world.host.letters == [(1, "Greedy")]
    assert world.said == ["1 refuses Greedy", "1=1"]


def test_rows_that_cannot_be_understood_rest_their_actor_and_nobody_else() -> None:
    world = ToyWorld(Limits(restart_pause_s=30.0))
    row = AccountRow(1, "spoiled", 0, 0, 4, 0, 0, 0, 0, 0)
    world.disk.tables.accounts[1] = row
    world.post(1, Add())
    world.post(2, Add())
    world.run()
    assert world.said == ["2=1"]
    assert world.host.crashes == [(1, "ValueError")]
    world.disk.tables.accounts[1] = msgspec.structs.replace(row, address="mended")
    world.pass_to(world.now_us + 31_000_000)
    assert world.said == ["2=1", "1=5"]


def test_effects_that_cannot_be_performed_fail_the_turn_whole_and_the_node_recovers() -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.post(2, Say("in the same turn"))
    perform = world.host.perform

    def broken(key, effects, batch, releases):  # type: ignore[no-untyped-def]
        perform(key, effects, batch, releases)
        raise KeyError("half of it done")

    world.host.perform = broken  # type: ignore[method-assign]
    world.run()
    assert world.said == []
    assert not world.engine.ready
    world.host.perform = perform  # type: ignore[method-assign]
    world.pass_to(world.now_us + 60_000_000)
    assert world.engine.ready
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1"], "nothing of the broken turn was kept"
