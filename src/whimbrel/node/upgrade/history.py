"""What was upgraded, by whom, when, and how it ended: one JSON line each, in the data folder.

Beside it: which accepted versions are in use, so that a restart loads them again, and how often
a start with them ended early.
"""

import os
from collections import deque
from pathlib import Path

import msgspec

from whimbrel.edge.http.shapes import Upgrade
from whimbrel.node.secret_files import write_private

KEPT = 500  # lines


class InUse(msgspec.Struct):
    """stack: numbers of accepted versions, the newest last; installed: the digest of the package
    they were accepted over; starts: that ended early, in a row.
    """

    last: int = 0
    stack: list[int] = []
    installed: str = ""
    starts: int = 0


class History:
    """Law: a line is on disk before anybody is told the end it tells of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = folder / "history.jsonl"
        self._state = folder / "in-use.json"
        self.entries: deque[Upgrade] = deque(self._read(), KEPT)
        self.in_use = self._read_state()

    def archive(self, number: int) -> Path:
        return self.folder / f"{number:05}.zip"

    def _read(self) -> list[Upgrade]:
        """A line that was cut off by a crash is left out."""
        found = []
        try:
            lines = self._lines.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        for line in lines[-KEPT:]:
            try:
                found.append(msgspec.json.decode(line, type=Upgrade))
            except msgspec.DecodeError:
                continue
        return found

    def _read_state(self) -> InUse:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=InUse)
        except (FileNotFoundError, msgspec.DecodeError):
            return InUse(last=max((entry.number for entry in self.entries), default=0))

    def add(self, entry: Upgrade) -> None:
        self._make_folder()
        self.entries.append(entry)
        line = msgspec.json.encode(entry) + b"\n"
        with open(os.open(self._lines, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            out.write(line)
            out.flush()
            os.fsync(out.fileno())
        if self._lines.stat().st_size > 8 * KEPT * 1_024:
            whole = b"".join(msgspec.json.encode(each) + b"\n" for each in self.entries)
            write_private(self._lines, whole.decode())

    def save(self) -> None:
        self._make_folder()
        write_private(self._state, msgspec.json.encode(self.in_use).decode())

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def prune(self, kept_max: int) -> None:
        """Only what is in use, and the newest of that, keeps its archive."""
        self.in_use.stack = self.in_use.stack[-kept_max:]
        kept = {self.archive(number).name for number in self.in_use.stack}
        for path in self.folder.glob("[0-9]*.zip"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
