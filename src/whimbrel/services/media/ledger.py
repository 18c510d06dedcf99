"""The ledger of uploads in a small SQLite file of its own, beside the messages' database.

One thread of its own runs all statements in order; each change is one transaction with an
fsync. Law: what was answered is on disk; a row is never removed before its blob is.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from whimbrel.domain.errors import Unready
from whimbrel.domain.media import GONE, OPEN, READY, Facts, Upload, Used

T = TypeVar("T")

DAY_US = 86_400 * 1_000_000
SCHEMA = 1
BUSY_MS = 5_000  # another process that shares the file writes
_TABLES = """
CREATE TABLE upload(
  token_hash BLOB PRIMARY KEY, link BLOB NOT NULL UNIQUE, owner INTEGER NOT NULL,
  state INTEGER NOT NULL, size INTEGER NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL,
  sha256 TEXT NOT NULL, recipients INTEGER NOT NULL, made_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL, gone_us INTEGER NOT NULL DEFAULT 0, facts BLOB
) WITHOUT ROWID;
CREATE INDEX upload_owner ON upload(owner, made_us);
CREATE INDEX upload_expires ON upload(expires_us) WHERE state < 2;
CREATE INDEX upload_open ON upload(size) WHERE state = 0;
CREATE INDEX upload_gone ON upload(gone_us) WHERE state = 2;
CREATE TABLE confirmed(
  link BLOB NOT NULL, account INTEGER NOT NULL, PRIMARY KEY(link, account)
) WITHOUT ROWID;
"""
_COLUMNS = (
    "token_hash, link, owner, state, size, type, name, sha256, recipients, made_us, expires_us,"
    " facts"
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Facts).decode


class SqliteLedger:
    """domain.media.Ledger. Raises Unready at construction if the file cannot be used."""

    def __init__(self, file: Path) -> None:
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "media-ledger")
        try:
            self._db = self._thread.submit(_opened, file).result()
        except apsw.Error as error:
            self._thread.shutdown()
            raise Unready(f"the ledger of media {file} cannot be used: {error}") from error

    async def add(self, row: Upload) -> None:
        marks = ", ".join("?" * 12)
        values = [getattr(row, name.strip()) for name in _COLUMNS.split(",")[:-1]]
        await self._run(f"INSERT INTO upload({_COLUMNS}) VALUES({marks})", (*values, None))

    async def by_token(self, token_hash: bytes) -> Upload | None:
        return await self._one("token_hash = ?", token_hash)

    async def by_link(self, link: bytes) -> Upload | None:
        return await self._one("link = ?", link)

    async def used(self, owner: int, now_us: int) -> Used:
        rows = await self._run(
            "SELECT total(size) FILTER (WHERE state < 2),"
            " total(size) FILTER (WHERE made_us > ?2), count(*) FILTER (WHERE made_us > ?2),"
            f" count(*) FILTER (WHERE state = {OPEN})"
            " FROM upload WHERE owner = ?1",
            (owner, now_us - DAY_US),
        )
        return Used(*(int(value) for value in rows[0]))

    async def promised_bytes(self) -> int:
        rows = await self._run(f"SELECT total(size) FROM upload WHERE state = {OPEN}")
        return int(rows[0][0])

    async def finish(self, token_hash: bytes, facts: Facts, expires_us: int) -> None:
        await self._run(
            f"UPDATE upload SET state = {READY}, size = ?, facts = ?, expires_us = ?"
            f" WHERE token_hash = ? AND state = {OPEN}",
            (facts.size, _encode(facts), expires_us, token_hash),
        )

    async def gone(self, tokens: Sequence[bytes], now_us: int, size: int = -1) -> None:
        def work() -> None:
            with self._db:
                for token_hash in tokens:
                    # What a removed file showed (name, thumbnail) goes at once.
                    self._db.execute(
                        f"UPDATE upload SET state = {GONE}, gone_us = ?, facts = NULL, name = '',"
                        " size = iif(? < 0, size, ?) WHERE token_hash = ?",
                        (now_us, size, size, token_hash),
                    )
                    self._db.execute(
                        "DELETE FROM confirmed WHERE link ="
                        " (SELECT link FROM upload WHERE token_hash = ?)",
                        (token_hash,),
                    )

        await self._in_thread(work)

    async def confirm(self, link: bytes, account: int) -> int:
        def work() -> int:
            with self._db:
                self._db.execute("INSERT OR IGNORE INTO confirmed VALUES(?, ?)", (link, account))
                count = self._db.execute(
                    "SELECT count(*) FROM confirmed WHERE link = ?1 AND account <>"
                    " (SELECT owner FROM upload WHERE link = ?1)",
                    (link,),
                ).get
            assert isinstance(count, int)
            return count

        return await self._in_thread(work)

    async def expire(self, link: bytes, expires_us: int) -> None:
        await self._run(
            "UPDATE upload SET expires_us = min(expires_us, ?) WHERE link = ?", (expires_us, link)
        )

    async def open_of(self, owner: int, limit: int) -> list[Upload]:
        return await self._many(
            f"owner = ? AND state = {OPEN} ORDER BY made_us LIMIT ?", owner, limit
        )

    async def expired(self, now_us: int, limit: int) -> list[Upload]:
        return await self._many(
            "state < 2 AND expires_us <= ? ORDER BY expires_us LIMIT ?", now_us, limit
        )

    async def known(self, links: Sequence[bytes]) -> set[bytes]:
        marks = ", ".join("?" * len(links))
        rows = await self._run(
            f"SELECT link FROM upload WHERE state < {GONE} AND link IN ({marks})", tuple(links)
        )
        return {row[0] for row in rows}

    async def forget(self, before_us: int, limit: int) -> int:
        rows = await self._run(
            "DELETE FROM upload WHERE token_hash IN (SELECT token_hash FROM upload"
            f" WHERE state = {GONE} AND gone_us < ? LIMIT ?) RETURNING 1",
            (before_us, limit),
        )
        return len(rows)

    async def adopt(self, token_hash: bytes, old: str, new: str) -> None:
        """One node alone has them all."""

    async def close(self) -> None:
        """Also twice."""
        if self._closed:
            return
        self._closed = True
        await self._in_thread(self._db.close)
        self._thread.shutdown()

    # ---- inside --------------------------------------------------------------------------

    async def _one(self, where: str, *values: object) -> Upload | None:
        rows = await self._many(where, *values)
        return rows[0] if rows else None

    async def _many(self, where: str, *values: object) -> list[Upload]:
        rows = await self._run(f"SELECT {_COLUMNS} FROM upload WHERE {where}", values)
        return [_row(row) for row in rows]

    async def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return await self._in_thread(lambda: self._db.execute(sql, tuple(values)).fetchall())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work)
        except apsw.Error as error:
            raise Unready(f"the ledger of media: {type(error).__name__}") from error


def _row(row: Any) -> Upload:
    *told, facts = row
    return msgspec.structs.replace(Upload(*told), facts=_decode(facts) if facts else None)


def _opened(file: Path) -> apsw.Connection:
    """Several nodes of one machine may share the file, and begin at once."""
    db = apsw.Connection(str(file))
    db.set_busy_timeout(BUSY_MS)
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON")
    version = db.pragma("user_version")
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        version = db.pragma("user_version")  # made by another process meanwhile?
        if version == 0:
            db.execute(_TABLES)
            db.pragma("user_version", SCHEMA)
            version = SCHEMA
        db.execute("COMMIT")
    if version != SCHEMA:
        db.close()
        raise Unready(f"the ledger of media {file} is of a newer version ({version})")
    file.chmod(0o600)
    return db
