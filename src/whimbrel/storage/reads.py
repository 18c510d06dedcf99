"""Every want of domain/wants.py as SQL, one function each, found by a table.

Runs on a connection that only reads, so it sees committed rows only. Every function
exhausts or closes its cursor: an open read would keep the log from being truncated.
"""

from collections.abc import Callable
from typing import Any

import apsw

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
    SentRow,
    SignupRow,
)
from whimbrel.domain.wants import (
    Accounts,
    ArchivePage,
    ArchiveWant,
    BlockedWant,
    DeadLetters,
    DeskRows,
    DeskWant,
    DocumentsWant,
    DocumentWant,
    FlightsWant,
    InboxWant,
    OldestWant,
    OwnersArchive,
    OwnersExpired,
    OwnersLedger,
    OwnersOpen,
    PairRows,
    PairWant,
    RefsWant,
    RosterWant,
    SentWant,
    SettledPairWant,
    Totals,
    UserRows,
    UserWant,
    Want,
)
from whimbrel.storage.pages import InboxPage, inbox_page

_ACCOUNT = ", ".join(AccountRow.__struct_fields__)
_DEVICE = ", ".join(DeviceRow.__struct_fields__)
_SENT = ", ".join(SentRow.__struct_fields__)
_PAIR = f"p.{', p.'.join(PairRow.__struct_fields__)}"
_INBOX = f"i.{', i.'.join(InboxRow.__struct_fields__)}"
_SIGNUP = ", ".join(SignupRow.__struct_fields__)
_COUNTER = ", ".join(CounterRow.__struct_fields__)
_ARCHIVE = ", ".join(ArchiveRow.__struct_fields__)
_OUT = ArchiveRow.__struct_fields__.index("out")
_ROSTER = ", ".join(RosterRow.__struct_fields__)
_DOCUMENT = ", ".join(DocumentRow.__struct_fields__)
_DEAD_LETTER = ", ".join(DeadLetterRow.__struct_fields__)
_WROTE = PairRow.__struct_fields__.index("wrote")
_BLOCKED = PairRow.__struct_fields__.index("blocked")
_OWED = PairRow.__struct_fields__.index("owed")
_DELETED = AccountRow.__struct_fields__.index("deleted")

ACCOUNT = f"SELECT {_ACCOUNT} FROM account WHERE id=?"
DEVICES = f"SELECT {_DEVICE} FROM device WHERE account=? ORDER BY device"
OPEN_ROWS = f"""SELECT {_SENT} FROM sent INDEXED BY sent_open
 WHERE owner=? AND state=0 ORDER BY id"""
PAIR = f"""SELECT a.address, {_PAIR} FROM (SELECT ?1 AS owner, ?2 AS peer) k
 LEFT JOIN pair p ON p.owner=k.owner AND p.peer=k.peer
 LEFT JOIN account a ON a.id=k.peer AND a.deleted=0"""
PAIRS_OWED = f"""SELECT a.address, {_PAIR} FROM pair p INDEXED BY pair_owed
 LEFT JOIN account a ON a.id=p.peer AND a.deleted=0 WHERE p.owner=? AND p.owed=1"""
FLIGHTS = "SELECT q, kind, peer, id FROM inbox WHERE owner=? AND q>? AND q<=? ORDER BY q LIMIT ?"
OLDEST = """SELECT q, kind, peer, id, stored_us FROM inbox WHERE owner=? AND q>? AND kind<=1
 ORDER BY q LIMIT ?"""
SENT = f"SELECT {_SENT} FROM sent WHERE owner=? AND device=? AND c=? ORDER BY id DESC LIMIT 1"
REFS = """SELECT id, ref FROM sent
 WHERE owner=? AND id>? AND id<=? AND peer=? AND ref<>'' ORDER BY id DESC LIMIT ?"""
ROSTER = f"SELECT {_ROSTER} FROM roster WHERE owner=? ORDER BY peer"
ARCHIVE = f"""SELECT {_ARCHIVE} FROM archive WHERE owner=?1 AND id>?3 AND id<?4
 AND (?2=0 OR peer=?2) ORDER BY id"""
ARCHIVED = f"SELECT {_ARCHIVE} FROM archive WHERE owner=? AND id=?"
ARCHIVE_COUNT = """SELECT count(*) FROM archive WHERE owner=?1 AND id>?3 AND id<?4
 AND (?2=0 OR peer=?2)"""
OLD_ARCHIVE = "SELECT owner, 1, id FROM archive NOT INDEXED ORDER BY rowid"
DOCUMENT = f"SELECT {_DOCUMENT} FROM document WHERE owner=? AND name=?"
DOCUMENTS = "SELECT name, length(body) FROM document WHERE owner=? ORDER BY name"
BLOCKS = """SELECT address FROM pair INDEXED BY pair_blocked
 WHERE owner=? AND blocked=1 ORDER BY address"""
INBOX = f"""SELECT coalesce(a.address, ''), {_INBOX} FROM inbox i
 LEFT JOIN account a ON a.id=i.peer
 WHERE i.owner=? AND i.q>? AND i.q<=? ORDER BY i.q LIMIT ?"""
OWNERS_OPEN = """SELECT owner FROM (SELECT DISTINCT owner FROM sent INDEXED BY sent_open
 WHERE state=0 AND owner>?1 ORDER BY owner LIMIT ?2)
 UNION SELECT owner FROM (SELECT DISTINCT owner FROM pair INDEXED BY pair_owed
 WHERE owed=1 AND owner>?1 ORDER BY owner LIMIT ?2) ORDER BY 1 LIMIT ?2"""
# Rows stand in the order they came in: both scans stop at the first row that is too young.
OLD_INBOX = "SELECT owner, kind<=1, stored_us FROM inbox NOT INDEXED ORDER BY rowid"
OLD_SENT = """SELECT owner, state IN (2, 3, 4, 5) AND final_us<?1, accepted_us
 FROM sent NOT INDEXED ORDER BY rowid"""
# prefix, or the first text behind all that begin with it, bound the same index
ACCOUNTS = f"""SELECT {_ACCOUNT} FROM account
 WHERE address>? AND address>=? AND address<? AND deleted=0 ORDER BY address LIMIT ?"""
BEHIND = "\U0010ffff"
SIGNUPS = f"SELECT {_SIGNUP} FROM signup"
COUNTERS = f"SELECT {_COUNTER} FROM counter"
DEAD_LETTERS = f"SELECT {_DEAD_LETTER} FROM dead_letter ORDER BY rowid DESC LIMIT ?"
TOTALS = """SELECT (SELECT count(*) FROM account INDEXED BY account_address),
 (SELECT count(*) FROM device), (SELECT count(*) FROM inbox INDEXED BY inbox_owner),
 (SELECT count(*) FROM sent INDEXED BY sent_open WHERE state=0),
 (SELECT count(*) FROM dead_letter),
 (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)"""


def read(db: apsw.Connection, want: Want) -> object:
    """The committed answer to a want. Raises apsw.Error."""
    return _READ[type(want)](db, want)


def _account_row(row: tuple[Any, ...]) -> AccountRow:
    fields = list(row)
    fields[_DELETED] = bool(fields[_DELETED])
    return AccountRow(*fields)


def _pair_rows(row: tuple[Any, ...]) -> PairRows:
    """row: the address or None, then the pair's columns or Nones."""
    address = row[0] or ""
    if row[1] is None:
        return PairRows(None, address)
    fields = list(row[1:])
    for n in (_WROTE, _BLOCKED, _OWED):
        fields[n] = bool(fields[n])
    return PairRows(PairRow(*fields), address)


def _pair(db: apsw.Connection, want: PairWant) -> PairRows:
    return _pair_rows(db.execute(PAIR, (want.owner, want.peer)).fetchall()[0])


def _user(db: apsw.Connection, want: UserWant) -> UserRows:
    number = want.number
    account = db.execute(ACCOUNT, (number,)).fetchall()
    devices = [DeviceRow(*row) for row in db.execute(DEVICES, (number,))]
    open_rows = [SentRow(*row) for row in db.execute(OPEN_ROWS, (number,))]
    pairs: dict[int, PairRows] = {}
    for row in db.execute(PAIRS_OWED, (number,)):
        owed = _pair_rows(row)
        assert owed.row is not None  # an inner row of the scan
        pairs[owed.row.peer] = owed
    for peer in (*want.peers, *(row.peer for row in open_rows)):
        if peer not in pairs:
            pairs[peer] = _pair_rows(db.execute(PAIR, (number, peer)).fetchall()[0])
    return UserRows(_account_row(account[0]) if account else None, devices, open_rows, pairs)


def _flights(db: apsw.Connection, want: FlightsWant) -> list[Any]:
    return db.execute(FLIGHTS, (want.owner, want.after, want.upto, want.limit)).fetchall()


def _oldest(db: apsw.Connection, want: OldestWant) -> list[Any]:
    return db.execute(OLDEST, (want.owner, want.after, want.limit)).fetchall()


def _sent(db: apsw.Connection, want: SentWant) -> SentRow | None:
    rows: list[Any] = db.execute(SENT, (want.owner, want.device, want.c)).fetchall()
    return SentRow(*rows[0]) if rows else None


def _refs(db: apsw.Connection, want: RefsWant) -> list[Any]:
    key = (want.owner, want.after, want.upto, want.peer, want.limit)
    return db.execute(REFS, key).fetchall()[::-1]


def _roster(db: apsw.Connection, want: RosterWant) -> list[RosterRow]:
    return [RosterRow(*row) for row in db.execute(ROSTER, (want.owner,))]


def _archive_row(row: tuple[Any, ...]) -> ArchiveRow:
    fields = list(row)
    fields[_OUT] = bool(fields[_OUT])
    return ArchiveRow(*fields)


def _archive(db: apsw.Connection, want: ArchiveWant) -> ArchivePage:
    if want.ids:
        found = [
            _archive_row(row)
            for id in want.ids
            for row in db.execute(ARCHIVED, (want.owner, id)).fetchall()
        ]
        return ArchivePage(sorted(found, key=lambda row: row.id), len(found), False)
    key = (want.owner, want.peer, want.after, want.before)
    count: Any = db.execute(ARCHIVE_COUNT, key).get
    order = f"{ARCHIVE} DESC LIMIT ?5" if want.last else f"{ARCHIVE} LIMIT ?5"
    rows = [_archive_row(row) for row in db.execute(order, (*key, want.limit)).fetchall()]
    if want.last:
        rows.reverse()
    return ArchivePage(rows, int(count), int(count) > len(rows))


def _owners_archive(db: apsw.Connection, want: OwnersArchive) -> list[int]:
    return _owners_old(db.execute(OLD_ARCHIVE), want.before_us, want.limit)


def _document(db: apsw.Connection, want: DocumentWant) -> DocumentRow | None:
    rows: list[Any] = db.execute(DOCUMENT, (want.owner, want.name)).fetchall()
    return DocumentRow(*rows[0]) if rows else None


def _documents(db: apsw.Connection, want: DocumentsWant) -> dict[Any, Any]:
    return {row[0]: row[1] for row in db.execute(DOCUMENTS, (want.owner,))}


def _blocked(db: apsw.Connection, want: BlockedWant) -> list[str]:
    return [row[0] for row in db.execute(BLOCKS, (want.owner,))]


def _inbox(db: apsw.Connection, want: InboxWant) -> InboxPage:
    cursor = db.execute(INBOX, (want.owner, want.after, want.upto, want.limit))
    try:
        return inbox_page(((InboxRow(*row[1:]), row[0]) for row in cursor), want)
    finally:
        cursor.close(True)


def _desk(db: apsw.Connection, want: DeskWant) -> DeskRows:
    return DeskRows(
        [SignupRow(*row) for row in db.execute(SIGNUPS)],
        [CounterRow(*row) for row in db.execute(COUNTERS)],
    )


def _owners_open(db: apsw.Connection, want: OwnersOpen) -> list[int]:
    return [row[0] for row in db.execute(OWNERS_OPEN, (want.after, want.limit))]


def _owners_old(cursor: apsw.Cursor, before_us: int, limit: int) -> list[int]:
    """Owners in the order of their oldest row that is due; rows are (owner, due, time)."""
    owners: dict[int, None] = {}
    try:
        for owner, due, at_us in cursor:
            if at_us >= before_us or len(owners) >= limit:
                break
            if due:
                owners[owner] = None
    finally:
        cursor.close(True)
    return list(owners)


def _owners_expired(db: apsw.Connection, want: OwnersExpired) -> list[int]:
    return _owners_old(db.execute(OLD_INBOX), want.before_us, want.limit)


def _owners_ledger(db: apsw.Connection, want: OwnersLedger) -> list[int]:
    return _owners_old(db.execute(OLD_SENT, (want.before_us,)), want.before_us, want.limit)


def _accounts(db: apsw.Connection, want: Accounts) -> list[AccountRow]:
    bounds = (want.after, want.prefix, want.prefix + BEHIND, want.limit)
    return [_account_row(row) for row in db.execute(ACCOUNTS, bounds)]


def _dead_letters(db: apsw.Connection, want: DeadLetters) -> list[DeadLetterRow]:
    return [DeadLetterRow(*row) for row in db.execute(DEAD_LETTERS, (want.limit,))]


def _totals(db: apsw.Connection, want: Totals) -> dict[str, int]:
    row: Any = db.execute(TOTALS).fetchall()[0]
    names = ("accounts", "devices", "inbox", "open", "dead_letters", "data_bytes")
    return dict(zip(names, row, strict=True))


_READ: dict[type, Callable[[apsw.Connection, Any], object]] = {
    UserWant: _user,
    PairWant: _pair,
    SettledPairWant: _pair,
    FlightsWant: _flights,
    OldestWant: _oldest,
    SentWant: _sent,
    RefsWant: _refs,
    RosterWant: _roster,
    ArchiveWant: _archive,
    OwnersArchive: _owners_archive,
    DocumentWant: _document,
    DocumentsWant: _documents,
    BlockedWant: _blocked,
    InboxWant: _inbox,
    DeskWant: _desk,
    OwnersOpen: _owners_open,
    OwnersExpired: _owners_expired,
    OwnersLedger: _owners_ledger,
    Accounts: _accounts,
    DeadLetters: _dead_letters,
    Totals: _totals,
}
