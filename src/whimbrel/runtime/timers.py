"""Timers: a heap on an injected clock. An entry is a promise to look, not a fact.

A cell may have asked for an earlier or a later time since; the engine compares when the
entry falls due, so nothing is ever cancelled and the heap holds about one entry an actor.
"""

from heapq import heappop, heappush


class Timers:
    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_us: int, key: int) -> None:
        self._order += 1
        heappush(self._heap, (at_us, self._order, key))

    @property
    def added(self) -> int:
        """How many were ever set."""
        return self._order

    def next_us(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def due(self, now_us: int, at_most: int) -> list[int]:
        """Keys whose time has come, oldest first."""
        keys: list[int] = []
        heap = self._heap
        while heap and heap[0][0] <= now_us and len(keys) < at_most:
            keys.append(heappop(heap)[2])
        return keys

    def clear(self) -> None:
        self._heap.clear()
