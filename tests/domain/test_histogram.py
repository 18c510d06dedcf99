from hypothesis import given
from hypothesis import strategies as st

from whimbrel.domain.histogram import BOUNDS_US, Histogram


@given(st.integers(0, 2 * BOUNDS_US[-1]))
def test_a_value_is_counted_under_the_smallest_bound_that_holds_it(us: int) -> None:
    histogram = Histogram()
    histogram.observe(us)
    (at,) = [n for n, count in enumerate(histogram.counts) if count]
    assert at == next((n for n, bound in enumerate(BOUNDS_US) if us <= bound), len(BOUNDS_US))
    assert histogram.sum_us == us
    assert histogram.count == 1


def test_the_largest_is_taken_once() -> None:
    histogram = Histogram()
    for us in (5, 700, 30):
        histogram.observe(us)
    assert histogram.take_largest_us() == 700
    assert histogram.take_largest_us() == 0
