"""What can be read from a store. Each want names its answer's shape.

A rule that lacks something raises NotLoaded(want) *before it changes anything*; the runtime
reads it and calls the rule again. Reads see only committed rows, and only run when no
uncommitted batch touches the owner, except for wants that are `settled`.
"""

from typing import ClassVar

import msgspec

from whimbrel.domain.rows import (
    AccountRow,
    ArchiveRow,
    CounterRow,
    DeadLetterRow,
    DeviceRow,
    PairRow,
    SentRow,
    SignupRow,
)


class Want(msgspec.Struct, frozen=True):
    """Base; hashable, so that a wanted fact is a key.

    settled: its owner has written nothing of it that might not be committed yet.
    """

    settled: ClassVar[bool] = False


class UserWant(Want, frozen=True):
    """-> UserRows, for waking an actor. `peers`: pairs that will be needed at once."""

    number: int
    peers: tuple[int, ...] = ()


class PairRows(msgspec.Struct):
    """row: None if the two never met. address: the peer's, "" if it has no account."""

    row: PairRow | None
    address: str


class UserRows(msgspec.Struct):
    account: AccountRow | None
    devices: list[DeviceRow]
    open: list[SentRow]  # rows in state OPEN, with bodies, by rising id
    pairs: dict[int, PairRows]  # the wanted ones, of open rows, and those that owe a receipt


class PairWant(Want, frozen=True):
    """-> PairRows."""

    owner: int
    peer: int


class SettledPairWant(PairWant, frozen=True):
    """The same, for a pair that the owner has not touched since it woke."""

    settled: ClassVar[bool] = True


class FlightsWant(Want, frozen=True):
    """-> list of (q, kind, peer, id), rising: inbox rows (after, upto], at most `limit`."""

    owner: int
    after: int
    upto: int
    limit: int


class OldestWant(Want, frozen=True):
    """-> list of (q, kind, peer, id, stored_us), rising: the first rows with a body, q > after."""

    owner: int
    after: int
    limit: int


class SentWant(Want, frozen=True):
    """-> SentRow | None: the row of one submit number."""

    owner: int
    device: int
    c: int


class RefsWant(Want, frozen=True):
    """-> list of (id, ref), rising: the sent rows to `peer` with after < id <= upto and a ref.
    At most `limit`, the newest of them.
    """

    owner: int
    peer: int
    after: int
    upto: int
    limit: int


class RosterWant(Want, frozen=True):
    """-> list of RosterRow, by peer."""

    owner: int


class ArchiveWant(Want, frozen=True):
    """-> ArchivePage: rows with after < id < before, of one peer (0: of all), at most `limit`,
    the oldest of them, or with `last` the newest. ids: only these.
    """

    owner: int
    peer: int
    after: int
    before: int
    limit: int
    last: bool = False
    ids: tuple[int, ...] = ()


class ArchivePage(msgspec.Struct):
    """rows: rising. count: of all that match, whatever the limit. more: some were left out."""

    rows: list[ArchiveRow]
    count: int
    more: bool


class OwnersArchive(Want, frozen=True):
    """-> list of owners of archive rows from before before_us (oldest rows first)."""

    before_us: int
    limit: int


class DocumentWant(Want, frozen=True):
    """-> DocumentRow | None."""

    owner: int
    name: str


class DocumentsWant(Want, frozen=True):
    """-> dict of name -> bytes: how much is kept under which name."""

    owner: int


class BlockedWant(Want, frozen=True):
    """-> list of addresses that the owner has blocked, sorted."""

    owner: int


class InboxWant(Want, frozen=True):
    """-> InboxRows: rows (after, upto] with bodies, at most `limit` and about `bytes`."""

    owner: int
    after: int
    upto: int
    limit: int
    bytes: int


class DeskWant(Want, frozen=True):
    """-> DeskRows: all that the sign-up desk remembers."""


class DeskRows(msgspec.Struct):
    signups: list[SignupRow]
    counters: list[CounterRow]


# ---- scans: who has work that nobody would wake it for ----------------------------------


class OwnersOpen(Want, frozen=True):
    """-> list of account numbers > after with open rows or owed receipts, rising."""

    after: int
    limit: int


class OwnersExpired(Want, frozen=True):
    """-> list of owners of inbox rows with a body, stored before before_us (oldest rows first)."""

    before_us: int
    limit: int


class OwnersLedger(Want, frozen=True):
    """-> list of owners of final sent rows whose final_us < before_us (oldest rows first)."""

    before_us: int
    limit: int


class Accounts(Want, frozen=True):
    """-> list of AccountRow with address > after, by address, without tombstones.

    prefix: only addresses that begin so.
    """

    after: str
    limit: int
    prefix: str = ""


class DeadLetters(Want, frozen=True):
    """-> list of DeadLetterRow, newest first."""

    limit: int


class Totals(Want, frozen=True):
    """-> dict of counts: accounts, devices, inbox, open, dead_letters, data_bytes."""


class NotLoaded(Exception):
    """Raised by a rule, before any change, for facts that have to be read first."""

    def __init__(self, *wants: Want) -> None:
        super().__init__(*wants)
        self.wants = wants


__all__ = [
    "AccountRow",
    "Accounts",
    "ArchivePage",
    "ArchiveWant",
    "BlockedWant",
    "CounterRow",
    "DeadLetterRow",
    "DeadLetters",
    "DeskRows",
    "DeskWant",
    "DeviceRow",
    "DocumentWant",
    "DocumentsWant",
    "FlightsWant",
    "InboxWant",
    "NotLoaded",
    "OldestWant",
    "OwnersArchive",
    "OwnersExpired",
    "OwnersLedger",
    "OwnersOpen",
    "PairRow",
    "PairRows",
    "PairWant",
    "RefsWant",
    "RosterWant",
    "SentRow",
    "SentWant",
    "SettledPairWant",
    "SignupRow",
    "Totals",
    "UserRows",
    "UserWant",
    "Want",
]
