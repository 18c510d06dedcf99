"""The tables of the memory store and what a batch does to them.

Neighbours: memory.py decides whether a batch is applied, memory_wants.py reads.
Law: `apply` raises Conflict before it changes anything.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import TypeVar

from msgspec.structs import replace

from whimbrel.domain.batch import Batch, after_state
from whimbrel.domain.rows import (
    DELIVERED,
    FINAL_STATES,
    OPEN,
    READ,
    REMOVED,
    STORED,
    AccountRow,
    ArchiveRow,
    CounterRow,
    DeadLetterRow,
    DeviceRow,
    DocumentRow,
    InboxRow,
    PairRow,
    RosterRow,
    SentMarks,
    SentRow,
    SignupRow,
)

K = TypeVar("K")
V = TypeVar("V")


class Conflict(Exception):
    """An insert under a key that is taken."""


class Tables:
    """By owner, then by key; the keys of one owner only grow, so they stand in order."""

    def __init__(self) -> None:
        self.accounts: dict[int, AccountRow] = {}
        self.devices: dict[int, dict[int, DeviceRow]] = {}
        self.sent: dict[int, dict[int, SentRow]] = {}
        self.open: dict[int, dict[int, SentRow]] = {}  # those of `sent` in state OPEN
        self.inbox: dict[int, dict[int, InboxRow]] = {}
        self.pairs: dict[int, dict[int, PairRow]] = {}
        self.owed: dict[int, dict[int, PairRow]] = {}  # those of `pairs` that owe a receipt
        self.archive: dict[int, dict[int, ArchiveRow]] = {}
        self.roster: dict[int, dict[int, RosterRow]] = {}
        self.documents: dict[int, dict[str, DocumentRow]] = {}
        self.signups: dict[str, SignupRow] = {}
        self.counters: dict[str, CounterRow] = {}
        self.dead_letters: list[DeadLetterRow] = []

    def apply(self, batch: Batch, dead_letters_max: int) -> None:
        """Inserts and upserts, then changes, then removals."""
        self._refuse_conflicts(batch)
        self._put(batch)
        self._change(batch)
        self._remove(batch)
        self.dead_letters += batch.dead_letters
        del self.dead_letters[: max(0, len(self.dead_letters) - dead_letters_max)]

    def _refuse_conflicts(self, batch: Batch) -> None:
        for owner, id in batch.sent:
            if id in self.sent.get(owner, ()):
                raise Conflict("sent.owner, sent.id")
        for owner, q in batch.inbox:
            if q in self.inbox.get(owner, ()):
                raise Conflict("inbox.owner, inbox.q")
        for kept in batch.archive:
            if kept.id in self.archive.get(kept.owner, ()):
                raise Conflict("archive.owner, archive.id")

    def _put(self, batch: Batch) -> None:
        for id, account in batch.accounts.items():
            old = self.accounts.get(id)
            if old is not None:  # an address and a birth never change
                account = replace(account, address=old.address, created_us=old.created_us)
            self.accounts[id] = account
        for device in batch.devices.values():
            devices = self.devices.setdefault(device.account, {})
            known = devices.get(device.device)
            if known is not None:  # verifiers only change with their key
                device = replace(device, scram=known.scram)
            devices[device.device] = device
        for sent in batch.sent.values():
            self._set_sent(sent)
        for inbox in batch.inbox.values():
            self.inbox.setdefault(inbox.owner, {})[inbox.q] = inbox
        for pair in batch.pairs.values():
            self.pairs.setdefault(pair.owner, {})[pair.peer] = pair
            if pair.owed:
                self.owed.setdefault(pair.owner, {})[pair.peer] = pair
            else:
                _drop(self.owed, pair.owner, pair.peer)
        for kept in batch.archive:
            self.archive.setdefault(kept.owner, {})[kept.id] = kept
        for contact in batch.roster.values():
            self.roster.setdefault(contact.owner, {})[contact.peer] = contact
        for document in batch.documents.values():
            self.documents.setdefault(document.owner, {})[document.name] = document
        self.signups.update(batch.signups)
        self.counters.update(batch.counters)

    def _set_sent(self, row: SentRow) -> None:
        self.sent.setdefault(row.owner, {})[row.id] = row
        if row.state == OPEN:
            self.open.setdefault(row.owner, {})[row.id] = row
        else:
            _drop(self.open, row.owner, row.id)

    def _change(self, batch: Batch) -> None:
        for change in batch.sent_states:
            row = self.sent.get(change.owner, {}).get(change.id)
            if row is not None and row.state in (OPEN, STORED):
                self._set_sent(after_state(row, change))
        for marks in batch.sent_marks:
            for row in self._newest_sent(marks.owner, marks.after):
                if row.peer == marks.peer and row.id <= marks.upto:
                    self._set_sent(after_marks(row, marks))

        for key in batch.devices_keys:
            device = self.devices.get(key.account, {}).get(key.device)
            if device is not None:
                self.devices[key.account][key.device] = replace(
                    device, key_hash=key.key_hash, scram=key.scram
                )

    def _newest_sent(self, owner: int, after: int) -> list[SentRow]:
        rows = self.sent.get(owner, {})
        return list(takewhile(lambda row: row.id > after, reversed(rows.values())))

    def _remove(self, batch: Batch) -> None:
        for owner, upto in batch.inbox_upto.items():
            rows = self.inbox.get(owner, {})
            for q in [q for q in rows if q <= upto]:
                _drop(self.inbox, owner, q)
        for gone in batch.inbox_gone:
            _drop(self.inbox, gone.owner, gone.q)
        for forget in batch.sent_forget:
            for row in list(self.sent.get(forget.owner, {}).values()):
                if row.state in FINAL_STATES and row.final_us < forget.before_us:
                    _drop(self.sent, row.owner, row.id)
        for all_gone in batch.sent_forget_all:
            self.sent.pop(all_gone.owner, None)
            self.open.pop(all_gone.owner, None)
        for device in batch.devices_gone:
            _drop(self.devices, device.account, device.device)
        for pairs in batch.pairs_gone:
            self.pairs.pop(pairs.owner, None)
            self.owed.pop(pairs.owner, None)
        for old in batch.archive_forget:
            for id in [id for id in self.archive.get(old.owner, {}) if id < old.before_us]:
                _drop(self.archive, old.owner, id)
        for contact in batch.roster_gone:
            _drop(self.roster, contact.owner, contact.peer)
        for contacts in batch.roster_gone_all:
            self.roster.pop(contacts.owner, None)
        for document in batch.documents_gone:
            _drop(self.documents, document.owner, document.name)
        for documents in batch.documents_gone_all:
            self.documents.pop(documents.owner, None)
        for signup in batch.signups_gone:
            self.signups.pop(signup.number, None)
        for counters in batch.counters_gone:
            for key in [k for k, counter in self.counters.items() if counter.day < counters.day]:
                del self.counters[key]


def after_marks(row: SentRow, marks: SentMarks) -> SentRow:
    """The row of the sent log after SentMarks, if its id and peer are meant."""
    return _MARKS[marks.state](row, marks)


def _delivered(row: SentRow, marks: SentMarks) -> SentRow:
    if row.state != STORED:
        return row
    return replace(
        row,
        state=DELIVERED,
        delivered_us=row.delivered_us or marks.at_us,
        final_us=row.final_us or marks.at_us,
    )


def _read(row: SentRow, marks: SentMarks) -> SentRow:
    if row.state not in (STORED, DELIVERED):
        return row
    return replace(
        row,
        state=READ,
        delivered_us=row.delivered_us or marks.at_us,
        read_us=marks.at_us,
        final_us=row.final_us or marks.at_us,
    )


def _removed(row: SentRow, marks: SentMarks) -> SentRow:
    if row.state != STORED:
        return row
    return replace(row, state=REMOVED, code=marks.code, final_us=row.final_us or marks.at_us)


_MARKS: dict[int, Callable[[SentRow, SentMarks], SentRow]] = {
    DELIVERED: _delivered,
    READ: _read,
    REMOVED: _removed,
}


def _drop(table: dict[int, dict[K, V]], owner: int, key: K) -> None:
    """Remove one row; an owner without rows leaves nothing behind."""
    rows = table.get(owner)
    if rows is not None and rows.pop(key, None) is not None and not rows:
        del table[owner]
