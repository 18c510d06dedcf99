"""Histograms: how long something takes, counted by powers of two. Cheap enough to be always on."""

from collections.abc import Sequence

BOUNDS_US = tuple(64 << n for n in range(18))  # 64 us .. 8.4 s


class Histogram:
    """Of microseconds. counts[n]: at most BOUNDS_US[n]; the last: more than all of them."""

    __slots__ = ("counts", "largest_us", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0
        self.largest_us = 0  # since somebody took it

    def observe(self, us: int) -> None:
        at = ((us - 1) >> 6).bit_length() if us > BOUNDS_US[0] else 0
        self.counts[min(at, len(BOUNDS_US))] += 1
        self.sum_us += us
        if us > self.largest_us:
            self.largest_us = us

    def take_largest_us(self) -> int:
        """The largest since the last call."""
        largest, self.largest_us = self.largest_us, 0
        return largest

    @property
    def count(self) -> int:
        return sum(self.counts)


def quantile_us(counts: Sequence[int], q: float) -> float:
    """Below what a share q (0 to 1) of them lies, by a straight line inside the bucket; 0: none.

    What lies above all bounds counts as twice the last one.
    """
    total = sum(counts)
    if not total:
        return 0.0
    wanted, seen = q * total, 0
    low = 0.0
    for bound, count in zip((*BOUNDS_US, 2 * BOUNDS_US[-1]), counts, strict=True):
        if count and seen + count >= wanted:
            return low + (bound - low) * (wanted - seen) / count
        seen += count
        low = float(bound)
    return low
