"""A wall clock that jumps: seen once, expiry stays suspended; ids never go back."""

from tests.world import World
from whimbrel.domain.answers import Stored
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


def test_the_systems_wall_clock_tells_microseconds_and_the_other_one_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now_us() > 1_700_000_000_000_000, "microseconds since 1970"
    times = [clock.monotonic_us() for _ in range(1_000)]
    assert times == sorted(times)


def test_a_clock_that_jumps_back_and_forth_gives_no_id_twice_also_over_a_restart() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    texts = []
    for n, jump_us in enumerate([0, -24 * HOUR_US, 48 * HOUR_US, -72 * HOUR_US, 0]):
        world.clock.wall_us += jump_us
        if n == 3:
            world.boot()
            alice.connect()
            bob.connect()
        texts.append(f"message {n}")
        alice.say("bob", texts[-1])
    ids = [answer.id for answer in alice.of(Stored)]
    assert len(ids) == len(texts)
    assert ids == sorted(set(ids))
    assert bob.texts() == texts
    assert [item.id for item in bob.items if item.body] == ids
