"""The judge: what is worse, what is only noted, and that few messages prove nothing."""

from collections import Counter
from random import Random

import pytest

from whimbrel.node.upgrade.judge import Compared, Judgement, judge
from whimbrel.node.upgrade.settings import UpgradeSettings
from whimbrel.runtime.trial import Tally


class Row: ...


class Push: ...


def tally(calls: int, us: float, **effects: float) -> Tally:
    found = Tally()
    for _ in range(calls):
        found.add(int(us * 1_000))
    kinds: dict[str, type] = {"row": Row, "push": Push}
    found.effects = Counter({kinds[n]: round(rate * calls) for n, rate in effects.items()})
    return found


def judged(old: Tally, new: Tally, failed: int = 0, **settings: object) -> Judgement:
    kept = UpgradeSettings(**settings)  # type: ignore[arg-type]
    return judge([Compared("Submit", old, new)], failed, ["Submit: KeyError"] * failed, kept)


def test_the_same_is_not_worse() -> None:
    found = judged(tally(1_000, 20, row=2, push=1), tally(1_000, 21, row=2, push=1))
    assert found.worse == ""
    assert found.notes == []


def test_one_message_that_fails_on_the_new_version_only_is_one_too_many() -> None:
    good = tally(10, 20)
    assert "1 failed on the new version only (Submit: KeyError)" in judged(good, good, 1).worse
    assert judged(good, good, 1, failures_max=1).worse == ""


@pytest.mark.parametrize(
    ("old_us", "new_us", "calls", "worse"),
    [
        (20, 400, 1_000, True),
        (20, 59, 1_000, False),  # below three times
        (1, 20, 1_000, False),  # many times of nearly nothing
        (20, 400, 99, False),  # too few
    ],
)
def test_time(old_us: float, new_us: float, calls: int, worse: bool) -> None:
    found = judged(tally(1_000, old_us), tally(calls, new_us))
    assert bool(found.worse) == worse
    if worse:
        assert "Submit takes 400 us instead of 20 us, 20.0 times as long" in found.worse
    if calls < 100:
        assert found.notes == ["too few to compare: Submit"]


def test_a_pause_in_somebodys_turn_is_not_the_rules_fault() -> None:
    new = tally(200, 20)
    for _ in range(3):
        new.add(50_000_000)  # garbage was collected
    assert judged(tally(1_000, 20), new).worse == ""


def test_effects_that_come_less_often_are_noted_or_worse_as_configured() -> None:
    old, new = tally(1_000, 20, row=2, push=1), tally(1_000, 20, row=2)
    assert judged(old, new).worse == ""
    assert judged(old, new).notes == ["Submit: Push 1.00 -> 0.00 a message"]
    assert "Push 1.00 -> 0.00" in judged(old, new, effects_roll_back=True).worse


def test_chance_is_no_difference() -> None:
    """Two samples of one behaviour, over and over: hardly ever a note."""
    chance = Random(7)
    noted = 0
    for _ in range(300):
        rates: list[Tally] = []
        for calls in (2_000, 120):
            found = tally(calls, 20)
            found.effects = Counter({Push: sum(chance.random() < 0.1 for _ in range(calls))})
            rates.append(found)
        noted += bool(judged(rates[0], rates[1]).notes)
    assert noted <= 3


def test_no_traffic_is_said() -> None:
    found = judge([], 0, [], UpgradeSettings())
    assert found.notes == ["no messages came: nothing could be compared"]
