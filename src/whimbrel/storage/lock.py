"""One process per data folder: a lock that the kernel drops when the process ends.

The file `lock` holds the owner's process number, for the message that others get.
"""

import fcntl
import os
from pathlib import Path

from whimbrel.domain.errors import Unready
from whimbrel.storage.private import close_folder


class FolderLock:
    """Held from construction until release(). Raises Unready if it cannot be had."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unready(
                f"the data folder {folder} cannot be written: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise Unready(f"the data folder {folder} is in use by process {owner}") from error
        try:
            close_folder(folder)
        except BaseException:
            self.release()
            raise
        try:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())
        except OSError as error:  # a full disk: the lock counts, the number is a courtesy
            _ = error

    def release(self) -> None:
        """Give the folder free; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
