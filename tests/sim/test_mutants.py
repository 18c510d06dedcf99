"""Planted bugs: each is noticed within a few seeds of the scenario that was steered at it.

docs/simulator.md has the table, made by `python -m sim.hunt`.
"""

import pytest

from sim.hunt import hunted
from sim.mutants import MUTANTS, TABLE
from sim.plan import SUSPICIONS
from sim.planting import planted
from sim.shrink import shrunk
from sim.world import run

# Where the seeds begin of a bug that shows itself late.
FIRST = {"loaded-before-the-epoch-is-raised": 41}
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_planted_bug_is_noticed(name: str) -> None:
    mutant = BY_NAME[name]
    assert hunted(mutant, FIRST.get(name, 1)) is not None, (
        f"{name} survives: nobody sees that {mutant.broken}"
    )


def test_there_are_enough_of_them_and_each_has_its_own_name() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    assert len(MUTANTS) - len(TABLE) >= 10


def test_a_failing_plan_is_made_shorter_and_still_fails() -> None:
    mutant = BY_NAME["retry-given-up"]
    plans = [SUSPICIONS[mutant.scene](seed) for seed in range(1, 20)]
    with planted(mutant):
        plan, verdict = next(
            (plan, verdict) for plan in plans if (verdict := run(plan)).broken is not None
        )
        assert verdict.broken is not None
        shorter = shrunk(plan, verdict.broken)
        again = run(shorter)
    assert again.broken is not None
    assert again.broken.what == verdict.broken.what
    assert len(shorter.steps) < len(plan.steps) / 4
    assert run(shorter).fine, "the sound code has no trouble with it"
