"""Finished files behind one port, by obstore: a folder of this machine, or an S3-speaking store.

Law: put() returns when the file is durable; a reader never sees half of one. What a store says
of its troubles (addresses, keys) does not leave this file.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from whimbrel.domain.errors import TooBig, Unready
from whimbrel.domain.media import MediaSettings

log = structlog.get_logger("whimbrel.media")

READ_BYTES = 262_144
PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes as a part
PARTS_AT_ONCE = 2
FINISHED, DIRECT = "blobs", "direct"


def make_blobs(settings: MediaSettings, folder: Path) -> "ObjectBlobs":
    """The store that the configuration names. Raises Unready if it cannot be."""
    try:
        if settings.store == "folder":
            return FolderBlobs(folder)
        return ObjectBlobs(S3Store(**settings.options), settings.direct)
    except (BaseError, TypeError, ValueError, OSError) as error:
        # The error's text may quote the options, which hold a secret.
        raise Unready(f"media.options: the store cannot be used: {type(error).__name__}") from None


class ObjectBlobs:
    """domain.media.Blobs over any store of obstore."""

    def __init__(self, store: Any, direct: bool = False) -> None:
        self._store = store
        self._direct = direct

    async def put(self, name: str, file: Path) -> None:
        with _named():
            await obstore.put_async(
                self._store,
                _path(name),
                file,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        await asyncio.to_thread(file.unlink)

    async def size(self, name: str) -> int:
        with _named():
            return (await obstore.head_async(self._store, _path(name)))["size"]

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        with _named():
            options: Any = {"range": (start, end)}
            found = await obstore.get_async(self._store, _path(name), options=options)
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            await self._delete(_path(name))

    async def names(self, slice: int) -> AsyncIterator[list[tuple[str, int]]]:
        with _named():
            async for some in obstore.list(self._store, FINISHED, chunk_size=slice):
                yield [_line(meta) for meta in some]

    async def direct(self, name: str, seconds: int) -> str:
        if not self._direct:
            return ""
        with _named():
            return await obstore.sign_async(
                self._store, "PUT", f"{DIRECT}/{name}", timedelta(seconds=seconds)
            )

    async def fetch(self, name: str, file: Path, bytes_max: int) -> int:
        with _named():
            found = await obstore.get_async(self._store, f"{DIRECT}/{name}")
            if found.meta["size"] > bytes_max:
                raise TooBig
            with await asyncio.to_thread(_private, file) as into:
                async for piece in found.stream(min_chunk_size=READ_BYTES):
                    await asyncio.to_thread(into.write, piece)
                return into.tell()

    async def drop_direct(self, name: str) -> None:
        if self._direct:
            await self._delete(f"{DIRECT}/{name}")

    async def _delete(self, path: str) -> None:
        try:
            with _named():
                await obstore.delete_async(self._store, path)
        except FileNotFoundError:
            return


class FolderBlobs(ObjectBlobs):
    """A folder: a finished file is moved into its place, not copied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / FINISHED).mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(LocalStore(folder))

    async def put(self, name: str, file: Path) -> None:
        """`file` lies in the same folder and has been synced by the spool."""
        with _named():
            await obstore.rename_async(
                self._store, str(file.relative_to(self._folder)), _path(name)
            )
        await asyncio.to_thread(_sync_folder, self._folder / FINISHED)


def _sync_folder(folder: Path) -> None:
    """A file's name is durable when its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _private(file: Path) -> BinaryIO:
    return open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _path(name: str) -> str:
    return f"{FINISHED}/{name}"


def _line(meta: Any) -> tuple[str, int]:
    return meta["path"].rpartition("/")[2], int(meta["last_modified"].timestamp())


@contextmanager
def _named() -> Iterator[None]:
    """A store's own errors become Unready; "not found" stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError("no such blob") from None
    except (BaseError, OSError) as error:
        log.warning("the store of media failed", error=type(error).__name__)
        raise Unready("the store of media failed") from None
