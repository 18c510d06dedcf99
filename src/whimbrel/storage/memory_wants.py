"""Every want of domain/wants.py answered from the tables of the memory store.

The same shapes as reads.py; the shared suite in tests/storage compares them.
"""

from collections.abc import Callable, Iterable
from typing import Any

from whimbrel.domain.rows import (
    FINAL_STATES,
    LAST_WITH_BODY,
    AccountRow,
    DeadLetterRow,
    DocumentRow,
    InboxRow,
    RosterRow,
    SentRow,
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
from whimbrel.storage.memory_rows import Tables
from whimbrel.storage.pages import InboxPage, inbox_page


def read(tables: Tables, want: Want) -> object:
    """The committed answer to a want."""
    return _READ[type(want)](tables, want)


def _pair(tables: Tables, want: PairWant) -> PairRows:
    account = tables.accounts.get(want.peer)
    address = "" if account is None or account.deleted else account.address
    return PairRows(tables.pairs.get(want.owner, {}).get(want.peer), address)


def _user(tables: Tables, want: UserWant) -> UserRows:
    number = want.number
    devices = tables.devices.get(number, {})
    open_rows = sorted(tables.open.get(number, {}).values(), key=lambda row: row.id)
    peers = {*tables.owed.get(number, ()), *want.peers, *(row.peer for row in open_rows)}
    return UserRows(
        tables.accounts.get(number),
        [devices[n] for n in sorted(devices)],
        open_rows,
        {peer: _pair(tables, PairWant(number, peer)) for peer in peers},
    )


def _between(tables: Tables, owner: int, after: int, upto: int | None) -> Iterable[InboxRow]:
    """Rising; the keys of an owner were inserted in rising order."""
    for q, row in tables.inbox.get(owner, {}).items():
        if upto is not None and q > upto:
            return
        if q > after:
            yield row


def _flights(tables: Tables, want: FlightsWant) -> list[tuple[int, int, int, int]]:
    rows = _between(tables, want.owner, want.after, want.upto)
    return [(r.q, r.kind, r.peer, r.id) for r, _ in zip(rows, range(want.limit), strict=False)]


def _oldest(tables: Tables, want: OldestWant) -> list[tuple[int, int, int, int, int]]:
    rows = _between(tables, want.owner, want.after, None)
    bodied = (row for row in rows if row.kind <= LAST_WITH_BODY)
    return [
        (r.q, r.kind, r.peer, r.id, r.stored_us)
        for r, _ in zip(bodied, range(want.limit), strict=False)
    ]


def _sent(tables: Tables, want: SentWant) -> SentRow | None:
    found = None
    for row in tables.sent.get(want.owner, {}).values():
        if row.device == want.device and row.c == want.c and (found is None or row.id > found.id):
            found = row
    return found


def _refs(tables: Tables, want: RefsWant) -> list[tuple[int, str]]:
    rows = [
        (row.id, row.ref)
        for row in tables.sent.get(want.owner, {}).values()
        if row.peer == want.peer and want.after < row.id <= want.upto and row.ref
    ]
    return sorted(rows)[-want.limit :]


def _roster(tables: Tables, want: RosterWant) -> list[RosterRow]:
    rows = tables.roster.get(want.owner, {})
    return [rows[peer] for peer in sorted(rows)]


def _archive(tables: Tables, want: ArchiveWant) -> ArchivePage:
    rows = tables.archive.get(want.owner, {})
    if want.ids:
        found = [rows[id] for id in sorted(want.ids) if id in rows]
        return ArchivePage(found, len(found), False)
    match = [
        rows[id]
        for id in sorted(rows)
        if want.after < id < want.before and want.peer in (0, rows[id].peer)
    ]
    page = match[-want.limit :] if want.last else match[: want.limit]
    return ArchivePage(page, len(match), len(match) > len(page))


def _owners_archive(tables: Tables, want: OwnersArchive) -> list[int]:
    due = [
        (id, owner) for owner, rows in tables.archive.items() for id in rows if id < want.before_us
    ]
    return _first_owners(due, want.limit)


def _document(tables: Tables, want: DocumentWant) -> DocumentRow | None:
    return tables.documents.get(want.owner, {}).get(want.name)


def _documents(tables: Tables, want: DocumentsWant) -> dict[str, int]:
    rows = tables.documents.get(want.owner, {})
    return {name: len(rows[name].body) for name in sorted(rows)}


def _blocked(tables: Tables, want: BlockedWant) -> list[str]:
    return sorted(p.address for p in tables.pairs.get(want.owner, {}).values() if p.blocked)


def _inbox(tables: Tables, want: InboxWant) -> InboxPage:
    rows = _between(tables, want.owner, want.after, want.upto)
    return inbox_page(((row, _address(tables, row.peer)) for row in rows), want)


def _address(tables: Tables, number: int) -> str:
    account = tables.accounts.get(number)
    return "" if account is None else account.address


def _desk(tables: Tables, want: DeskWant) -> DeskRows:
    return DeskRows(
        [tables.signups[number] for number in sorted(tables.signups)],
        [tables.counters[key] for key in sorted(tables.counters)],
    )


def _owners_open(tables: Tables, want: OwnersOpen) -> list[int]:
    owners = {owner for table in (tables.open, tables.owed) for owner in table}
    return sorted(owner for owner in owners if owner > want.after)[: want.limit]


def _owners_expired(tables: Tables, want: OwnersExpired) -> list[int]:
    due = [
        (row.stored_us, row.owner)
        for rows in tables.inbox.values()
        for row in rows.values()
        if row.kind <= LAST_WITH_BODY and row.stored_us < want.before_us
    ]
    return _first_owners(due, want.limit)


def _owners_ledger(tables: Tables, want: OwnersLedger) -> list[int]:
    due = [
        (row.accepted_us, row.owner)
        for rows in tables.sent.values()
        for row in rows.values()
        if row.state in FINAL_STATES and row.final_us < want.before_us
    ]
    return _first_owners(due, want.limit)


def _first_owners(due: list[tuple[int, int]], limit: int) -> list[int]:
    return list(dict.fromkeys(owner for _, owner in sorted(due)))[:limit]


def _accounts(tables: Tables, want: Accounts) -> list[AccountRow]:
    rows = [
        row
        for row in tables.accounts.values()
        if not row.deleted and row.address > want.after and row.address.startswith(want.prefix)
    ]
    return sorted(rows, key=lambda row: row.address)[: want.limit]


def _dead_letters(tables: Tables, want: DeadLetters) -> list[DeadLetterRow]:
    return tables.dead_letters[::-1][: want.limit]


def _totals(tables: Tables, want: Totals) -> dict[str, int]:
    return {
        "accounts": len(tables.accounts),
        "devices": _count(tables.devices),
        "inbox": _count(tables.inbox),
        "open": _count(tables.open),
        "dead_letters": len(tables.dead_letters),
        "data_bytes": 0,
    }


def _count(table: dict[int, Any]) -> int:
    return sum(map(len, table.values()))


_READ: dict[type, Callable[[Tables, Any], object]] = {
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
