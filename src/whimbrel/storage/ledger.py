"""The ledger read as a whole: is every accepted message explained, and the story of one.

Reads both sides of a conversation in one snapshot, a slice of accounts at a time, on a
connection of its own, so that it works beside a running server and on a stopped one, and needs
no memory for a million accounts. Used by node/audit.py and node/trace.py. Law: bodies are
never read, only whether there is one.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import msgspec

from whimbrel.domain.errors import Unready
from whimbrel.domain.rows import OPEN, REFUSED, REMOVED
from whimbrel.storage.opening import FILE, check_file
from whimbrel.storage.reasons import reason
from whimbrel.storage.schema import refuse_newer, schema_of

OWNERS_SLICE = 200
INBOXES_MAX = 10
FINDINGS_MAX = 100  # listed; all are counted

# where an accepted message is, when all is well
CLASSES = ("under way", "waiting", "confirmed", "removed", "refused", "recipient gone")

_OWNERS = "SELECT id FROM account WHERE id>? ORDER BY id LIMIT ?"
_MARKED = """SELECT s.state, count(*) FROM sent s WHERE s.owner=?
 AND s.state IN (2, 3) GROUP BY s.state"""
_MARKS_WITHOUT_CONFIRM = """SELECT s.id, s.peer FROM sent s
 LEFT JOIN pair p ON p.owner=s.peer AND p.peer=s.owner
 LEFT JOIN account a ON a.id=s.peer
 WHERE s.owner=? AND s.state IN (2, 3) AND coalesce(p.delivered_id, 0) < s.id
 AND a.deleted=0 AND a.created_us<=s.accepted_us"""
_OTHERS = """SELECT s.id, s.peer, s.state, s.accepted_us, s.final_us, s.body IS NULL,
 a.deleted, a.created_us, p.delivered_id, p.removed
 FROM sent s LEFT JOIN account a ON a.id=s.peer
 LEFT JOIN pair p ON p.owner=s.peer AND p.peer=s.owner
 WHERE s.owner=? AND s.state NOT IN (2, 3)"""
_WAITING_FROM = "SELECT id FROM inbox WHERE owner=? AND peer=? AND kind=0"
_STRAYS = """SELECT i.id, i.peer, i.stored_us FROM inbox i
 LEFT JOIN sent s ON s.owner=i.peer AND s.id=i.id LEFT JOIN account a ON a.id=i.peer
 WHERE i.owner=? AND i.kind=0 AND s.id IS NULL AND a.deleted=0 AND a.created_us<=i.stored_us"""
_NUMBERS = """SELECT a.address, a.tail, a.waiting, a.deleted,
 (SELECT count(*) FROM inbox WHERE owner=a.id AND kind<=1),
 (SELECT max(confirmed) FROM device WHERE account=a.id),
 (SELECT min(confirmed) FROM device WHERE account=a.id),
 (SELECT max(q) FROM inbox WHERE owner=a.id),
 (SELECT min(q) FROM inbox WHERE owner=a.id AND kind<=1)
 FROM account a WHERE a.id=?"""


@dataclass(frozen=True)
class Finding:
    """Something that no rule explains. Account numbers and a message's id, never its text."""

    what: str
    sender: int = 0
    recipient: int = 0
    id: int = 0


@dataclass
class Audit:
    """messages: accepted ones; classes: how many of them are where; counters do not count."""

    accounts: int = 0
    messages: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    findings: list[Finding] = field(default_factory=list)
    inboxes: dict[str, int] = field(default_factory=dict)  # address -> waiting: the largest ones

    def find(self, what: str, sender: int = 0, recipient: int = 0, id: int = 0) -> None:
        self.unexplained += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(what, sender, recipient, id))

    def note_inbox(self, address: str, waiting: int) -> None:
        inboxes = self.inboxes
        inboxes[address] = waiting
        if len(inboxes) > INBOXES_MAX:
            del inboxes[min(inboxes, key=inboxes.__getitem__)]


@contextmanager
def opened(folder: Path) -> Iterator[apsw.Connection]:
    """The database, only to read. Raises Unready."""
    path = folder / FILE
    if not path.exists():
        raise Unready(f"there is no database in {folder}; name the data folder with --data")
    try:
        with closing(check_file(path)) as db:
            refuse_newer(schema_of(db, str(path)), str(path))
            yield db
    except apsw.Error as error:
        raise Unready(f"the database {path} cannot be read: {reason(error)}") from error


@contextmanager
def snapshot(db: apsw.Connection) -> Iterator[None]:
    """Everything read inside is of one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def audited(
    db: apsw.Connection, audit: Audit, now_us: int, patience_s: int, ledger_s: int
) -> Iterator[None]:
    """Fills `audit`, one slice of accounts a step, so that a caller can pause or stop.

    patience_s: how long an accepted message may be on its way; ledger_s: how long the sent
    log keeps what has ended.
    """
    last = -(2**63)
    while True:
        with snapshot(db):
            owners = [int(row[0]) for row in db.execute(_OWNERS, (last, OWNERS_SLICE))]
            for owner in owners:
                _sent(db, audit, owner, now_us - patience_s * 1_000_000)
                _inbox(db, audit, owner, now_us - ledger_s * 1_000_000)
        audit.accounts += len(owners)
        if len(owners) < OWNERS_SLICE:
            return
        last = owners[-1]
        yield


def _sent(db: apsw.Connection, audit: Audit, owner: int, late_us: int) -> None:
    """What this account has sent."""
    for _state, count in db.execute(_MARKED, (owner,)):
        audit.messages += int(count)
        audit.classes["confirmed"] += int(count)
    marked: list[Any] = db.execute(_MARKS_WITHOUT_CONFIRM, (owner,)).fetchall()
    for id, peer in marked:
        audit.classes["confirmed"] -= 1
        audit.find("two marks, but no device of the recipient confirmed it", owner, peer, id)
    waiting: dict[int, set[int]] = {}
    rows: list[Any] = db.execute(_OTHERS, (owner,)).fetchall()
    for id, peer, state, accepted_us, final_us, bare, gone, since_us, delivered, cut in rows:
        if state == REFUSED and final_us == accepted_us:
            continue  # never accepted: the submit itself was refused
        audit.messages += 1
        if state in (REMOVED, REFUSED):
            audit.classes["removed" if state == REMOVED else "refused"] += 1
        elif state == OPEN and bare:
            audit.find("on its way without its body", owner, peer, id)
        elif state == OPEN and accepted_us < late_us:
            audit.find("on its way beyond its deadline", owner, peer, id)
        elif state == OPEN:
            audit.classes["under way"] += 1
        elif gone is None or gone or since_us > accepted_us:
            audit.classes["recipient gone"] += 1
        elif delivered is not None and id <= delivered:
            audit.classes["confirmed"] += 1  # the receipt is on its way
        elif cut is not None and _covered(cut, id):
            audit.classes["removed"] += 1  # and its sender will hear it
        else:
            if peer not in waiting:
                found = db.execute(_WAITING_FROM, (peer, owner))
                waiting[peer] = {int(row[0]) for row in found}
            if id in waiting[peer]:
                audit.classes["waiting"] += 1
            else:
                audit.find("stored, but neither waiting nor confirmed: lost", owner, peer, id)


def _covered(removed: bytes, id: int) -> bool:
    parts: list[Any] = msgspec.msgpack.decode(removed) if removed else []
    return any(first <= id <= last for first, last, _code in parts)


def _inbox(db: apsw.Connection, audit: Audit, owner: int, forgotten_us: int) -> None:
    """What waits for this account, and its counters."""
    strays: list[Any] = db.execute(_STRAYS, (owner,)).fetchall()
    for id, peer, stored_us in strays:
        if stored_us > forgotten_us:
            audit.find("waits, but nobody sent it", peer, owner, id)
    numbers: Any = db.execute(_NUMBERS, (owner,)).fetchall()[0]
    address, tail, waiting, deleted, rows, confirmed, floor, highest, lowest = numbers
    if deleted:
        if rows:
            audit.find(f"{rows} messages wait for a deleted account", recipient=owner)
        return
    if waiting:
        audit.note_inbox(address, waiting)
    if waiting != rows:
        audit.find(f"the account counts {waiting} waiting, there are {rows}", recipient=owner)
    if (confirmed or 0) > tail or (highest or 0) > tail:
        audit.find("a number above the account's last one", recipient=owner)
    if floor is not None and lowest is not None and lowest <= floor:
        audit.find("confirmed by every device, but not wiped", recipient=owner)


# ---- one message ------------------------------------------------------------------------


class Traced(msgspec.Struct, frozen=True):
    """The durable facts about one message; times are microseconds, 0: not (yet), or unknown."""

    id: int
    sender: str
    sender_number: int
    device: int
    c: int
    recipient: str
    recipient_number: int
    state: int
    code: str
    accepted_us: int
    stored_us: int
    delivered_us: int
    read_us: int
    final_us: int
    has_body: bool
    q: int  # its place in the recipient's inbox; 0: none (any more)
    waits_since_us: int
    waits_with_body: bool
    stored_id: int  # the recipient's watermarks for this sender
    delivered_id: int
    read_id: int
    owed: bool  # a receipt that the sender has not acknowledged
    devices: list[tuple[int, int, int]]  # recipient's: number, confirmed, last seen


# An index lookup in each sender's log instead of a look at every row of all logs.
_TRACE = """SELECT s.owner, coalesce(o.address, ''), s.device, s.c, s.peer,
 coalesce(r.address, w.address, ''), s.state, s.code, s.accepted_us, s.stored_us,
 s.delivered_us, s.read_us, s.final_us, s.body IS NOT NULL,
 coalesce(p.stored_id, 0), coalesce(p.delivered_id, 0), coalesce(p.read_id, 0),
 coalesce(p.owed, 0)
 FROM account o CROSS JOIN sent s ON s.owner=o.id LEFT JOIN account r ON r.id=s.peer
 LEFT JOIN pair p ON p.owner=s.peer AND p.peer=s.owner
 LEFT JOIN pair w ON w.owner=s.owner AND w.peer=s.peer WHERE s.id=?"""
_PLACE = """SELECT q, stored_us, body IS NOT NULL FROM inbox
 WHERE owner=? AND peer=? AND id=? AND kind=0"""
_DEVICES = "SELECT device, confirmed, last_seen_us FROM device WHERE account=? ORDER BY device"


def traced(db: apsw.Connection, id: int) -> list[Traced]:
    """Every message of this id: ids are one sender's, two senders may share one."""
    with snapshot(db):
        return [_traced(db, id, row) for row in db.execute(_TRACE, (id,)).fetchall()]


def _traced(db: apsw.Connection, id: int, row: Any) -> Traced:
    owner, sender, device, c, peer, recipient, *facts = row
    state, code, accepted, stored, delivered, read, final, body, *marks = facts
    places: list[Any] = db.execute(_PLACE, (peer, owner, id)).fetchall()
    q, since_us, waits_with_body = places[0] if places else (0, 0, False)
    devices: list[Any] = db.execute(_DEVICES, (peer,)).fetchall()
    return Traced(
        id, sender, owner, device, c, recipient, peer, state, code, accepted, stored, delivered,
        read, final, bool(body), q, since_us, bool(waits_with_body), marks[0], marks[1], marks[2],
        bool(marks[3]), [(int(d), int(q), int(at)) for d, q, at in devices],
    )  # fmt: skip
