"""A large installation on SQLite, made fast: what people who have talked for a while leave behind.

Everybody has an account, a phone, a pair with one other, messages sent to that one (all but the
last delivered), and some a message that waits, a contact, a card, a line of the archive. Rows are
those of domain/rows.py in the real tables, and `whimbrel audit` finds nothing wrong with them.
Used by bench/migration.py.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec
from msgspec.structs import astuple

from bench.accounts import address_of, key_of
from whimbrel.domain.ids import account_number, submit_hash
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import (
    DELIVERED,
    LISTED,
    MESSAGE,
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
    Row,
    SentRow,
    SignupRow,
)
from whimbrel.node.secret_files import scram_keeper
from whimbrel.protocol import wire
from whimbrel.storage.opening import FILE
from whimbrel.storage.sqlite import SqliteStore

_pack = msgspec.msgpack.Encoder().encode
STEP_US = 1_000  # between two people's first messages
AGE_US = 86_400_000_000  # of the oldest: younger than anything that expires
DEAD_LETTERS = 100


class Plan(NamedTuple):
    """How many rows of which kind. `users` is a multiple of 10."""

    users: int
    rows: int
    sent: int
    since_us: int

    @classmethod
    def of(cls, users: int, rows: int) -> "Plan":
        """Raises ValueError if so many rows are too few for so many people."""
        others = 3 * users + users // 5 * 4 + users // 10 + users // 500 + DEAD_LETTERS
        plan = cls(users, rows, rows - others, int(time.time() * 1e6) - AGE_US)
        if users % 10 or plan.sent < users:
            raise ValueError(f"{users:,} (a multiple of 10) people need {others + users:,} rows")
        return plan

    def sent_by(self, n: int) -> int:
        """Messages to n's peer; at least one."""
        return self.sent // self.users + (n < self.sent % self.users)

    def waiting_for(self, n: int) -> int:
        return int(n % 5 < 2)

    def id_of(self, n: int, c: int) -> int:
        return self.since_us + n * STEP_US + c

    def delivered_by(self, n: int) -> int:
        """How many of n's messages its peer has confirmed."""
        return self.sent_by(n) - self.waiting_for(peer_of(n))


def peer_of(n: int) -> int:
    return n ^ 1


def body_of(n: int, c: int) -> bytes:
    return _pack(wire.Content(text=f"{address_of(n)} says for the {c}th time that it is fine"))


class Someone(NamedTuple):
    n: int
    number: int
    address: str
    peer: int
    peer_address: str


def everybody(users: int) -> list[Someone]:
    """In the order of their numbers, in which tables are written fastest."""
    numbers = [account_number(address_of(n)) for n in range(users)]
    order = sorted(range(users), key=numbers.__getitem__)
    return [
        Someone(n, numbers[n], address_of(n), numbers[peer_of(n)], address_of(peer_of(n)))
        for n in order
    ]


def make(folder: Path, plan: Plan) -> int:
    """Write it. Bytes of the database."""
    store = SqliteStore(folder, _nothing, Limits())
    store.close()
    scram_keeper(folder)  # its secret is one of those that move
    db = apsw.Connection(str(folder / FILE))
    db.execute(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000"
    )
    people = everybody(plan.users)
    db.execute("BEGIN")
    for table, rows in (
        ("account", _each(people, plan, _account)),
        ("device", _each(people, plan, _device)),
        ("pair", _each(people, plan, _pair)),
        ("sent", _each(people, plan, _sent)),
        ("inbox", _each(people, plan, _inbox)),
        ("roster", _each(people, plan, _roster)),
        ("document", _each(people, plan, _document)),
        ("archive", _each(people, plan, _archive)),
        ("signup", _signups(plan)),
        ("counter", _counters(plan)),
        ("dead_letter", _dead_letters(plan)),
    ):
        _write(db, table, rows)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return (folder / FILE).stat().st_size


def _nothing(call: Callable[[], None]) -> None:
    call()


def _write(db: apsw.Connection, table: str, rows: Iterator[Row]) -> None:
    first = next(rows)
    names = type(first).__struct_fields__
    marks = ",".join("?" for _ in names)
    statement = f"INSERT INTO {table}({','.join(names)}) VALUES({marks})"
    db.execute(statement, astuple(first))
    db.executemany(statement, map(astuple, rows))


Maker = Callable[[Someone, Plan], Iterable[Row]]


def _each(people: list[Someone], plan: Plan, maker: Maker) -> Iterator[Row]:
    for who in people:
        yield from maker(who, plan)


def _account(who: Someone, plan: Plan) -> Iterable[Row]:
    last, tail = plan.id_of(who.n, plan.sent_by(who.n)), plan.sent_by(peer_of(who.n))
    contacts, waiting = int(who.n % 5 == 0), plan.waiting_for(who.n)
    yield AccountRow(
        who.number, who.address, plan.since_us, last, tail, waiting, 1, last, 0, 0, False,
        who.n % 7 == 0, contacts,
    )  # fmt: skip


def _device(who: Someone, plan: Plan) -> Iterable[Row]:
    count = plan.sent_by(who.n)
    last = plan.id_of(who.n, count)
    confirmed = plan.delivered_by(peer_of(who.n))
    key_hash = sha256(key_of(who.n).encode()).digest()
    yield DeviceRow(who.number, 1, key_hash, "phone", count, last, confirmed, 1, last)


def _pair(who: Someone, plan: Plan) -> Iterable[Row]:
    n, peer = who.n, peer_of(who.n)
    mine, theirs = plan.delivered_by(n), plan.delivered_by(peer)
    seen = plan.id_of(peer, theirs) if theirs else 0
    shown = plan.id_of(n, mine) if mine else 0
    yield PairRow(
        who.number, who.peer, who.peer_address, True, False, plan.id_of(peer, plan.sent_by(peer)),
        b"\x90", seen, 0, b"\x90", seen, 0, False, shown, 0, 0, 0, b"\x90",
    )  # fmt: skip


def _sent(who: Someone, plan: Plan) -> Iterable[Row]:
    delivered = plan.delivered_by(who.n)
    for c in range(1, plan.sent_by(who.n) + 1):
        id = plan.id_of(who.n, c)
        done = c <= delivered
        yield SentRow(
            who.number, id, who.peer, 1, c, submit_hash(who.peer_address, body_of(who.n, c)),
            DELIVERED if done else STORED, "", id, id, id if done else 0, 0, id if done else 0,
            None,
        )  # fmt: skip


def _inbox(who: Someone, plan: Plan) -> Iterable[Row]:
    peer = peer_of(who.n)
    for c in range(plan.delivered_by(peer) + 1, plan.sent_by(peer) + 1):
        id = plan.id_of(peer, c)
        yield InboxRow(
            who.number, c, MESSAGE, who.peer, id, 1, c, 0, "", id, body_of(peer, c)
        )  # fmt: skip


def _roster(who: Someone, plan: Plan) -> Iterable[Row]:
    if who.n % 5 == 0:
        yield RosterRow(
            who.number, who.peer, who.peer_address, "Peer ä", _pack(["Friends"]), LISTED | 3, b""
        )


def _document(who: Someone, plan: Plan) -> Iterable[Row]:
    if who.n % 10 == 0:
        card = f"<vCard xmlns='vcard-temp'><FN>{who.address}</FN></vCard>".encode()
        yield DocumentRow(who.number, "vcard-temp", plan.since_us, card)


def _archive(who: Someone, plan: Plan) -> Iterable[Row]:
    if who.n % 5 == 1:
        id, body = plan.id_of(who.n, 1), body_of(who.n, 1)
        yield ArchiveRow(who.number, id, who.peer, who.peer_address, True, body)


def _signups(plan: Plan) -> Iterator[Row]:
    for n in range(plan.users // 1_000):
        pin = sha256(b"%d" % n).digest()
        yield SignupRow(f"+491600{n:07d}", pin, plan.since_us, n % 3, 1, plan.since_us, 20_000, 1)


def _counters(plan: Plan) -> Iterator[Row]:
    for n in range(plan.users // 1_000):
        yield CounterRow(f"addr:2001:db8::{n:x}", 20_000, n % 5)


def _dead_letters(plan: Plan) -> Iterator[Row]:
    for n in range(DEAD_LETTERS):
        yield DeadLetterRow(1 << 40, "Deliver", "from somebody", "ValueError", plan.since_us + n)
