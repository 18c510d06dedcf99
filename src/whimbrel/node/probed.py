"""What the last probe found; written by probe.py, read by the monitor."""

from whimbrel.domain.histogram import Histogram


class Probed:
    """ms: until the second mark; the time that has passed, while it is still awaited."""

    __slots__ = ("failures", "ms", "second_mark", "stored", "trouble")

    def __init__(self) -> None:
        self.ms = 0.0
        self.failures = 0  # in a row
        self.trouble = ""  # the step that failed last, and how
        self.stored = Histogram()  # first mark
        self.second_mark = Histogram()
