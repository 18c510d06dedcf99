"""A planned hand-over under load: nothing that was begun fails, so nobody hears of it."""

from random import Random

import pytest

from sim import leases
from sim.plan import Plan, Step, _talk
from sim.time import SECOND
from sim.world import SimWorld
from whimbrel.domain.limits import Limits

END_US = 60 * SECOND


def of_survivors(seed: int) -> tuple[int, int]:
    """(shards that nodes 0 and 1 gave away, their commits that failed), while node 2 dies and
    comes back for its share.
    """
    steps = _talk(Random(seed), 5, END_US, 10.0)
    steps += [Step(at_s * SECOND, "crash", 2, 0, 12 * SECOND) for at_s in (12, 34)]
    steps.sort(key=lambda step: step.at_us)
    world = SimWorld(Plan(seed, 3, 5, 16, Limits(), tuple(steps), END_US), keep_story=True)
    world.run()
    survivors = world.nodes[:2]
    given = sum(_is_given(line.split()) for line in world.story.lines)
    return given, sum(node.engine.counts["commits_fenced"] for node in survivors)


def _is_given(words: list[str]) -> bool:
    return words[1:3] == ["lets", "go"] and words[3] != "2"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_giving_shards_to_a_node_that_comes_fails_no_commit(seed: int) -> None:
    given, failed = of_survivors(seed)
    assert given >= 2
    assert failed == 0


def test_without_waiting_for_what_was_begun_commits_would_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "QUIET_US_MAX", 0)
    assert any(of_survivors(seed)[1] for seed in range(1, 30))
