"""The spool: uploads on their way, one growing file each. Its size is the upload's offset.

Law: an offset that was told is on disk (fsync before every answer). Nothing here holds more than
one piece in memory. After a crash of the process everything written is still there; after a loss
of power at least everything up to the last told offset.
"""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from whimbrel.domain.errors import TooBig

T = TypeVar("T")

PIECE_BYTES = 262_144
THREADS = 4


class Spool:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._threads = ThreadPoolExecutor(THREADS, "media-spool")

    def path(self, token: bytes) -> Path:
        return self.folder / token.hex()

    def offset(self, token: bytes) -> int:
        try:
            return self.path(token).stat().st_size
        except FileNotFoundError:
            return 0

    def idle_s(self, token: bytes) -> float:
        """Since the last byte came; infinite if none has come."""
        try:
            return time.time() - self.path(token).stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    async def sync(self, token: bytes) -> int:
        """The offset, after an fsync of all that leads to it."""
        return await self.run(lambda: _synced(self.path(token)))

    async def append(self, token: bytes, most: int, pieces: AsyncIterator[bytes]) -> int:
        """Write pieces at the end, at most `most` bytes; the new offset, on disk.

        Raises TooBig at the first byte too many, and whatever `pieces` raises; in both cases
        what came before is kept.
        """
        fd = await self.run(lambda: _opened(self.path(token)))
        try:
            await self._pump(fd, most, pieces)
        finally:
            await self._certainly(lambda: os.close(fd))
        return await self.sync(token)

    async def _pump(self, fd: int, most: int, pieces: AsyncIterator[bytes]) -> None:
        buffer = bytearray()
        taken = 0
        try:
            async for piece in pieces:
                taken += len(piece)
                if taken > most:
                    raise TooBig
                buffer += piece
                if len(buffer) >= PIECE_BYTES:
                    full, buffer = buffer, bytearray()
                    await self._certainly(partial(_write, fd, full))
        finally:
            if buffer:
                await self._certainly(partial(_write, fd, buffer))

    async def _certainly(self, work: Callable[[], None]) -> None:
        """A cancelled caller waits too: the next one must not find this still at work."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    async def sha256(self, file: Path) -> str:
        return await self.run(lambda: _sha256(file))

    async def truncate(self, token: bytes) -> None:
        """Begin again at 0."""
        await self.run(lambda: os.truncate(self.path(token), 0))

    async def remove(self, token: bytes) -> None:
        def work() -> None:
            for suffix in ("", ".clean", ".ready"):
                self.path(token).with_suffix(suffix).unlink(missing_ok=True)

        await self.run(work)

    async def second_name(self, token: bytes) -> Path:
        """The same bytes under a name that may be taken away; the upload stays."""
        return await self.run(lambda: _linked(self.path(token)))

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def free_bytes(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def close(self) -> None:
        self._threads.shutdown()


def _opened(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _write(fd: int, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _synced(file: Path) -> int:
    with suppress(FileNotFoundError):
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
            return os.fstat(fd).st_size
        finally:
            os.close(fd)
    return 0


def _linked(file: Path) -> Path:
    other = file.with_suffix(".ready")
    other.unlink(missing_ok=True)
    try:
        other.hardlink_to(file)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, other)
        _synced(other)
    return other


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
