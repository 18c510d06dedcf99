"""The client's file: one SQLite database per account, kept by one thread of its own.

A ClientStore (store.py). Laws: a commit is on disk (fsync) when done() is called; the file
is readable by its owner only, for it holds the conversations.
"""

import asyncio
import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from whimbrel.client.errors import AlreadyOpen
from whimbrel.client.store import (
    KEPT_MAX,
    AddIncoming,
    AddSent,
    Change,
    Conversation,
    FailSent,
    Line,
    Saved,
    SavedSent,
    SetEra,
    SetHandled,
    SetLast,
    SetMarks,
    SetRead,
    SetSent,
)
from whimbrel.client.words import Incoming

T = TypeVar("T")
VERSION = 1
UNHANDLED_MAX = 1_000  # a server sends at most 256 unconfirmed items

_SCHEMA = """
CREATE TABLE number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE line (
  key INTEGER PRIMARY KEY, peer TEXT NOT NULL, mine INTEGER NOT NULL, own INTEGER NOT NULL,
  device INTEGER NOT NULL, c INTEGER NOT NULL, id INTEGER NOT NULL, at_us INTEGER NOT NULL,
  prev INTEGER NOT NULL, q INTEGER NOT NULL, era INTEGER NOT NULL, state INTEGER NOT NULL,
  code TEXT NOT NULL, queued_us INTEGER NOT NULL, stored_us INTEGER NOT NULL,
  delivered_us INTEGER NOT NULL, read_us INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX line_peer ON line (peer, key);
CREATE INDEX line_own ON line (c) WHERE own = 1;
CREATE INDEX line_unread ON line (peer, id) WHERE mine = 0;
CREATE INDEX line_stored ON line (peer, id) WHERE mine = 1 AND state = 1;
CREATE INDEX line_delivered ON line (peer, id) WHERE mine = 1 AND state = 2;
CREATE TABLE shown (sender TEXT, device INTEGER, c INTEGER, PRIMARY KEY (sender, device))
  WITHOUT ROWID;
CREATE TABLE pair (peer TEXT PRIMARY KEY, delivered INTEGER NOT NULL DEFAULT 0,
  read INTEGER NOT NULL DEFAULT 0, my_read INTEGER NOT NULL DEFAULT 0,
  my_read_known INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
"""


class SqliteClientStore:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="whimbrel-client-store")
        self._db: sqlite3.Connection | None = None
        self._lock = -1  # of the file descriptor that keeps other processes out

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    @property
    def _open_db(self) -> sqlite3.Connection:
        assert self._db is not None, "the store is not open"
        return self._db

    async def open(self, device: int) -> Saved:
        return await self._run(self._open, device)

    def _open(self, device: int) -> Saved:
        if self._db is None:
            self._lock = _lock(self._path)
            self._db = _connect(self._path)
        _use_device(self._db, device)
        return _load(self._db)

    def commit(self, changes: Sequence[Change], done: Callable[[Exception | None], None]) -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._commit, changes)
        future.add_done_callback(lambda done_future: done(done_future.exception()))  # type: ignore[arg-type]

    def _commit(self, changes: Sequence[Change]) -> None:
        db = self._open_db
        db.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                _APPLY[type(change)](db, change)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    async def conversations(self) -> list[Conversation]:
        return await self._run(self._conversations)

    def _conversations(self) -> list[Conversation]:
        db = self._open_db
        found = []
        keys = db.execute("SELECT max(key) FROM line GROUP BY peer ORDER BY 1 DESC").fetchall()
        for (key,) in keys:
            line = _line(db.execute(f"SELECT {_LINE} FROM line WHERE key = ?", (key,)).fetchone())
            unread = db.execute(
                "SELECT count(*) FROM line WHERE peer = ? AND mine = 0 AND id > "
                "coalesce((SELECT my_read FROM pair WHERE pair.peer = line.peer), 0)",
                (line.peer,),
            ).fetchone()[0]
            found.append(Conversation(line.peer, unread, line))
        return found

    async def history(self, peer: str, *, before: int = 0, limit: int = 200) -> list[Line]:
        return await self._run(self._history, peer, before, limit)

    def _history(self, peer: str, before: int, limit: int) -> list[Line]:
        rows = self._open_db.execute(
            f"SELECT {_LINE} FROM line WHERE peer = ? AND key < ? ORDER BY key DESC LIMIT ?",
            (peer, before or 1 << 62, limit),
        ).fetchall()
        return [_line(row) for row in reversed(rows)]

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
            os.close(self._lock)


_LINE = "key, peer, mine, id, at_us, body, state, code, c, device"


def _line(row: tuple[Any, ...]) -> Line:
    return Line(row[0], row[1], bool(row[2]), *row[3:])


def _lock(path: Path) -> int:
    """One process per account: two would give the same numbers to different messages."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep_others_out(path.parent)
    lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise AlreadyOpen(
            "this account is open in another terminal; close it there first "
            "(or use another account: --account)"
        ) from None
    return lock


def keep_others_out(folder: Path) -> None:
    """Who may write in a folder may put other files in the place of ours."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022 and folder.stat().st_uid == os.geteuid() and not mode & stat.S_ISVTX:
        folder.chmod(mode & ~0o022)


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)  # one that was made under another rule; its log takes over these rights
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version > VERSION:
        db.close()
        raise sqlite3.DatabaseError(f"{path} was written by a newer version of this program")
    return db


def _use_device(db: sqlite3.Connection, device: int) -> None:
    """Registered again: a new device number, whose submit numbers start at 1."""
    row = db.execute("SELECT value FROM number WHERE name = 'device'").fetchone()
    if row is not None and row[0] == device:
        return
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE line SET state = 4, code = 'replaced' WHERE own = 1 AND state = 0")
    db.execute("UPDATE line SET own = 0 WHERE own = 1")
    _set_number(db, "submitted", 0)
    _set_number(db, "device", device)
    db.execute("COMMIT")


def _load(db: sqlite3.Connection) -> Saved:
    numbers: dict[str, int] = dict(db.execute("SELECT name, value FROM number").fetchall())
    kept = db.execute(
        "SELECT key, device, c, peer, body, queued_us, id, state, code, stored_us, delivered_us,"
        " read_us FROM line WHERE own = 1 ORDER BY c DESC LIMIT ?",
        (KEPT_MAX,),
    ).fetchall()
    unhandled = db.execute(
        "SELECT key, peer, id, device, c, body, prev, q, era FROM line"
        " WHERE mine = 0 AND key > ? ORDER BY key LIMIT ?",
        (numbers.get("handled", 0), UNHANDLED_MAX),
    ).fetchall()
    pairs = db.execute("SELECT peer, delivered, read, my_read, my_read_known FROM pair").fetchall()
    shown = db.execute("SELECT sender, device, c FROM shown").fetchall()
    return Saved(
        last=numbers.get("last", 0),
        era=numbers.get("era", 0),
        submitted=numbers.get("submitted", 0),
        key=db.execute("SELECT coalesce(max(key), 0) FROM line").fetchone()[0],
        kept=[SavedSent(*row) for row in reversed(kept)],
        unhandled=[Incoming(*row) for row in unhandled],
        shown={(sender, device): c for sender, device, c in shown},
        marks={peer: (delivered, read) for peer, delivered, read, _, _ in pairs},
        reads={peer: my_read for peer, _, _, my_read, known in pairs if not known},
    )


# ---- changes ----------------------------------------------------------------------------


def _set_number(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT OR REPLACE INTO number VALUES (?, ?)", (name, value))


def _raise_number(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute(
        "INSERT INTO number VALUES (?, ?) ON CONFLICT (name) DO UPDATE"
        " SET value = max(value, excluded.value)",
        (name, value),
    )


def _insert_line(db: sqlite3.Connection, values: tuple[Any, ...]) -> None:
    db.execute("INSERT INTO line VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", values)


def _add_sent(db: sqlite3.Connection, one: AddSent) -> None:
    at_us = one.id or one.queued_us
    _insert_line(
        db,
        (one.key, one.to, 1, int(one.own), one.device, one.c, one.id, at_us, 0, 0, 0, one.state,
         "", one.queued_us, one.id, 0, 0, one.body),
    )  # fmt: skip
    if one.own:
        _raise_number(db, "submitted", one.c)


def _set_sent(db: sqlite3.Connection, one: SetSent) -> None:
    """The marks may already be further: a receipt can come before the answer."""
    db.execute(
        "UPDATE line SET c = ?, id = ?, at_us = CASE WHEN ? > 0 THEN ? ELSE at_us END,"
        " state = ?, code = ?, stored_us = ? WHERE key = ?",
        (one.c, one.id, one.id, one.id, one.state, one.code, one.stored_us, one.key),
    )
    _raise_number(db, "submitted", one.c)


def _set_marks(db: sqlite3.Connection, one: SetMarks) -> None:
    db.execute(
        "INSERT INTO pair (peer, delivered, read) VALUES (?, ?, ?) ON CONFLICT (peer) DO UPDATE"
        " SET delivered = excluded.delivered, read = excluded.read",
        (one.peer, one.delivered, one.read),
    )
    # the states are literals, so that the partial indexes line_stored and line_delivered serve
    db.execute(
        "UPDATE line SET state = 2, delivered_us = ? WHERE peer = ? AND mine = 1 AND state = 1"
        " AND id BETWEEN 1 AND ?",
        (one.at_us, one.peer, max(one.delivered, one.read)),
    )
    db.execute(
        "UPDATE line SET state = 3, read_us = ? WHERE peer = ? AND mine = 1 AND state = 2"
        " AND id BETWEEN 1 AND ?",
        (one.at_us, one.peer, one.read),
    )


def _fail_sent(db: sqlite3.Connection, one: FailSent) -> None:
    db.execute(
        "UPDATE line SET state = 4, code = ? WHERE peer = ? AND mine = 1 AND state = 1"
        " AND id BETWEEN ? AND ?",
        (one.code, one.peer, one.first, one.last),
    )


def _add_incoming(db: sqlite3.Connection, one: AddIncoming) -> None:
    m = one.message
    _insert_line(
        db,
        (m.key, m.sender, 0, 0, m.device, m.c, m.id, m.id, m.prev, m.q, m.era, 0, "", one.at_us,
         0, 0, 0, m.body),
    )  # fmt: skip
    db.execute("INSERT OR REPLACE INTO shown VALUES (?, ?, ?)", (m.sender, m.device, m.c))


def _set_last(db: sqlite3.Connection, one: SetLast) -> None:
    _set_number(db, "last", one.q)


def _set_era(db: sqlite3.Connection, one: SetEra) -> None:
    _set_number(db, "era", one.era)
    _set_number(db, "last", 0)
    db.execute("UPDATE pair SET delivered = 0, read = 0")


def _set_handled(db: sqlite3.Connection, one: SetHandled) -> None:
    _raise_number(db, "handled", one.key)


def _set_read(db: sqlite3.Connection, one: SetRead) -> None:
    db.execute(
        "INSERT INTO pair (peer, my_read, my_read_known) VALUES (?, ?, ?) ON CONFLICT (peer)"
        " DO UPDATE SET my_read = excluded.my_read, my_read_known = excluded.my_read_known"
        " WHERE excluded.my_read >= my_read",
        (one.peer, one.id, int(one.acknowledged)),
    )


_APPLY: dict[type[Change], Callable[[sqlite3.Connection, Any], None]] = {
    AddSent: _add_sent,
    SetSent: _set_sent,
    SetMarks: _set_marks,
    FailSent: _fail_sent,
    AddIncoming: _add_incoming,
    SetLast: _set_last,
    SetEra: _set_era,
    SetHandled: _set_handled,
    SetRead: _set_read,
}
