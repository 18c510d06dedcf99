"""A wall clock that jumps: seen once, expiry stays suspended; ids never go back."""

from whimbrel.domain.ids import next_id
from whimbrel.node.clock import ClockWatch, SystemClock

HOUR_US = 3_600_000_000


class Jumping(SystemClock):
    def __init__(self) -> None:
        self.wall = self.mono = 10 * HOUR_US

    def now_us(self) -> int:
        return self.wall

    def monotonic_us(self) -> int:
        return self.mono

    def both(self, us: int) -> None:
        self.wall += us
        self.mono += us


def test_time_that_passes_is_no_jump() -> None:
    clock = Jumping()
    watch = ClockWatch(clock)
    for _ in range(100):
        clock.both(HOUR_US)
        assert not watch.look()
    assert not watch.jumped


def test_small_corrections_are_followed() -> None:
    clock = Jumping()
    watch = ClockWatch(clock)
    for _ in range(10):
        clock.wall += HOUR_US // 2
        assert not watch.look()
    assert not watch.jumped


def test_a_jump_in_either_direction_is_told_once_and_remembered() -> None:
    for step in (2 * HOUR_US, -2 * HOUR_US):
        clock = Jumping()
        watch = ClockWatch(clock)
        clock.wall += step
        assert watch.look()
        assert not watch.look()
        assert watch.jumped


def test_message_ids_rise_also_when_the_clock_goes_back() -> None:
    ids = [next_id(now, last) for now, last in [(1_000, 0), (1_000, 1_000), (10, 1_001)]]
    assert ids == [1_000, 1_001, 1_002]
