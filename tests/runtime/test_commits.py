"""One commit a turn: nothing is heard before it, nothing of a failed one is heard at all."""

import pytest

from tests.runtime.toy import Add, Fact, Look, Say, ToyWorld
from whimbrel.domain.ports import Outcome
from whimbrel.storage.memory import Fate


def test_nothing_is_heard_before_the_commit() -> None:
    world = ToyWorld()
    world.memory.fate = lambda batch: Fate.HANG
    world.post(1, Add(), Say("no row, but the same turn"))
    world.run()
    assert world.said == []
    world.memory.resume()
    world.run()
    assert world.said == ["1=1", "no row, but the same turn"]


def test_what_happens_during_a_commit_goes_into_the_next_one() -> None:
    world = ToyWorld()
    fates = [Fate.HANG, Fate.COMMIT]
    world.memory.fate = lambda batch: fates.pop(0)
    world.post(1, Add())
    world.run()
    for key in range(2, 12):
        world.post(key, Add())
        world.run()
    assert world.said == []
    world.memory.resume()
    world.run()
    assert world.said == [f"{key}=1" for key in range(1, 12)]
    assert world.memory.commits == 2


@pytest.mark.parametrize("fate", [Fate.FAIL, Fate.UNKNOWN_WRITTEN, Fate.UNKNOWN_LOST])
def test_of_a_commit_that_did_not_end_well_nothing_is_heard(fate: Fate) -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.run()
    fates = [fate]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.post(1, Add())
    world.post(2, Add())
    world.run()
    assert world.said == ["1=1"]
    assert not world.engine.ready
    assert world.host.failures[0][0] is not Outcome.COMMITTED
    assert set(world.host.failures[0][2]) == {"1=2", "2=1"}
    assert not world.engine.post(1, Add()), "not ready: refused"


def test_after_the_disk_is_sound_again_everything_is_read_anew() -> None:
    world = ToyWorld()
    world.post(1, Add(3))
    world.run()
    fates, sound = [Fate.FAIL], ["no space left", ""]
    world.memory.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    world.memory.sound = lambda: sound.pop(0)
    world.post(1, Add())
    world.run()
    world.pass_to(world.now_us + 3_600_000_000)
    assert not world.engine.ready, "the disk is still full"
    world.pass_to(world.now_us + 3_600_000_000)
    assert world.engine.ready
    assert world.host.recoveries == 1
    world.post(1, Add())
    world.run()
    assert world.said == ["1=3", "1=4"], "the lost addition is not remembered"


def test_a_read_waits_for_what_its_actor_has_written() -> None:
    world = ToyWorld()
    world.post(1, Look(5))
    world.run()
    assert world.said == ["read 5"]


def test_a_fact_is_read_after_the_commit_of_what_its_actor_wrote() -> None:
    world = ToyWorld()
    world.post(2, Add(9))
    world.run()
    world.post(1, Add(), Fact([2]))
    world.run()
    assert world.said == ["2=9", "1=1", "1 knows 9"]


def test_several_facts_are_read_at_once() -> None:
    world = ToyWorld()
    world.post(1, Fact([2, 3, 4]))
    world.run()
    assert world.said == ["1 knows 0 0 0"]


def test_while_one_actor_waits_for_its_facts_the_others_are_served() -> None:
    world = ToyWorld(inline=False)
    world.post(1, Fact([9]))
    world.post(2, Say("me first"))
    world.step()
    world.run()
    assert world.said == ["me first", "1 knows 0"] or world.said == ["1 knows 0", "me first"]
    assert world.engine.quiet
