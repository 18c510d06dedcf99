"""What the last probes found; written by probe.py, read by the monitor and the metrics."""

import time

from whimbrel.domain.histogram import Histogram


class Probed:
    """signed_in, first_mark, second_mark: seconds since the probe began, since it sent."""

    __slots__ = (
        "_ms",
        "began_s",
        "done",
        "failed",
        "failures",
        "first_mark",
        "second_mark",
        "signed_in",
        "trouble",
    )

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0  # of all
        self.failures = 0  # in a row
        self.trouble = ""  # the step that failed last, and how
        self.began_s = 0.0  # when the message was sent whose second mark is awaited, or 0
        self.signed_in = Histogram()
        self.first_mark = Histogram()
        self.second_mark = Histogram()
        self._ms = 0.0

    @property
    def ms(self) -> float:
        """Until the second mark of the last message, or until now if it has not come."""
        waited_ms = (time.monotonic() - self.began_s) * 1e3 if self.began_s else 0.0
        return max(self._ms, waited_ms)

    def succeeded(self, second_mark_s: float) -> None:
        self.done += 1
        self.failures, self.trouble, self.began_s = 0, "", 0.0
        self._ms = second_mark_s * 1e3
        self.second_mark.observe(int(second_mark_s * 1e6))

    def broke(self, step: str, how: str) -> None:
        self.done += 1
        self.failed += 1
        self.failures += 1
        self.began_s = 0.0
        self.trouble = f"{step}: {how}"
