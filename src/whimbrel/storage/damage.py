"""The check of a large database after an unclean end, beside normal work.

Owned by sqlite.py. Reads through a connection of its own, in a thread of its own.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import apsw

from whimbrel.storage.opening import check, check_file
from whimbrel.storage.reasons import reason


class DamageCheck:
    """Calls `found(text)` from its thread if the database is damaged; else nothing."""

    def __init__(self, path: Path, found: Callable[[str], None], vfs: str = "") -> None:
        self._db = check_file(path, vfs)
        self._found = found
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="whimbrel-check", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, finished or not."""
        self._stopped = True
        while self._thread.is_alive():
            self._db.interrupt()
            self._thread.join(0.01)
        self._db.close(True)

    def _run(self) -> None:
        try:
            text = check(self._db)
        except apsw.Error as error:
            text = reason(error)
        if text and not self._stopped:
            self._found(text)
