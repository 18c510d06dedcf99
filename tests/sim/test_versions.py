"""Versions of the rules come and go in the middle of simulated worlds: the laws hold.

One version is as good as the running rules under another number of state; another one fails
now and then, and may only be tried. No message is lost, doubled or out of order, whatever
comes and goes at whatever moment, under crashes, loss and takeovers.
"""

from random import Random
from types import ModuleType
from typing import Any

import pytest

from sim.plan import SUSPICIONS
from sim.versions import Versions
from sim.world import run
from whimbrel.logic import user
from whimbrel.logic.deliver import on_deliver
from whimbrel.runtime.behaviour import Behaviour


def version(number: int, seed: int, migrates: float = 1.0, fails: float = 0.0) -> Behaviour:
    """The rules as they are, as version `number` of the state; some things fail by chance."""
    chance = Random(seed)
    module = ModuleType("user")
    module.__dict__.update(vars(user))

    def migrate(state: Any, came: int, goes: int) -> Any:
        if chance.random() > migrates:
            raise ValueError("planted")
        state.more = None if goes == 1 else {"version": goes}
        return state

    def faulty(handle: Any) -> Any:
        def run(state: Any, message: Any, turn: Any) -> Any:
            effects = handle(state, message, turn)
            if chance.random() < fails:
                raise KeyError("planted")  # after it has changed the state
            return effects

        return run

    module.__dict__["STATE_VERSION"] = number
    module.__dict__["migrate"] = migrate
    if fails:
        module.__dict__["HANDLERS"] = {k: faulty(f) for k, f in user.HANDLERS.items()}
    return Behaviour(module)


@pytest.mark.parametrize("scene", ["swarm", "lossy", "crashes", "takeovers"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_good_versions_come_and_go(scene: str, seed: int) -> None:
    versions = Versions([version(1, 1), version(2, 2, migrates=0.7), version(1, 3)], seed)
    verdict = run(SUSPICIONS[scene](seed), versions=versions)
    assert verdict.fine, verdict.broken
    assert verdict.acknowledged
    assert versions.changes > 2


@pytest.mark.parametrize("scene", ["swarm", "lossy", "crashes", "takeovers"])
@pytest.mark.parametrize("seed", [4, 5])
def test_a_version_that_fails_is_tried_and_gives_way(scene: str, seed: int) -> None:
    """It is only ever on trial: each message that it fails on runs on the old rules."""
    versions = OnlyTried([version(1, 1), version(2, 2, migrates=0.7, fails=0.05)], seed)
    verdict = run(SUSPICIONS[scene](seed), versions=versions)
    assert verdict.fine, verdict.broken
    assert versions.failed_new or versions.crashes


class OnlyTried(Versions):
    def may_be_used(self, number: int) -> bool:
        return number == 0


def test_rules_that_break_a_law_are_seen() -> None:
    """The checker can fail: a version that forgets what was stored is noticed."""
    module = ModuleType("user")
    module.__dict__.update(vars(user))

    def forgets(state: Any, message: Any, turn: Any) -> Any:
        effects = on_deliver(state, message, turn)
        return [effect for effect in effects if type(effect).__name__ != "InboxRow"]

    handlers = {k: forgets if f is on_deliver else f for k, f in user.HANDLERS.items()}
    module.__dict__["HANDLERS"] = handlers
    bad = Behaviour(module)
    broken = [
        run(SUSPICIONS["swarm"](seed), versions=Versions([version(1, 1), bad], seed)).broken
        for seed in range(1, 6)
    ]
    assert any(broken)


def test_the_same_seed_gives_the_same_story() -> None:
    plan = SUSPICIONS["swarm"](9)
    digests = {
        run(plan, versions=Versions([version(1, 1), version(2, 2, 0.7)], 9)).digest
        for _ in range(2)
    }
    assert len(digests) == 1
