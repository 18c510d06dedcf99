"""The store's own thread: does one job after the other, mostly a single COMMIT.

Knows no SQL. Neighbour: sqlite.py, which gives it one job at a time.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class WriterThread:
    """Jobs run in order; a job reports by itself, and must not raise."""

    def __init__(self, name: str = "whimbrel-store") -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """Finish what was given, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        get = self._jobs.get
        while (job := get()) is not None:
            job()
