"""Rows to write in tests: every field has a value that can be told from the others."""

from msgspec.structs import replace

from whimbrel.domain.rows import (
    MESSAGE,
    OPEN,
    AccountRow,
    CounterRow,
    DeadLetterRow,
    DeviceRow,
    InboxRow,
    PairRow,
    SentRow,
    SignupRow,
)

ALICE, BOB, CARL = 1 << 40, (1 << 40) + 7, (1 << 62) + 11
NAMES = {ALICE: "alice", BOB: "bob", CARL: "carl"}


def account(id: int, **changes: object) -> AccountRow:
    row = AccountRow(id, NAMES.get(id, f"user{id}"), 1, 2, 3, 4, 5, 6, 7, 8)
    return replace(row, **changes)


def device(account: int, number: int = 1, **changes: object) -> DeviceRow:
    return replace(DeviceRow(account, number, b"k" * 32, "phone", 2, 3, 4, 5, 6), **changes)


def sent(owner: int, id: int, peer: int, **changes: object) -> SentRow:
    row = SentRow(owner, id, peer, 1, id, -5, OPEN, "", 100 + id, 0, 0, 0, 0, b"body %d" % id)
    return replace(row, **changes)


def inbox(owner: int, q: int, **changes: object) -> InboxRow:
    row = InboxRow(owner, q, MESSAGE, ALICE, 1000 + q, 1, q, 0, "", 100 + q, b"body %d" % q)
    return replace(row, **changes)


def pair(owner: int, peer: int, **changes: object) -> PairRow:
    row = PairRow(
        owner=owner,
        peer=peer,
        address=NAMES[peer],
        wrote=True,
        blocked=False,
        stored_id=3,
        ring=b"\x90",
        delivered_id=4,
        read_id=5,
        removed=b"\x91",
        acked_delivered_id=6,
        acked_read_id=7,
        owed=False,
        peer_delivered_id=8,
        peer_read_id=9,
        receipt_q=10,
    )
    return replace(row, **changes)


def signup(number: str, **changes: object) -> SignupRow:
    return replace(SignupRow(number, b"hash", 1, 2, 3, 4, 5, 6), **changes)


def counter(key: str, day: int, used: int = 1) -> CounterRow:
    return CounterRow(key, day, used)


def dead_letter(at_us: int) -> DeadLetterRow:
    return DeadLetterRow(ALICE, "Deliver", "from bob", "ValueError", at_us)
