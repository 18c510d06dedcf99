"""Two versions of the rules: who runs which, how a state gets from one to the other, and what
happens to a message that fails on the new one. Nothing is lost, doubled or overtaken.
"""

import gc
import weakref
from random import Random
from typing import Any

import pytest

from tests.runtime.toy import Add, Boom, Fact, Noted, Pass, Say, State, ToyWorld, on_add, toy_rules
from whimbrel.runtime.behaviour import Behaviour
from whimbrel.runtime.cell import PAUSED
from whimbrel.runtime.trial import Trial

HANDLERS = toy_rules().HANDLERS


def rules(version: int = 1, **changes: Any) -> Behaviour:
    """A version of the toy's rules. Named handlers: Add=..., other names as in toy_rules."""
    kinds = {kind.__name__: kind for kind in HANDLERS}
    handlers = {kinds[name]: changes.pop(name) for name in list(changes) if name in kinds}
    return Behaviour(toy_rules(HANDLERS={**HANDLERS, **handlers}, STATE_VERSION=version, **changes))


def says(word: str) -> Any:
    return lambda state, m, turn: [*on_add(state, m, turn)[:1], *HANDLERS[Say](state, Say(word), 0)]


class Trying:
    """A trial in a world, and what it called."""

    def __init__(self, world: ToyWorld, new: Behaviour, share: float = 1.0) -> None:
        self.world = world
        self.worse = 0
        self.cpu_ns = 0
        self.old = world.behaviours.all
        self.trial = Trial(self.old, [new], share, 7, self._cpu, lambda effects: "", self._worse)
        world.behaviours.try_out(self.trial)

    def _cpu(self) -> int:
        self.cpu_ns += 1_000
        return self.cpu_ns

    def _worse(self) -> None:
        self.worse += 1

    def end(self, *winners: Behaviour) -> None:
        self.world.behaviours.use(list(winners) or self.old)


def test_an_actor_takes_the_new_rules_at_its_next_message() -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.run()
    world.behaviours.use([rules(Add=says("new"))])
    assert world.said == ["1=1"]
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1", "new"]
    assert world.number(1) == 2


def test_a_state_is_migrated_at_the_next_message_and_back() -> None:
    def migrate(state: State, came: int, goes: int) -> State:
        state.alarms = [goes]
        return state

    world = ToyWorld()
    old, new = world.behaviours.all, rules(2, migrate=migrate)
    world.post(1, Add())
    world.run()
    world.behaviours.use([new])
    assert world.state(1).alarms == []
    world.post(1, Add())
    world.run()
    assert world.state(1).alarms == [2]
    world.behaviours.use(old)
    world.post(1, Add())
    world.run()
    assert world.state(1).alarms == [1]
    assert world.engine.counts["states_migrated"] == 2
    assert world.said == ["1=1", "1=2", "1=3"]


def test_a_state_that_cannot_be_migrated_is_loaded_from_its_rows() -> None:
    """Nothing overtakes: the message that met it is the first one after the loading."""
    world = ToyWorld(inline=False)
    world.post(1, Add())
    world.run()
    world.behaviours.use([rules(2)])  # no migrate at all
    world.post(1, Add(), Say("then"), Add())
    world.run()
    assert world.said == ["1=1", "1=2", "then", "1=3"]
    assert world.host.lost == [1]
    assert world.engine.counts["states_not_migrated"] == 1
    assert not world.host.letters


def test_what_bad_rules_left_in_memory_is_not_kept() -> None:
    """Also where both versions claim one shape of the state: the rows are the truth."""

    def spoils(state: State, m: Say, turn: Any) -> Any:
        state.n = 99.5  # type: ignore[assignment]
        return HANDLERS[Say](state, m, turn)

    world = ToyWorld(inline=False)
    world.post(1, Add())
    world.run()
    trying = Trying(world, rules(Say=spoils))
    world.post(1, Say("spoilt"))
    world.run()
    trying.trial.distrust()
    trying.end()
    world.post(1, Add(), Say("sound"))
    world.run()
    assert world.said == ["1=1", "spoilt", "1=2", "sound"]
    assert world.host.lost == [1]
    assert world.host.crashes == []


def test_who_sleeps_wakes_with_the_rules_of_then() -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.run()
    world.engine.sweep(world.now_us + 10**10)
    world.behaviours.use([rules(2, Add=says("new"))])
    world.post(1, Add())
    world.run()
    assert world.said == ["1=1", "new"]
    assert not world.engine.counts["states_not_migrated"]


def test_a_share_of_the_actors_has_the_new_rules() -> None:
    world = ToyWorld()
    Trying(world, rules(Add=says("new")), 0.25)
    for key in range(1_000):
        world.post(key, Add())
    world.run()
    assert 150 < world.said.count("new") < 350
    world.said.clear()
    for key in range(1_000):
        world.post(key, Add())
    world.run()
    assert 150 < world.said.count("new") < 350


def test_both_versions_are_measured_by_message() -> None:
    world = ToyWorld()
    trying = Trying(world, rules(Add=says("new")), 0.5)
    for key in range(100):
        world.post(key, Add())
    world.run()
    old, new = trying.trial.of_old[Add], trying.trial.of_new[Add]
    assert old.calls + new.calls == 100
    assert old.cpu_ns == 1_000 * old.calls
    assert new.cpu_ns == 1_000 * new.calls
    assert sum(new.effects.values()) == 2 * new.calls
    assert trying.trial.of_new[Say].calls == 0


def test_what_fails_on_the_new_rules_runs_on_the_old_ones_and_is_no_dead_letter() -> None:
    def fails(state: State, m: Add, turn: Any) -> Any:
        state.n += 1_000  # half done
        raise KeyError("x")

    world = ToyWorld(inline=False)
    trying = Trying(world, rules(Add=fails))
    world.post(1, Say("before"), Add(), Say("between"), Add())
    world.post(2, Say("other"))
    world.run()
    assert [word for word in world.said if word != "other"] == ["before", "1=1", "between", "1=2"]
    assert world.number(1) == 2
    assert not world.host.letters
    assert not world.engine.counts["crashes"]
    assert world.host.lost == [1]
    assert trying.trial.failed_new == trying.worse == 1  # from then on the actor has the old rules
    assert trying.trial.failures == ["Add: KeyError"]


def test_what_fails_on_both_versions_does_not_count_against_the_new_one() -> None:
    world = ToyWorld()
    trying = Trying(world, rules())
    world.post(1, Boom(times=99), Add())
    world.run()
    assert world.host.letters == [(1, "Boom")]
    assert world.said == ["1 refuses Boom", "1=1"]
    assert (trying.trial.failed_new, trying.trial.failed_both, trying.worse) == (0, 1, 0)


def test_rules_that_cannot_understand_a_row_give_way_to_the_old_ones() -> None:
    def fill(state: State, rows: object) -> None:
        raise TypeError("no")

    world = ToyWorld()
    trying = Trying(world, rules(fill=fill))
    world.post(1, Add(), Add())
    world.run()
    assert world.said == ["1=1", "1=2"]
    assert world.engine.cells[1].status != PAUSED
    assert trying.worse == 1


def test_a_migration_that_raises_counts_against_the_new_rules() -> None:
    world = ToyWorld()
    world.post(1, Add())
    world.run()
    trying = Trying(world, rules(2))
    world.post(1, Add(), Add())
    world.run()
    assert world.said == ["1=1", "1=2", "1=3"]
    assert trying.worse == 1
    assert world.engine.cells[1].behaviour is trying.trial.old[0]


def test_effects_that_nobody_can_perform_count_as_a_failure() -> None:
    world = ToyWorld()
    trial = Trial(
        world.behaviours.all,
        [rules(Say=lambda state, m, turn: ["what?"])],
        1.0,
        0,
        lambda: 0,
        lambda effects: "no effect" if "what?" in effects else "",
        lambda: None,
    )
    world.behaviours.try_out(trial)
    world.post(1, Say("good"))
    world.run()
    assert world.said == ["good"]
    assert trial.failures == ["Say: WrongEffects (no effect)"]


def test_a_message_that_waits_for_a_fact_is_finished_by_the_rules_of_then() -> None:
    world = ToyWorld(inline=False)
    world.post(1, Fact([2, 3]))
    world.step()
    world.behaviours.use(
        [rules(Fact=lambda state, m, turn: HANDLERS[Say](state, Say("new"), turn))]
    )
    world.run()
    assert world.said == ["new"]


def test_nobody_keeps_an_old_version_alive() -> None:
    """Who hears nothing any more is brought over by the search for idle actors."""
    world = ToyWorld()
    first = rules(idle=lambda state: False)
    world.behaviours.use([first])
    for key in range(50):
        world.post(key, Add())
    world.run()
    gone = weakref.ref(first)
    world.behaviours.use([rules(idle=lambda state: False)])
    world.post(1, Add())
    world.run()
    del first
    assert gone() is not None
    world.engine.sweep(world.now_us)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("seed", range(60))
def test_upgrades_and_rollbacks_in_the_middle_lose_double_and_reorder_nothing(seed: int) -> None:
    """Random traffic, trials, promotions, rollbacks and failures of either kind."""
    chance = Random(seed)
    world = ToyWorld(inline=chance.random() < 0.5)

    def migrate(state: State, came: int, goes: int) -> State:
        if chance.random() < 0.2:
            raise ValueError("not today")
        return state

    def faulty(state: State, m: Any, turn: Any) -> Any:
        state.n += 7
        if chance.random() < 0.2:
            raise ValueError("new")
        state.n -= 7
        return HANDLERS[type(m)](state, m, turn)

    heard: dict[int, list[str]] = {key: [] for key in range(4)}
    trying: Trying | None = None
    for number in range(300):
        key = chance.randrange(4)
        word = f"{key}:{number}"
        heard[key].append(word)
        if chance.random() < 0.3:  # through another actor, in the same turn
            world.post(key + 10, Pass([(key, Add()), (key, Noted(word))]))
        else:
            world.post(key + 10, Pass([(key, Add()), (key, Say(word))]))
        for _ in range(chance.randrange(3)):
            if world.soon:
                world.step()
        if chance.random() < 0.1:
            if trying is None:
                new = rules(chance.randrange(1, 4), Add=faulty, Say=faulty, migrate=migrate)
                trying = Trying(world, new, chance.choice((0.3, 1.0)))
            elif chance.random() < 0.5:
                trying.end()
                trying = None
            else:  # the sound twin of what was on trial is taken by all
                trying.end(rules(chance.randrange(1, 4), migrate=migrate))
                trying = None
        if chance.random() < 0.05:
            world.engine.sweep(world.now_us + chance.choice((0, 10**10)))
    if trying is not None:
        trying.end()
    world.run()
    for key, words in heard.items():
        assert [word for word in world.said if word.startswith(f"{key}:")] == words
        assert world.number(key) == len(words)
    assert not world.host.letters
    assert not world.engine.counts["crashes"]
