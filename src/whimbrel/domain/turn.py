"""What a rule may know of the world: the time, the limits, the era. Law 8."""

from whimbrel.domain.limits import Limits


class Turn:
    """Arguments of every rule, the same for all messages of one turn."""

    __slots__ = ("era", "limits", "mono_us", "now_us", "retry_us", "rewind_us")

    def __init__(self, now_us: int, mono_us: int, limits: Limits, era: int = 1) -> None:
        self.now_us = now_us  # wall clock: ids, deadlines, what people see
        self.mono_us = mono_us  # never goes back: retries and waiting
        self.limits = limits
        self.retry_us = mono_us + int(limits.retry_first_s * 1_250_000)  # of a first try
        self.rewind_us = mono_us + int(limits.rewind_s * 1_000_000)
        self.era = era
