"""Opening a database: who may, whether it is ours, whether it is sound, then the epoch.

Used by sqlite.py at start and for recovery. Law: a file that is damaged, newer or not ours
is refused with a clear Unready and is not written to.
"""

import os
from pathlib import Path
from typing import Any

import apsw
import msgspec

from whimbrel.domain.errors import Unready
from whimbrel.storage.reasons import reason
from whimbrel.storage.schema import STEPS, migrate, refuse_newer, schema_of
from whimbrel.storage.scrub import checkpoint

FILE = "whimbrel.db"
CHECK_BYTES_MAX = 64 * 1024 * 1024  # larger databases are checked while they serve
PROBE_BYTES = 1024 * 1024  # what recovery writes, to see whether there is room again
_CACHE_KIB = 65_536


class Opened(msgspec.Struct):
    """Two connections: one that writes, one that reads what is committed."""

    writer: apsw.Connection
    reader: apsw.Connection
    era: int
    epoch: int
    unchecked: bool  # ended uncleanly and too large to be checked at once


def open_database(path: Path, *, vfs: str = "", probe: bool = False) -> Opened:
    """Open, check, migrate, checkpoint, raise the epoch. Raises Unready.

    `probe`: write and remove a large row first, so that "disk full" is found out.
    """
    opened: list[apsw.Connection] = []
    try:
        return _open(path, vfs, probe, opened)
    except (apsw.Error, OSError) as error:
        _close(opened)
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            raise Unready(_damaged(path, str(error))) from error
        text = reason(error) if isinstance(error, apsw.Error) else str(error)
        raise Unready(f"the database {path} cannot be used: {text}") from error
    except BaseException:
        _close(opened)
        raise


def schema_step(path: Path) -> tuple[int, int]:
    """(schema of this database, schema that opening it would make of it); looks only.

    May run beside the process that uses it. Raises Unready if it is newer, or not ours.
    """
    if not path.exists():
        return len(STEPS), len(STEPS)
    try:
        db = _connect(path, apsw.SQLITE_OPEN_READONLY, "")
        try:
            version = schema_of(db, str(path))
        finally:
            db.close(True)
    except apsw.Error as error:
        raise Unready(f"the database {path} cannot be used: {reason(error)}") from error
    refuse_newer(version, str(path))
    return version, len(STEPS)


def _close(connections: list[apsw.Connection]) -> None:
    for db in connections:
        db.close(True)


def _damaged(path: Path, text: str) -> str:
    return f"the database {path} is damaged ({text}): nothing was changed; restore a backup"


def _open(path: Path, vfs: str, probe: bool, opened: list[apsw.Connection]) -> Opened:
    if not path.exists():  # SQLite would leave it to the umask; its log takes over these rights
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    db = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs)
    opened.append(db)
    version = schema_of(db, str(path))
    refuse_newer(version, str(path))
    unclean = version > 0 and not db.execute("SELECT clean FROM meta").fetchall()[0][0]
    small = path.stat().st_size < CHECK_BYTES_MAX
    if unclean and small and (text := check(db)):
        raise Unready(_damaged(path, text))
    _prepare(db)
    migrate(db, version)
    checkpoint(db, truncate=True, vfs=vfs)
    if probe:
        _probe(db, vfs)
    db.execute("BEGIN IMMEDIATE; UPDATE meta SET epoch = epoch + 1, clean = 0; COMMIT")
    numbers: Any = db.execute("SELECT era, epoch FROM meta").fetchall()[0]
    reader = _connect(path, apsw.SQLITE_OPEN_READONLY, vfs)
    opened.append(reader)
    reader.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return Opened(db, reader, numbers[0], numbers[1], unclean and not small)


def _connect(path: Path, flags: int, vfs: str) -> apsw.Connection:
    # No mutexes inside SQLite: a connection is used by one thread at a time (sqlite.py hands
    # it to the writer for a COMMIT and waits for it to come back).
    db = apsw.Connection(str(path), flags=flags | apsw.SQLITE_OPEN_NOMUTEX, vfs=vfs or None)
    # Closing must not write: a refused file stays as it is; we checkpoint by ourselves.
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    # Without this, SQLite plans statements with ranges anew for every row that is bound.
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    db.set_busy_timeout(1_000)
    return db


def _prepare(db: apsw.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA cache_spill = OFF")  # a body that never commits never meets the disk
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _probe(db: apsw.Connection, vfs: str) -> None:
    """Raises what the disk says. Both the log and the database file have to grow."""
    db.execute("INSERT OR REPLACE INTO probe VALUES(1, zeroblob(?))", (PROBE_BYTES,))
    checkpoint(db, truncate=True, vfs=vfs)
    db.execute("DELETE FROM probe")
    checkpoint(db, truncate=True, vfs=vfs)


def check(db: apsw.Connection) -> str:
    """What `PRAGMA quick_check` finds wrong, or ""."""
    text = str(db.execute("PRAGMA quick_check(1)").fetchall()[0][0])
    return "" if text == "ok" else " ".join(text.split())


def check_file(path: Path, vfs: str = "") -> apsw.Connection:
    """A connection of its own for a check beside normal work."""
    return _connect(path, apsw.SQLITE_OPEN_READONLY, vfs)
