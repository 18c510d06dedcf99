"""Moving an installation from SQLite to PostgreSQL: copied in slices, resumed, verified.

The server does not run: this holds the lock of its folder. Where a slice ends is written in the
transaction that brings it (`moving` in the target), so that whatever interrupts it, the next run
goes on behind the last slice. At the end every row is read back from both sides and compared.
The era stays: for clients nothing has happened. Used by cli/migrate.py.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.errors import Unready
from whimbrel.domain.rows import (
    AccountRow,
    ArchiveRow,
    CounterRow,
    DeadLetterRow,
    DeviceRow,
    DocumentRow,
    InboxRow,
    PairRow,
    RosterRow,
    Row,
    SentRow,
    SignupRow,
)
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE
from whimbrel.storage.postgres.connections import connect, where, words
from whimbrel.storage.postgres.schema import migrate
from whimbrel.storage.postgres.statements import fields_of
from whimbrel.storage.schema import STEPS, schema_of

SLICE = 5_000
SECRETS = ("scram.secret", "pin.secret", "admin.token", "house.json")
_HASH_BITS = 64
LOCK = 0x57484D4D  # "WHMM": held in the target by the one that moves

Progress = Callable[[str, int, int], None]  # what is done now, rows done, rows in all


class Table(msgspec.Struct, frozen=True):
    """One table: its rows, and the columns by which it is walked."""

    name: str
    row: type[Row]
    key: tuple[str, ...]
    __repr__ = discreet

    @property
    def fields(self) -> dict[str, str]:
        return fields_of(self.row)


TABLES: tuple[Table, ...] = (
    Table("account", AccountRow, ("id",)),
    Table("device", DeviceRow, ("account", "device")),
    Table("pair", PairRow, ("owner", "peer")),
    Table("sent", SentRow, ("rowid",)),
    Table("inbox", InboxRow, ("rowid",)),
    Table("roster", RosterRow, ("owner", "peer")),
    Table("document", DocumentRow, ("rowid",)),
    Table("archive", ArchiveRow, ("rowid",)),
    Table("signup", SignupRow, ("number",)),
    Table("counter", CounterRow, ("key",)),
    Table("dead_letter", DeadLetterRow, ("rowid",)),
)

_PROGRESS = """CREATE TABLE IF NOT EXISTS moving(
  name text PRIMARY KEY, source text NOT NULL, position text NOT NULL, rows bigint NOT NULL
)"""


class Moved(msgspec.Struct):
    """rows by table; resumed: how many of them an earlier run had brought."""

    rows: dict[str, int]
    resumed: int
    era: int


class Source:
    """The SQLite side, locked and open for reading. Raises Unready."""

    def __init__(self, folder: Path) -> None:
        if not (folder / FILE).exists():
            raise Unready(f"there is no database in {folder}")
        self._lock = FolderLock(folder)
        self.folder = folder
        try:
            self.db = apsw.Connection(str(folder / FILE), flags=apsw.SQLITE_OPEN_READONLY)
            version = schema_of(self.db, str(folder / FILE))
        except apsw.Error as error:
            self._lock.release()
            raise Unready(f"the database in {folder} cannot be read: {error}") from error
        if version != len(STEPS):
            self.close()
            raise Unready(
                f"the database in {folder} has schema {version}, not {len(STEPS)}: start and stop "
                "this version of the server on it once, then move it"
            )
        self.era = int(self._one("SELECT era FROM meta"))

    def _one(self, statement: str) -> Any:
        return self.db.execute(statement).fetchall()[0][0]

    def count(self, table: Table) -> int:
        return int(self._one(f"SELECT count(*) FROM {table.name}"))

    def slices(
        self, table: Table, after: Sequence[object] | None
    ) -> Iterator[tuple[list[tuple[Any, ...]], list[Any]]]:
        """Rows behind a position, in the order of the key, each slice with its last key."""
        columns, key = ", ".join(table.fields), ", ".join(table.key)
        marks = ", ".join("?" for _ in table.key)
        order = f"ORDER BY {key} LIMIT {SLICE}"
        whole = f"SELECT {key}, {columns} FROM {table.name} {order}"
        rest = f"SELECT {key}, {columns} FROM {table.name} WHERE ({key}) > ({marks}) {order}"
        booleans = [n for n, kind in enumerate(table.fields.values()) if kind == "boolean"]
        size = len(table.key)
        while True:
            found: list[Any] = self.db.execute(
                *((whole,) if after is None else (rest, tuple(after)))
            ).fetchall()
            if not found:
                return
            yield [_with_booleans(row[size:], booleans) for row in found], list(found[-1][:size])
            after = found[-1][:size]

    def close(self) -> None:
        self.db.close(True)
        self._lock.release()


def _with_booleans(row: tuple[Any, ...], places: list[int]) -> tuple[Any, ...]:
    if not places:
        return row
    fields = list(row)
    for place in places:
        fields[place] = bool(fields[place])
    return tuple(fields)


async def move(folder: Path, url: str, progress: Progress) -> Moved:
    """Copy everything, or what is still missing, then compare. Raises Unready by name."""
    source = Source(folder)
    try:
        db = await connect(url)
        try:
            return await _move(source, db, url, progress)
        except asyncpg.PostgresError as error:
            raise Unready(f"{where(url)}: {words(error)}") from error
        finally:
            db.terminate()
    finally:
        source.close()


async def _move(source: Source, db: Any, url: str, progress: Progress) -> Moved:
    # The connection of a run that was killed may still be committing its last slice: wait for it.
    await db.execute("SELECT pg_advisory_lock($1)", LOCK)
    await migrate(db, url)
    name = str(source.folder.resolve())
    await _refuse_strangers(db, url, name)
    await db.execute(_PROGRESS)
    total = sum(map(source.count, TABLES))
    resumed = int(await db.fetchval("SELECT coalesce(sum(rows), 0) FROM moving"))
    done = resumed
    for table in TABLES:
        saved = await db.fetchrow("SELECT position FROM moving WHERE name = $1", table.name)
        after = json.loads(saved[0]) if saved is not None else None
        for rows, position in source.slices(table, after):
            await _bring(db, table, rows, name, position)
            done += len(rows)
            progress(f"copying {table.name}", done, total)
    await _bring_secrets(source, db)
    counts = await _compare(source, db, total, progress)
    async with db.transaction():
        await db.execute("UPDATE meta SET era = $1", source.era)
        await db.execute("DROP TABLE moving")
    await db.execute("ANALYZE")
    return Moved(counts, resumed, source.era)


async def _refuse_strangers(db: Any, url: str, source: str) -> None:
    """The target is empty, or holds what an earlier run brought from the same folder."""
    begun = await db.fetchval("SELECT to_regclass('moving') IS NOT NULL")
    if begun:
        others = await db.fetchval("SELECT source FROM moving WHERE source <> $1 LIMIT 1", source)
        if others is not None:
            raise Unready(f"{where(url)} holds half of another installation ({others})")
    elif await db.fetchval("SELECT EXISTS (SELECT FROM account)"):
        raise Unready(f"{where(url)} holds accounts already: move into an empty database")
    if await db.fetchval("SELECT EXISTS (SELECT FROM node WHERE expires > clock_timestamp())"):
        raise Unready(f"{where(url)} is used by a server that runs: stop it")


async def _bring(
    db: Any, table: Table, rows: list[tuple[Any, ...]], source: str, position: list[Any]
) -> None:
    """A slice and where it ends: both or neither."""
    async with db.transaction():
        await db.copy_records_to_table(table.name, records=rows, columns=list(table.fields))
        await db.execute(
            """INSERT INTO moving VALUES ($1, $2, $3, $4) ON CONFLICT (name)
 DO UPDATE SET position = excluded.position, rows = moving.rows + excluded.rows""",
            table.name,
            source,
            json.dumps(position),
            len(rows),
        )


async def _bring_secrets(source: Source, db: Any) -> None:
    """What all nodes share from now on: PINs under way and tokens go on to be worth something."""
    for name in SECRETS:
        file = source.folder / name
        if file.exists():
            await db.execute(
                """INSERT INTO secret VALUES ($1, $2)
 ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
                name,
                file.read_text().strip(),
            )


async def _compare(source: Source, db: Any, total: int, progress: Progress) -> dict[str, int]:
    """Read every row back. Raises Unready with the table that differs."""
    counts: dict[str, int] = {}
    done = 0
    for table in TABLES:
        ours = theirs = count = found = 0
        for rows, _ in source.slices(table, None):
            ours = (ours + sum(map(hash, rows))) % (1 << _HASH_BITS)
            count += len(rows)
        async for records in _records(db, table):
            theirs = (theirs + sum(map(hash, records))) % (1 << _HASH_BITS)
            found += len(records)
            done += len(records)
            progress(f"comparing {table.name}", done, total)
        if (ours, count) != (theirs, found):
            raise Unready(
                f"the copy differs in table {table.name} ({count:,} rows here, {found:,} there): "
                "drop the target database and begin again"
            )
        counts[table.name] = count
    return counts


async def _records(db: Any, table: Table) -> AsyncIterator[list[tuple[Any, ...]]]:
    async with db.transaction(readonly=True):
        cursor = await db.cursor(f"SELECT {', '.join(table.fields)} FROM {table.name}")
        while records := await cursor.fetch(SLICE):
            yield [tuple(record) for record in records]
