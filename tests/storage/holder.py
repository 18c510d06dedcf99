"""Drives a store from a test: a small loop that runs what the store posts.

Every wait is bounded: a store that never answers fails the test instead of hanging it.
"""

from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from whimbrel.domain.batch import Batch
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import Row
from whimbrel.domain.wants import Want
from whimbrel.storage.memory import MemoryDisk, MemoryStore
from whimbrel.storage.opening import FILE
from whimbrel.storage.sqlite import SqliteStore

LIMITS = Limits(dead_letters_max=5)
WAIT_S_MAX = 10.0


class Loop:
    """What asyncio's loop is to the store: a queue of callables, run on this thread."""

    def __init__(self) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def post(self, callback: Callable[[], None]) -> None:
        self._posted.put(callback)

    def run_until(self, condition: Callable[[], object]) -> None:
        while not condition():
            try:
                self._posted.get(timeout=WAIT_S_MAX)()
            except Empty:
                raise AssertionError("the store did not answer") from None

    def run_posted(self) -> None:
        while not self._posted.empty():
            self._posted.get()()


def batch_of(*rows: Row, number: int = 1) -> Batch:
    batch = Batch(number)
    for row in rows:
        batch.add(row)
    return batch


class Holder:
    """A store and its loop."""

    def __init__(self, store: Any, loop: Loop) -> None:
        self.store = store
        self.loop = loop

    def batch(self, *rows: Row) -> Batch:
        """As the engine would hand it in."""
        return batch_of(*rows)

    def commit(self, *rows: Row) -> tuple[Outcome, str]:
        """Write in one batch and wait for the outcome."""
        results: list[tuple[Outcome, str]] = []
        self.store.commit(self.batch(*rows), lambda outcome, why: results.append((outcome, why)))
        self.loop.run_until(lambda: results)
        return results[0]

    def put(self, *rows: Row) -> None:
        assert self.commit(*rows) == (Outcome.COMMITTED, "")

    def load(self, *wants: Want) -> Any:
        answers: list[Any] = []
        self.store.load(wants, answers.append)
        self.loop.run_until(lambda: answers)
        return answers[0]

    def get(self, want: Want) -> Any:
        answers = self.load(want)
        assert isinstance(answers, list), answers
        return answers[0]

    def recover(self) -> tuple[bool, str]:
        results: list[tuple[bool, str]] = []
        self.store.recover(lambda sound, why: results.append((sound, why)))
        self.loop.run_until(lambda: results)
        return results[0]

    def close(self) -> None:
        self.store.close()

    def usurp(self) -> None:
        """Another process takes the database over."""
        if isinstance(self.store, MemoryStore):
            MemoryStore(self.store.disk)
        else:
            other = apsw.Connection(str(self.store.folder / FILE))
            other.execute("UPDATE meta SET epoch = epoch + 1")
            other.close()

    def reopen(self) -> "Holder":
        """Close, and open the same data again."""
        self.store.close()
        self.loop.run_posted()
        if isinstance(self.store, MemoryStore):
            return memory(self.store.disk)
        return sqlite(self.store.folder)


def memory(disk: MemoryDisk | None = None, **options: Any) -> Holder:
    loop = Loop()
    return Holder(MemoryStore(disk, schedule=loop.post, limits=LIMITS, **options), loop)


def sqlite(folder: Path, **options: Any) -> Holder:
    loop = Loop()
    return Holder(SqliteStore(folder, loop.post, LIMITS, **options), loop)
