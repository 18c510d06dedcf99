"""The audit log of administration: who did what, to whom, when, with what result, and from where.

`acts.log` in the data folder: one JSON line an act, only ever appended to, on disk before the
administrator hears of his act. At ACTS_BYTES_MAX it is put aside as acts.log.1, and so on; the
oldest goes. `whimbrel acts` reads it, also while a server runs. Law: no secret stands in it: names
of tokens, never tokens; addresses of accounts, never keys.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import structlog

from whimbrel.domain.errors import Unready
from whimbrel.edge.http.shapes import ActLine, ActPage

log = structlog.get_logger("whimbrel.acts")

FILE = "acts.log"
ACTS_BYTES_MAX = 1_048_576  # of one file
FILES_KEPT = 9  # beside the one that is written
FIELD_CHARS_MAX = 200


def kept(text: str) -> str:
    """As much as is written down, without halves of characters."""
    return text[:FIELD_CHARS_MAX].encode(errors="replace").decode()


class ActLog:
    """May be used from any thread, and by several processes: each line is one write."""

    def __init__(
        self, folder: Path, now_us: Callable[[], int], bytes_max: int = ACTS_BYTES_MAX
    ) -> None:
        self._path = folder / FILE
        self.now_us = now_us
        self._bytes_max = bytes_max
        self._last = 0
        self._lock = threading.Lock()

    async def record(self, who: str, what: str, on: str, result: str, source: str) -> None:
        """In a thread, because a disk may be slow. What cannot be written is said in the log."""
        try:
            await asyncio.to_thread(self.write, who, what, on, result, source)
        except OSError as error:
            log.error("an administrative act was not written down", reason=error.strerror)

    def write(self, who: str, what: str, on: str, result: str, source: str) -> None:
        with self._lock:
            now_us = self.now_us()
            self._last = max(self._last + 1, now_us)
            texts = [kept(text) for text in (who, what, on, result, source)]
            line = msgspec.json.encode(ActLine(self._last, now_us, *texts)) + b"\n"
            self._make_room(len(line))
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a power cut has torn the one before
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)

    def _make_room(self, size: int) -> None:
        try:
            if self._path.stat().st_size + size <= self._bytes_max:
                return
        except FileNotFoundError:
            return
        for number in range(FILES_KEPT, 0, -1):
            older = self._aside(number)
            newer = self._aside(number - 1) if number > 1 else self._path
            if newer.exists():
                os.replace(newer, older)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{FILE}.{number}")

    async def page(self, before: int, limit: int) -> ActPage:
        """Raises Unready."""
        try:
            return await asyncio.to_thread(self.read, before, limit)
        except OSError as error:
            raise Unready(f"{self._path} cannot be read: {error.strerror}") from None

    def read(self, before: int, limit: int) -> ActPage:
        """The newest first; before 0: from the end."""
        found: list[ActLine] = []
        for act in self._backwards():
            if before and act.id >= before:
                continue
            if len(found) == limit:
                return ActPage(found, found[-1].id)
            found.append(act)
        return ActPage(found, 0)

    def _backwards(self) -> Iterator[ActLine]:
        for number in range(FILES_KEPT + 1):
            path = self._aside(number) if number else self._path
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    yield msgspec.json.decode(line, type=ActLine)
                except msgspec.DecodeError:
                    continue  # the end of a line that a power cut has torn
