"""The story of a run: what happened, in order, readable; kept only when somebody will read."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from sim.time import SECOND


class Story:
    """Lines for people, and a running digest: two runs are the same if their digests are."""

    def __init__(self, now_us: Callable[[], int], keep: bool) -> None:
        self._now_us = now_us
        self.keep = keep
        self.lines: list[str] = []
        self.count = 0
        self._digest = blake2b(digest_size=16)

    def add(self, what: str, *facts: Any) -> None:
        self.count += 1
        line = f"{self._now_us() / SECOND:10.4f}  {what:<12} " + "  ".join(map(_short, facts))
        self._digest.update(line.encode())
        if self.keep:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def _short(fact: Any) -> str:
    text = str(fact)
    return text if len(text) <= 100 else text[:97] + "..."
