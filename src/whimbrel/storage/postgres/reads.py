"""Every want of domain/wants.py as SQL. Wants of one kind are read together, in one statement.

Runs on connections to the primary, each statement with a snapshot of its own (READ COMMITTED):
what a takeover waited for is seen by the first statement behind it.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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
from whimbrel.storage.pages import inbox_page

Db = Any  # an asyncpg connection
Reader = Callable[[Db, Any], Awaitable[list[object]]]


def _names(row: type[Any], table: str = "") -> str:
    return ", ".join(f"{table}{name}" for name in row.__struct_fields__)


ACCOUNTS_OF = f"SELECT {_names(AccountRow)} FROM account WHERE id = ANY($1::bigint[])"
DEVICES_OF = f"""SELECT {_names(DeviceRow)} FROM device WHERE account = ANY($1::bigint[])
 ORDER BY account, device"""
OPEN_OF = f"""SELECT {_names(SentRow)} FROM sent WHERE is_open AND owner = ANY($1::bigint[])
 ORDER BY owner, id"""
# Pairs that are wanted by name, and with them those of open rows and those that owe a receipt.
_PAIRS = f"""SELECT k.owner, k.peer, a.address, p.owner IS NOT NULL, {_names(PairRow, "p.")}
 FROM ({{keys}}) k
 LEFT JOIN pair p ON p.owner = k.owner AND p.peer = k.peer
 LEFT JOIN account a ON a.id = k.peer AND NOT a.deleted"""
_KEYS = "SELECT owner, peer FROM unnest($1::bigint[], $2::bigint[]) w(owner, peer)"
PAIRS_OF = _PAIRS.format(keys=_KEYS)
PAIRS_OF_USERS = _PAIRS.format(
    keys=f"""{_KEYS}
 UNION SELECT owner, peer FROM pair WHERE owed AND owner = ANY($3::bigint[])
 UNION SELECT owner, peer FROM sent WHERE is_open AND owner = ANY($3::bigint[])"""
)
_EACH = """SELECT w.n, r.* FROM unnest({arrays}) WITH ORDINALITY w({names}, n)
 CROSS JOIN LATERAL ({select}) r ORDER BY w.n{order}"""
FLIGHTS = _EACH.format(
    arrays="$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]",
    names="owner, after, upto, most",
    select="""SELECT q, kind, peer, id FROM inbox i
  WHERE i.owner = w.owner AND i.q > w.after AND i.q <= w.upto ORDER BY q LIMIT w.most""",
    order=", r.q",
)
OLDEST = _EACH.format(
    arrays="$1::bigint[], $2::bigint[], $3::bigint[]",
    names="owner, after, most",
    select="""SELECT q, kind, peer, id, stored_us FROM inbox i
  WHERE i.owner = w.owner AND i.q > w.after AND i.kind <= 1 ORDER BY q LIMIT w.most""",
    order=", r.q",
)
# Bodies beyond the bytes that are wanted stay in the database, but for one, which tells the reader
# that something was left out.
INBOX = _EACH.format(
    arrays="$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]",
    names="owner, after, upto, most, bytes",
    select=f"""SELECT coalesce(a.address, ''), {_names(InboxRow, "s.")} FROM (
   SELECT i.*, row_number() OVER (ORDER BY i.q) AS place,
    sum(coalesce(octet_length(i.body), 0)) OVER (ORDER BY i.q) AS total
   FROM (SELECT * FROM inbox i WHERE i.owner = w.owner AND i.q > w.after AND i.q <= w.upto
    ORDER BY i.q LIMIT w.most) i) s
  LEFT JOIN account a ON a.id = s.peer
  WHERE s.place <= 2 OR s.total - coalesce(octet_length(s.body), 0) <= w.bytes""",
    order=", r.q",
)
SENT = _EACH.format(
    arrays="$1::bigint[], $2::bigint[], $3::bigint[]",
    names="owner, device, c",
    select=f"""SELECT {_names(SentRow)} FROM sent s
  WHERE s.owner = w.owner AND s.device = w.device AND s.c = w.c ORDER BY s.id DESC LIMIT 1""",
    order="",
)
REFS = _EACH.format(
    arrays="$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]",
    names="owner, peer, after, upto, most",
    select="""SELECT id, ref FROM sent s WHERE s.owner = w.owner AND s.id > w.after
  AND s.id <= w.upto AND s.peer = w.peer AND s.ref <> '' ORDER BY id DESC LIMIT w.most""",
    order=", r.id",
)
_ARCHIVE_WHERE = """owner = $1 AND id > $3 AND id < $4 AND ($2::bigint = 0 OR peer = $2)"""
ARCHIVE = f"SELECT {_names(ArchiveRow)} FROM archive WHERE {_ARCHIVE_WHERE} ORDER BY id LIMIT $5"
ARCHIVE_LAST = (
    f"SELECT {_names(ArchiveRow)} FROM archive WHERE {_ARCHIVE_WHERE} ORDER BY id DESC LIMIT $5"
)
ARCHIVED = f"""SELECT {_names(ArchiveRow)} FROM archive
 WHERE owner = $1 AND id = ANY($2::bigint[]) ORDER BY id"""
ARCHIVE_COUNT = f"SELECT count(*) FROM archive WHERE {_ARCHIVE_WHERE}"
ROSTER = f"SELECT {_names(RosterRow)} FROM roster WHERE owner = $1 ORDER BY peer"
DOCUMENT = f"SELECT {_names(DocumentRow)} FROM document WHERE owner = $1 AND name = $2"
DOCUMENTS = "SELECT name, octet_length(body) FROM document WHERE owner = $1 ORDER BY name"
BLOCKS = """SELECT address FROM pair WHERE owner = $1 AND blocked ORDER BY address COLLATE "C" """
OWNERS_OPEN = """SELECT owner FROM (
 (SELECT DISTINCT owner FROM sent WHERE is_open AND owner > $1 ORDER BY owner LIMIT $2)
 UNION
 (SELECT DISTINCT owner FROM pair WHERE owed AND owner > $1 ORDER BY owner LIMIT $2)) o
 ORDER BY owner LIMIT $2"""
# In the order of an index on the time: read on until so many owners are found.
OWNERS_EXPIRED = """SELECT owner, stored_us FROM inbox WHERE kind <= 1 AND stored_us < $1
 ORDER BY stored_us LIMIT $2"""
OWNERS_LEDGER = """SELECT owner, accepted_us FROM sent WHERE accepted_us < $1 AND final_us < $1
 AND state IN (2, 3, 4, 5) ORDER BY accepted_us LIMIT $2"""
OWNERS_ARCHIVE = "SELECT owner, id FROM archive WHERE id < $1 ORDER BY id LIMIT $2"
OWNERS_ROWS = 20  # rows read for each owner that is wanted: one owner may have many
ACCOUNTS = f"""SELECT {_names(AccountRow)} FROM account
 WHERE address COLLATE "C" > $1 AND address COLLATE "C" >= $2 AND address COLLATE "C" < $3
 AND NOT deleted ORDER BY address COLLATE "C" LIMIT $4"""
BEHIND = "\U0010ffff"  # comes after all that begin with the same
SIGNUPS = f"SELECT {_names(SignupRow)} FROM signup"
COUNTERS = f"SELECT {_names(CounterRow)} FROM counter"
DEAD_LETTERS = f"SELECT {_names(DeadLetterRow)} FROM dead_letter ORDER BY n DESC LIMIT $1"
TOTALS = """SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM device),
 (SELECT count(*) FROM inbox), (SELECT count(*) FROM sent WHERE is_open),
 (SELECT count(*) FROM dead_letter), pg_database_size(current_database())"""


async def read(db: Db, wants: Sequence[Want]) -> list[object]:
    """The committed answers in the order of the wants. Raises what asyncpg raises."""
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for place, want in enumerate(wants):
        groups[_READ[type(want)]].append(place)
    answers: list[object] = [None] * len(wants)
    for reader, places in groups.items():
        found = await reader(db, [wants[place] for place in places])
        for place, answer in zip(places, found, strict=True):
            answers[place] = answer
    return answers


def _pair_rows(record: Any) -> PairRows:
    """owner, peer, address or None, whether there is a row, then its columns or Nones."""
    row = PairRow(*record[4:]) if record[3] else None
    return PairRows(row, record[2] or "")


async def _users(db: Db, wants: Sequence[UserWant]) -> list[object]:
    numbers = list({want.number for want in wants})
    accounts = {row[0]: AccountRow(*row) for row in await db.fetch(ACCOUNTS_OF, numbers)}
    devices: defaultdict[int, list[DeviceRow]] = defaultdict(list)
    for row in await db.fetch(DEVICES_OF, numbers):
        devices[row[0]].append(DeviceRow(*row))
    opened: defaultdict[int, list[SentRow]] = defaultdict(list)
    for row in await db.fetch(OPEN_OF, numbers):
        opened[row[0]].append(SentRow(*row))
    owners = [want.number for want in wants for _ in want.peers]
    peers = [peer for want in wants for peer in want.peers]
    pairs: defaultdict[int, dict[int, PairRows]] = defaultdict(dict)
    for row in await db.fetch(PAIRS_OF_USERS, owners, peers, numbers):
        pairs[row[0]][row[1]] = _pair_rows(row)
    return [
        UserRows(accounts.get(n), devices.get(n, []), opened.get(n, []), dict(pairs.get(n, {})))
        for n in (want.number for want in wants)
    ]


async def _pairs(db: Db, wants: Sequence[PairWant]) -> list[object]:
    keys = list({(want.owner, want.peer) for want in wants})
    owners, peers = zip(*keys, strict=True)
    records = await db.fetch(PAIRS_OF, owners, peers)
    found = {(row[0], row[1]): _pair_rows(row) for row in records}
    return [found[(want.owner, want.peer)] for want in wants]


def _together(
    statement: str, fields: tuple[str, ...], answer: Callable[[Any, list[Any]], object]
) -> Reader:
    """A reader of many wants of one kind; records begin with the number of their want."""

    async def reader(db: Db, wants: Sequence[Any]) -> list[object]:
        columns = [[getattr(want, field) for want in wants] for field in fields]
        records: list[list[Any]] = [[] for _ in wants]
        for record in await db.fetch(statement, *columns):
            records[record[0] - 1].append(record[1:])
        return [answer(want, rows) for want, rows in zip(wants, records, strict=True)]

    return reader


def _tuples(want: Want, records: list[Any]) -> list[Any]:
    return [tuple(record) for record in records]


def _newest(want: SentWant, records: list[Any]) -> SentRow | None:
    return SentRow(*records[0]) if records else None


def _page(want: InboxWant, records: list[Any]) -> object:
    return inbox_page(((InboxRow(*record[1:]), record[0]) for record in records), want)


_flights = _together(FLIGHTS, ("owner", "after", "upto", "limit"), _tuples)
_oldest = _together(OLDEST, ("owner", "after", "limit"), _tuples)
_inbox = _together(INBOX, ("owner", "after", "upto", "limit", "bytes"), _page)
_sent = _together(SENT, ("owner", "device", "c"), _newest)
_refs = _together(REFS, ("owner", "peer", "after", "upto", "limit"), _tuples)


def _one(read_one: Callable[[Db, Any], Awaitable[object]]) -> Reader:
    """A reader of wants that are too rare to be read together."""

    async def reader(db: Db, wants: Sequence[Any]) -> list[object]:
        return [await read_one(db, want) for want in wants]

    return reader


async def _archive(db: Db, want: ArchiveWant) -> ArchivePage:
    if want.ids:
        found = [ArchiveRow(*row) for row in await db.fetch(ARCHIVED, want.owner, want.ids)]
        return ArchivePage(found, len(found), False)
    key = (want.owner, want.peer, want.after, want.before)
    count = await db.fetchval(ARCHIVE_COUNT, *key)
    records = await db.fetch(ARCHIVE_LAST if want.last else ARCHIVE, *key, want.limit)
    rows = [ArchiveRow(*record) for record in records]
    if want.last:
        rows.reverse()
    return ArchivePage(rows, count, count > len(rows))


async def _roster(db: Db, want: RosterWant) -> list[RosterRow]:
    return [RosterRow(*row) for row in await db.fetch(ROSTER, want.owner)]


async def _document(db: Db, want: DocumentWant) -> DocumentRow | None:
    row = await db.fetchrow(DOCUMENT, want.owner, want.name)
    return DocumentRow(*row) if row else None


async def _documents(db: Db, want: DocumentsWant) -> dict[str, int]:
    return {row[0]: row[1] for row in await db.fetch(DOCUMENTS, want.owner)}


async def _blocked(db: Db, want: BlockedWant) -> list[str]:
    return [row[0] for row in await db.fetch(BLOCKS, want.owner)]


async def _desk(db: Db, want: DeskWant) -> DeskRows:
    return DeskRows(
        [SignupRow(*row) for row in await db.fetch(SIGNUPS)],
        [CounterRow(*row) for row in await db.fetch(COUNTERS)],
    )


async def _owners_open(db: Db, want: OwnersOpen) -> list[int]:
    return [row[0] for row in await db.fetch(OWNERS_OPEN, want.after, want.limit)]


def _owners_old(statement: str) -> Callable[[Db, Any], Awaitable[list[int]]]:
    async def owners(db: Db, want: Any) -> list[int]:
        """In the order of their oldest row that is due; one with very many hides others."""
        records = await db.fetch(statement, want.before_us, want.limit * OWNERS_ROWS)
        return list(dict.fromkeys(record[0] for record in records))[: want.limit]

    return owners


async def _accounts(db: Db, want: Accounts) -> list[AccountRow]:
    bounds = (want.after, want.prefix, want.prefix + BEHIND, want.limit)
    return [AccountRow(*row) for row in await db.fetch(ACCOUNTS, *bounds)]


async def _dead_letters(db: Db, want: DeadLetters) -> list[DeadLetterRow]:
    return [DeadLetterRow(*row) for row in await db.fetch(DEAD_LETTERS, want.limit)]


async def _totals(db: Db, want: Totals) -> dict[str, int]:
    names = ("accounts", "devices", "inbox", "open", "dead_letters", "data_bytes")
    return dict(zip(names, await db.fetchrow(TOTALS), strict=True))


_READ: dict[type, Reader] = {
    UserWant: _users,
    PairWant: _pairs,
    SettledPairWant: _pairs,
    FlightsWant: _flights,
    OldestWant: _oldest,
    SentWant: _sent,
    RefsWant: _refs,
    InboxWant: _inbox,
    RosterWant: _one(_roster),
    ArchiveWant: _one(_archive),
    OwnersArchive: _one(_owners_old(OWNERS_ARCHIVE)),
    DocumentWant: _one(_document),
    DocumentsWant: _one(_documents),
    BlockedWant: _one(_blocked),
    DeskWant: _one(_desk),
    OwnersOpen: _one(_owners_open),
    OwnersExpired: _one(_owners_old(OWNERS_EXPIRED)),
    OwnersLedger: _one(_owners_old(OWNERS_LEDGER)),
    Accounts: _one(_accounts),
    DeadLetters: _one(_dead_letters),
    Totals: _one(_totals),
}
