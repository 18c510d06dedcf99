"""Which store a node has: SQLite in its folder, or a PostgreSQL that it shares with others."""

import time
from collections.abc import Callable
from pathlib import Path

from whimbrel.domain.batch import Batch
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.storage.postgres.store import PostgresStatistics, PostgresStore
from whimbrel.storage.sqlite import SqliteStore


class SharedStatistics(PostgresStatistics):
    sent_rows: int = 0  # messages written to sent logs
    inbox_rows: int = 0  # items written to inboxes


class SharedStore(PostgresStore):
    """With what the monitor of a node looks at."""

    statistics: SharedStatistics

    def __init__(self, url: str, limits: Limits, folder: Path, *, unsafe: bool = False) -> None:
        super().__init__(url, limits, insists=not unsafe)
        self.folder = folder  # of what this node keeps beside the database
        self.statistics = SharedStatistics()
        self._busy_since = 0.0

    @property
    def busy_s(self) -> float:
        """How long the commit under way has taken so far; 0: none is."""
        return time.perf_counter() - self._busy_since if self._busy_since else 0.0

    def commit(self, batch: Batch, done: Callable[[Outcome, str], None]) -> None:
        self._busy_since = time.perf_counter()

        def told(outcome: Outcome, reason: str) -> None:
            self._busy_since = 0.0
            if outcome is Outcome.COMMITTED:
                self.statistics.sent_rows += len(batch.sent)
                self.statistics.inbox_rows += len(batch.inbox)
            done(outcome, reason)

        super().commit(batch, told)


NodeStore = SqliteStore | SharedStore
