"""The system's clock, and a watch over it: a wall clock that jumps must not expire anything."""

import time

from whimbrel.domain.ports import Clock


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000


class ClockWatch:
    """Compares wall time with monotonic time; `jumped` stays true until the process ends.

    DELIVERY.md: a wall clock that jumps by more than an hour suspends expiry and alerts.
    """

    JUMP_US = 3_600_000_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_us = clock.now_us() - clock.monotonic_us()
        self.jumped = False

    def look(self) -> bool:
        """True once, at the moment a jump is seen."""
        offset_us = self._clock.now_us() - self._clock.monotonic_us()
        seen = abs(offset_us - self._offset_us) > self.JUMP_US
        self._offset_us = offset_us  # small corrections are followed
        if seen and not self.jumped:
            self.jumped = True
            return True
        return False
