from hypothesis import given
from hypothesis import strategies as st

from whimbrel.domain.histogram import BOUNDS_US, Histogram, quantile_us


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


@given(st.lists(st.integers(1, BOUNDS_US[-1]), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_value_that_it_stands_for(
    values: list[int], q: float
) -> None:
    histogram = Histogram()
    for us in values:
        histogram.observe(us)
    true = sorted(values)[max(0, -int(-q * len(values) // 1) - 1)]
    upper = next(bound for bound in BOUNDS_US if true <= bound)
    lower = upper / 2 if upper > BOUNDS_US[0] else 0
    assert lower <= quantile_us(histogram.counts, q) <= upper


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile_us(Histogram().counts, 0.99) == 0.0
