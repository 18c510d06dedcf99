"""How figures look on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.cli.top import look


@given(st.floats(0, 1e14))
def test_a_count_is_never_longer_than_its_column(value: float) -> None:
    assert len(look.count(value)) <= 7


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (7.25, "7.2"), (999, "999"), (12_345, "12,345"), (123_456, "123k"), (-1, "–"),
     (1_234_567, "1.2M")],
)  # fmt: skip
def test_counts(value: float, said: str) -> None:
    assert look.count(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "0.5 s"), (59, "59 s"), (200, "3 m 20 s"), (7_300, "2 h 1 m"), (200_000, "2 d 7 h")],
)
def test_seconds_have_two_units_at_most(value: float, said: str) -> None:
    assert look.seconds(value) == said


@given(st.lists(st.floats(0, 1e9), max_size=400), st.integers(0, 200))
def test_a_sparkline_fits_and_shows_the_highest_at_the_top(values: list[float], width: int) -> None:
    shown = look.spark(values, width)
    assert len(shown) <= width
    assert set(shown) <= set(look.BLOCKS)
    if width and values and max(values[-width:]) > 0 and len(values) <= width:
        assert look.BLOCKS[-1] in shown


def test_a_peak_is_not_lost_when_there_are_more_seconds_than_columns() -> None:
    assert look.spark([0] * 50 + [9] + [0] * 49, 10).count("█") == 1


def test_sizes() -> None:
    assert [look.size(n) for n in (0, 999, 2_048, 1 << 20, 1 << 31)] == [
        "0 B", "999 B", "2.0 KiB", "1.0 MiB", "2.0 GiB",
    ]  # fmt: skip
