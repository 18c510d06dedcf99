"""Simulated time: one heap of what happens next. Nothing here waits."""

from collections.abc import Callable
from heapq import heappop, heappush

Call = Callable[[], None]

MS = 1_000
SECOND = 1_000_000
EVENTS_MAX = 400_000
START_US = 1_800_000_000_000_000  # the true wall clock at the beginning


class Livelock(Exception):
    """Something keeps itself busy for ever."""


class Time:
    """Microseconds since the beginning. `events` counts everything that happened."""

    def __init__(self) -> None:
        self.now_us = 0
        self.events = 0
        self._heap: list[tuple[int, int, Call]] = []
        self._order = 0

    def at(self, at_us: int, call: Call) -> None:
        self._order += 1
        heappush(self._heap, (at_us, self._order, call))

    def after(self, delay_us: int, call: Call) -> None:
        self.at(self.now_us + delay_us, call)

    def run_until(self, end_us: int) -> None:
        """Everything up to then, in order; equal times in the order in which they were set."""
        heap = self._heap
        while heap and heap[0][0] <= end_us:
            at_us, _, call = heappop(heap)
            if at_us > self.now_us:
                self.now_us = at_us
            self.events += 1
            if self.events > EVENTS_MAX:
                raise Livelock(f"more than {EVENTS_MAX:,} events")
            call()
        self.now_us = max(self.now_us, end_us)


class NodeClock:
    """A node's own clocks: its wall clock may be off and may jump, monotonic time may not."""

    def __init__(self, time: Time, skew_us: int) -> None:
        self._time = time
        self.skew_us = skew_us

    def now_us(self) -> int:
        return START_US + self._time.now_us + self.skew_us

    def monotonic_us(self) -> int:
        return 1_000_000 + self._time.now_us
