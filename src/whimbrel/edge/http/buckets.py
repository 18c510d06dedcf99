"""How often a client may ask: one token bucket each, in front of everything else.

Law: memory is bounded; when too many clients are remembered, those whose buckets are full again
(nothing is forgotten with them) go first, then the longest unseen.
"""

from collections.abc import Callable
from math import ceil


class Buckets:
    def __init__(
        self, per_s: float, burst: int, clients_max: int, now_s: Callable[[], float]
    ) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._clients_max = clients_max
        self._now_s = now_s
        self._buckets: dict[str, tuple[float, float]] = {}  # client -> (tokens, since)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> int:
        """0, or the seconds until there is a token again."""
        now = self._now_s()
        tokens, since = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_s)
        wait_s = 0
        if tokens >= 1.0:
            tokens -= 1.0
        else:
            wait_s = ceil((1.0 - tokens) / self._per_s)
        self._buckets[client] = (tokens, now)  # at the end: the dict is ordered by last use
        if len(self._buckets) > self._clients_max:
            self._forget(now)
        return wait_s

    def _forget(self, now: float) -> None:
        full_s = self._burst / self._per_s
        for client, (_, since) in list(self._buckets.items()):
            if now - since < full_s:
                break
            del self._buckets[client]
        while len(self._buckets) > self._clients_max:
            del self._buckets[next(iter(self._buckets))]
