"""Upgrades that went back by themselves, as the monitor sees them: the last ten minutes of them."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

RECENT_S = 600.0


class Undone(NamedTuple):
    """name, why: of the last one."""

    number: int = 0
    name: str = ""
    why: str = ""


class RecentlyUndone:
    """now_s: seconds since any moment."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._all: deque[tuple[float, str, str]] = deque()

    def add(self, name: str, why: str) -> None:
        self._all.append((self._now_s(), name, why))

    def __call__(self) -> Undone:
        while self._all and self._all[0][0] < self._now_s() - RECENT_S:
            self._all.popleft()
        if not self._all:
            return Undone()
        _, name, why = self._all[-1]
        return Undone(len(self._all), name, why)
