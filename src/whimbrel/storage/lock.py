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
        self._sign()

    @classmethod
    def taken_over(cls, folder: Path, fd: int) -> "FolderLock":
        """From the process before, which holds it too until it ends (flock(2): a lock belongs to
        the open file). So nobody else gets in between the two. Raises Unready.
        """
        lock = cls.__new__(cls)
        lock._fd = fd
        try:
            same = os.path.samestat(os.fstat(fd), os.stat(folder / "lock"))
        except OSError:
            same = False
        if not same:
            lock.release()
            raise Unready(f"the lock that was handed over is not that of the data folder {folder}")
        lock._sign()
        return lock

    @property
    def fd(self) -> int:
        """Of the open file, for the process that takes it over."""
        return self._fd

    def _sign(self) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, f"{os.getpid()}\n".encode())
        except OSError as error:  # a full disk: the lock counts, the number is a courtesy
            _ = error

    def release(self) -> None:
        """Give the folder free; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
