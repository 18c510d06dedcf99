"""PINs as JSON lines at the end of a file: for tests and trials, never for the public.

The file is made readable for its owner only.
"""

import asyncio
import os
from pathlib import Path

import msgspec

from whimbrel.domain.errors import SmsFailed


class FileSender:
    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, number: str, pin: str) -> None:
        line = msgspec.json.encode({"number": number, "pin": pin}) + b"\n"
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise SmsFailed(f"cannot write {self._path}: {error.strerror}") from None

    def _append(self, line: bytes) -> None:
        """One write to a file opened for appending: lines of several senders never mix."""
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    async def close(self) -> None: ...
