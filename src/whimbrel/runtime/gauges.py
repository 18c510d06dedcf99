"""Gauges: how long a queue is, how old its head, how fast it is served. Always on.

A queue is not stamped entry by entry: a mark every turn (how many had come in by when)
gives the age of the head to within one turn, for a few nanoseconds an entry.
"""

from collections import deque
from collections.abc import Callable

MARKS_MAX = 4_096


class QueueGauge:
    """`arrived` and `served` are counters; the length is measured, not counted."""

    __slots__ = ("_length", "_marks", "arrived", "longest", "name", "served")

    def __init__(self, name: str, length: Callable[[], int]) -> None:
        self.name = name
        self._length = length
        self.arrived = 0
        self.served = 0
        self.longest = 0
        self._marks: deque[tuple[int, int]] = deque(maxlen=MARKS_MAX)

    @property
    def length(self) -> int:
        return self._length()

    def mark(self, now_us: int) -> None:
        """Called once a turn, before it serves."""
        length = self._length()
        if length > self.longest:
            self.longest = length
        if length:
            self._marks.append((self.served + length, now_us))

    def emptied(self) -> None:
        """Nothing waits any more, however it went: what was marked says nothing of what comes."""
        self._marks.clear()

    def age_us(self, now_us: int) -> int:
        """At least how long the head has waited; 0 if the queue is empty."""
        if not self._length():
            self._marks.clear()
            return 0
        marks = self._marks
        while marks and marks[0][0] <= self.served:
            marks.popleft()
        return now_us - marks[0][1] if marks else 0

    def snapshot(self, now_us: int) -> dict[str, int]:
        return {
            f"{self.name}_length": self._length(),
            f"{self.name}_age_us": self.age_us(now_us),
            f"{self.name}_arrived": self.arrived,
            f"{self.name}_served": self.served,
            f"{self.name}_longest": self.longest,
        }
