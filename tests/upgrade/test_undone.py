"""What the monitor hears of upgrades that went back by themselves."""

from whimbrel.node.upgrade.undone import RECENT_S, RecentlyUndone, Undone


def test_they_are_counted_for_ten_minutes_and_the_last_one_is_named() -> None:
    now_s = 1_000.0
    undone = RecentlyUndone(lambda: now_s)
    assert undone() == Undone(0, "", "")
    undone.add("1.2", "canary: raises")
    now_s += RECENT_S - 1
    undone.add("1.3", "watch: slower")
    assert undone() == Undone(2, "1.3", "watch: slower")
    now_s += 2
    assert undone() == Undone(1, "1.3", "watch: slower")
    now_s += RECENT_S
    assert undone() == Undone(0, "", "")
