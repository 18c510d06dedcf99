"""One transaction's worth of rows, coalesced by key. Filled by the node's interpreter.

Because keys only grow, a store applies a batch in this order whatever the order of its
effects: inserts and upserts, then changes, then removals. (Contacts and documents may return
after their removal: of them the last word counts, and "all gone" is the last word of an
account.) Law: a batch is a value once it was handed to a store; nobody touches it again.
"""

from collections.abc import Callable
from typing import Any

from whimbrel.domain.rows import (
    OPEN,
    STORED,
    AccountRow,
    ArchiveForget,
    ArchiveRow,
    CounterRow,
    CountersGone,
    DeadLetterRow,
    DeviceGone,
    DeviceKey,
    DeviceRow,
    DocumentGone,
    DocumentRow,
    DocumentsGone,
    InboxGone,
    InboxRow,
    InboxUpto,
    PairRow,
    PairsGone,
    RosterGone,
    RosterGoneAll,
    RosterRow,
    Row,
    SentForget,
    SentForgetAll,
    SentMarks,
    SentRow,
    SentState,
    SignupGone,
    SignupRow,
)


class Batch:
    """`touched`: every actor that ran, also those that wrote nothing, and the tenure (epoch of its
    shard) under which it had been loaded: the fence."""

    __slots__ = (
        "accounts",
        "archive",
        "archive_forget",
        "counters",
        "counters_gone",
        "dead_letters",
        "devices",
        "devices_gone",
        "devices_keys",
        "documents",
        "documents_gone",
        "documents_gone_all",
        "inbox",
        "inbox_gone",
        "inbox_upto",
        "number",
        "pairs",
        "pairs_gone",
        "roster",
        "roster_gone",
        "roster_gone_all",
        "rows",
        "sent",
        "sent_forget",
        "sent_forget_all",
        "sent_marks",
        "sent_states",
        "signups",
        "signups_gone",
        "touched",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = 0  # row operations asked for; an upper bound of what the store executes
        self.touched: dict[int, int] = {}
        self.accounts: dict[int, AccountRow] = {}
        self.archive: list[ArchiveRow] = []
        self.archive_forget: list[ArchiveForget] = []
        self.devices: dict[tuple[int, int], DeviceRow] = {}
        self.devices_gone: list[DeviceGone] = []
        self.devices_keys: list[DeviceKey] = []
        self.documents: dict[tuple[int, str], DocumentRow] = {}
        self.documents_gone: list[DocumentGone] = []
        self.documents_gone_all: list[DocumentsGone] = []
        self.sent: dict[tuple[int, int], SentRow] = {}
        self.sent_states: list[SentState] = []
        self.sent_marks: list[SentMarks] = []
        self.sent_forget: list[SentForget] = []
        self.sent_forget_all: list[SentForgetAll] = []
        self.inbox: dict[tuple[int, int], InboxRow] = {}
        self.inbox_gone: list[InboxGone] = []
        self.inbox_upto: dict[int, int] = {}  # owner -> upto
        self.pairs: dict[tuple[int, int], PairRow] = {}
        self.pairs_gone: list[PairsGone] = []
        self.roster: dict[tuple[int, int], RosterRow] = {}
        self.roster_gone: list[RosterGone] = []
        self.roster_gone_all: list[RosterGoneAll] = []
        self.signups: dict[str, SignupRow] = {}
        self.signups_gone: list[SignupGone] = []
        self.counters: dict[str, CounterRow] = {}
        self.counters_gone: list[CountersGone] = []
        self.dead_letters: list[DeadLetterRow] = []

    def add(self, row: Row) -> None:
        self.rows += 1
        ADD[type(row)](self, row)


def _account(batch: Batch, row: AccountRow) -> None:
    batch.accounts[row.id] = row


def _device(batch: Batch, row: DeviceRow) -> None:
    batch.devices[(row.account, row.device)] = row


def _device_gone(batch: Batch, row: DeviceGone) -> None:
    batch.devices.pop((row.account, row.device), None)
    batch.devices_gone.append(row)


def _device_key(batch: Batch, row: DeviceKey) -> None:
    batch.devices_keys.append(row)


def _archive(batch: Batch, row: ArchiveRow) -> None:
    batch.archive.append(row)


def _archive_forget(batch: Batch, row: ArchiveForget) -> None:
    batch.archive_forget.append(row)


def _roster(batch: Batch, row: RosterRow) -> None:
    """Unlike other keys, a contact that was removed may be listed again: the last word counts."""
    batch.roster_gone = [g for g in batch.roster_gone if (g.owner, g.peer) != (row.owner, row.peer)]
    batch.roster[(row.owner, row.peer)] = row


def _roster_gone(batch: Batch, row: RosterGone) -> None:
    batch.roster.pop((row.owner, row.peer), None)
    batch.roster_gone.append(row)


def _roster_gone_all(batch: Batch, row: RosterGoneAll) -> None:
    for key in [key for key in batch.roster if key[0] == row.owner]:
        del batch.roster[key]
    batch.roster_gone_all.append(row)


def _document(batch: Batch, row: DocumentRow) -> None:
    batch.documents_gone = [
        g for g in batch.documents_gone if (g.owner, g.name) != (row.owner, row.name)
    ]
    batch.documents[(row.owner, row.name)] = row


def _document_gone(batch: Batch, row: DocumentGone) -> None:
    batch.documents.pop((row.owner, row.name), None)
    batch.documents_gone.append(row)


def _documents_gone(batch: Batch, row: DocumentsGone) -> None:
    for key in [key for key in batch.documents if key[0] == row.owner]:
        del batch.documents[key]
    batch.documents_gone_all.append(row)


def _sent(batch: Batch, row: SentRow) -> None:
    batch.sent[(row.owner, row.id)] = row


def _sent_state(batch: Batch, row: SentState) -> None:
    """Folded into an insert of the same batch: so the body never reaches the sent log."""
    key = (row.owner, row.id)
    new = batch.sent.get(key)
    if new is None:
        batch.sent_states.append(row)
    elif new.state in (OPEN, STORED):
        batch.sent[key] = after_state(new, row)


def after_state(row: SentRow, change: SentState) -> SentRow:
    """The row of the sent log after SentState; the one definition of what it does."""
    state, at = change.state, change.at_us
    stored = state in (1, 2)
    return SentRow(
        row.owner,
        row.id,
        row.peer,
        row.device,
        row.c,
        row.hash,
        state,
        change.code,
        row.accepted_us,
        (row.stored_us or at) if stored else row.stored_us,
        at if state == 2 else row.delivered_us,
        row.read_us,
        at if state != 1 else 0,
        None,
        row.ref,
    )


def _sent_marks(batch: Batch, row: SentMarks) -> None:
    batch.sent_marks.append(row)


def _sent_forget(batch: Batch, row: SentForget) -> None:
    batch.sent_forget.append(row)


def _sent_forget_all(batch: Batch, row: SentForgetAll) -> None:
    batch.sent_forget_all.append(row)


def _inbox(batch: Batch, row: InboxRow) -> None:
    batch.inbox[(row.owner, row.q)] = row


def _inbox_gone(batch: Batch, row: InboxGone) -> None:
    if batch.inbox.pop((row.owner, row.q), None) is None:
        batch.inbox_gone.append(row)


def _inbox_upto(batch: Batch, row: InboxUpto) -> None:
    old = batch.inbox_upto.get(row.owner, 0)
    if row.upto > old:
        batch.inbox_upto[row.owner] = row.upto


def _pair(batch: Batch, row: PairRow) -> None:
    batch.pairs[(row.owner, row.peer)] = row


def _pairs_gone(batch: Batch, row: PairsGone) -> None:
    for key in [key for key in batch.pairs if key[0] == row.owner]:
        del batch.pairs[key]
    batch.pairs_gone.append(row)


def _signup(batch: Batch, row: SignupRow) -> None:
    batch.signups[row.number] = row


def _signup_gone(batch: Batch, row: SignupGone) -> None:
    batch.signups.pop(row.number, None)
    batch.signups_gone.append(row)


def _counter(batch: Batch, row: CounterRow) -> None:
    batch.counters[row.key] = row


def _counters_gone(batch: Batch, row: CountersGone) -> None:
    for key in [key for key, counter in batch.counters.items() if counter.day < row.day]:
        del batch.counters[key]
    batch.counters_gone.append(row)


def _dead_letter(batch: Batch, row: DeadLetterRow) -> None:
    batch.dead_letters.append(row)


# How each kind of row joins a batch; the interpreter uses it without a detour.
ADD: dict[type, Callable[[Batch, Any], None]] = {
    AccountRow: _account,
    DeviceRow: _device,
    DeviceGone: _device_gone,
    DeviceKey: _device_key,
    ArchiveRow: _archive,
    ArchiveForget: _archive_forget,
    RosterRow: _roster,
    RosterGone: _roster_gone,
    RosterGoneAll: _roster_gone_all,
    DocumentRow: _document,
    DocumentGone: _document_gone,
    DocumentsGone: _documents_gone,
    SentRow: _sent,
    SentState: _sent_state,
    SentMarks: _sent_marks,
    SentForget: _sent_forget,
    SentForgetAll: _sent_forget_all,
    InboxRow: _inbox,
    InboxGone: _inbox_gone,
    InboxUpto: _inbox_upto,
    PairRow: _pair,
    PairsGone: _pairs_gone,
    SignupRow: _signup,
    SignupGone: _signup_gone,
    CounterRow: _counter,
    CountersGone: _counters_gone,
    DeadLetterRow: _dead_letter,
}
