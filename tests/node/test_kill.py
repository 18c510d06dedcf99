"""Laws 1, 2 and 3 on the real server: kill -9 at random moments under load loses nothing."""

import asyncio

import pytest

from tests.node import kill

KEPT = {
    "lost": 0,
    "shown_twice": 0,
    "out_of_order": 0,
    "second_mark_missing": 0,
    "marks_that_lie": 0,
}


def judge(verdict: dict[str, int], rounds: int) -> None:
    acknowledged = verdict.pop("acknowledged")
    assert acknowledged > rounds * 100, "there was no load"
    assert verdict == KEPT


def test_killed_again_and_again_under_load_nothing_acknowledged_is_lost() -> None:
    judge(asyncio.run(kill.run(5, 20, 7, (0.3, 1.0))), 5)


@pytest.mark.soak
def test_killed_a_hundred_times_with_fifty_pairs() -> None:
    judge(asyncio.run(kill.run(100, 50, 8, (0.3, 2.0))), 100)


def test_the_judge_sees_what_is_lost_doubled_disordered_or_a_lie() -> None:
    ledger = kill.Ledger()
    ledger.acknowledged["a"] = [(1, 10), (2, 20), (3, 30)]
    ledger.shown["a"] = [2, 1, 1]
    ledger.marked["a"] = 20
    ledger.lies.append("two marks for a message nobody saw")
    assert ledger.verdict() == {
        "acknowledged": 3,
        "lost": 1,
        "shown_twice": 1,
        "out_of_order": 1,
        "second_mark_missing": 1,
        "marks_that_lie": 1,
    }
