"""Throttle: one token bucket a key, in a bounded table. The clock is an argument.

Law: memory is bounded; when the table is full the key that was seen longest ago goes first.
"""


class Throttle:
    """allow(key, now_s) is False when `burst` is used up; `rate_per_s` fills it again."""

    __slots__ = ("_buckets", "_burst", "_keys_max", "_rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, keys_max: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._keys_max = keys_max
        self._buckets: dict[str, tuple[float, float]] = {}  # key -> (tokens, seen)

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, key: str, now_s: float) -> bool:
        tokens, seen_s = self._buckets.pop(key, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - seen_s) * self._rate_per_s)
        allowed = tokens >= 1.0
        if allowed:
            tokens -= 1.0
        self._buckets[key] = (tokens, now_s)  # at the end: the dict is ordered by last use
        if len(self._buckets) > self._keys_max:
            del self._buckets[next(iter(self._buckets))]
        return allowed
