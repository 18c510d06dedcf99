"""Token buckets with a clock that stands still until it is moved."""

from whimbrel.edge.throttle import Throttle


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    throttle = Throttle(rate_per_s=0.5, burst=3, keys_max=10)
    assert [throttle.allow("a", 100.0) for _ in range(4)] == [True, True, True, False]
    assert not throttle.allow("a", 101.9)
    assert throttle.allow("a", 102.0)
    assert not throttle.allow("a", 102.0)


def test_keys_do_not_share_a_bucket() -> None:
    throttle = Throttle(rate_per_s=1, burst=1, keys_max=10)
    assert throttle.allow("a", 0.0)
    assert throttle.allow("b", 0.0)
    assert not throttle.allow("a", 0.0)


def test_a_refused_call_costs_nothing() -> None:
    throttle = Throttle(rate_per_s=1, burst=1, keys_max=10)
    assert throttle.allow("a", 0.0)
    for tenth in range(1, 10):
        assert not throttle.allow("a", tenth / 10)
    assert throttle.allow("a", 1.01)


def test_a_bucket_never_holds_more_than_the_burst() -> None:
    throttle = Throttle(rate_per_s=10, burst=2, keys_max=10)
    assert throttle.allow("a", 0.0)
    assert [throttle.allow("a", 1e6) for _ in range(3)] == [True, True, False]


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    throttle = Throttle(rate_per_s=1, burst=1, keys_max=10)
    assert throttle.allow("a", 100.0)
    assert not throttle.allow("a", 50.0)


def test_memory_is_bounded_and_the_longest_unseen_is_forgotten_first() -> None:
    throttle = Throttle(rate_per_s=0.001, burst=1, keys_max=2)
    assert throttle.allow("a", 0.0)
    assert throttle.allow("b", 1.0)
    assert not throttle.allow("a", 2.0)  # seen again: b is now the longest unseen
    assert throttle.allow("c", 3.0)
    assert len(throttle) == 2
    assert not throttle.allow("a", 4.0)
    for number in range(1_000):
        throttle.allow(str(number), 5.0)
    assert len(throttle) == 2
