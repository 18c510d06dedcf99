"""The witness: checks the laws from outside, while a world runs.

It stands between the rules and the disk (every commit) and between the server and the
devices (every answer), and believes only what is committed. A check that fails raises
Broken, which names the law and the checker.
"""

from collections.abc import Callable
from typing import Any

from tests.world import Phone, World
from whimbrel.domain import answers as a
from whimbrel.domain.batch import Batch
from whimbrel.domain.rows import MESSAGE, RECEIPT, TRIM
from whimbrel.domain.user import User
from whimbrel.domain.wants import UserWant
from whimbrel.logic import user as user_rules
from whimbrel.storage.memory_rows import Tables
from whimbrel.storage.memory_wants import read


class Broken(AssertionError):
    """A law is broken; `checker` says which check noticed."""

    def __init__(self, law: int, checker: str, message: str) -> None:
        super().__init__(f"law {law}, {checker}: {message}")
        self.law = law
        self.checker = checker
        self.message = message


def check(law: int, checker: str, holds: object, message: str) -> None:
    if not holds:
        raise Broken(law, checker, message)


class Witness:
    """Watches the commits of a world's disk, and what the phones it is shown are told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.touched: dict[int, int] = {}  # by the newest commit
        self.last_q: dict[int, int] = {}
        self.last_id: dict[int, int] = {}
        self.on_commit: Callable[[Batch], None] = lambda batch: None
        self.watch_disk()

    def watch_disk(self) -> None:
        """(Again, after other tables were put on the disk.)"""
        tables = self.world.disk.tables
        apply = tables.apply

        def watched(batch: Batch, dead_letters_max: int) -> None:
            doomed = self._doomed(tables, batch)
            apply(batch, dead_letters_max)
            self.committed(tables, batch, doomed)
            self.on_commit(batch)

        tables.apply = watched  # type: ignore[method-assign]

    def watch(self, phone: Phone) -> None:
        deliver = phone.deliver

        def watched(answer: a.ToSession) -> None:
            self.told(phone, answer)
            deliver(answer)

        phone.deliver = watched  # type: ignore[method-assign]

    # ---- commits -------------------------------------------------------------------------

    def _doomed(self, tables: Tables, batch: Batch) -> list[tuple[int, int]]:
        """Messages that this batch removes from inboxes: (owner, q)."""
        doomed = [
            (owner, q)
            for owner, upto in batch.inbox_upto.items()
            for q, row in tables.inbox.get(owner, {}).items()
            if q <= upto and row.kind == MESSAGE
        ]
        for gone in batch.inbox_gone:
            row = tables.inbox.get(gone.owner, {}).get(gone.q)
            if row is not None and row.kind == MESSAGE:
                doomed.append((gone.owner, gone.q))
        return doomed

    def committed(self, tables: Tables, batch: Batch, doomed: list[tuple[int, int]]) -> None:
        self.touched = batch.touched
        for owner, q in sorted(batch.inbox):
            newer = q > self.last_q.get(owner, 0)
            check(2, "numbers are given once", newer, f"inbox number {q} was given twice")
            self.last_q[owner] = q
        for owner, id in sorted(batch.sent):
            newer = id > self.last_id.get(owner, 0)
            check(3, "ids rise", newer, f"id {id} after {self.last_id.get(owner)}")
            self.last_id[owner] = id
        for owner, q in doomed:
            check(
                4,
                "nothing is wiped unconfirmed",
                _may_go(tables, owner, q),
                f"message {q} left the inbox, but not every device has confirmed it",
            )
        for owner, _device in batch.devices:
            self._wiped(tables, owner)
        self._bounds()

    def _wiped(self, tables: Tables, owner: int) -> None:
        floor = _floor(tables, owner)
        left = [
            q
            for q, row in tables.inbox.get(owner, {}).items()
            if row.kind == MESSAGE and q <= floor
        ]
        check(4, "what all have confirmed is wiped", not left, f"messages {left} are still there")

    def _bounds(self) -> None:
        """What is in memory stays inside the limits."""
        limits = self.world.limits
        for cell in self.world.engine.cells.values():
            if not isinstance(cell.state, User):
                continue
            for att in cell.state.attached.values():
                count = len(att.flights)
                holds = count <= limits.window_items_max
                check(5, "the window holds", holds, f"{count} items are unconfirmed")
            for pair in cell.state.pairs.values():
                tried = sum(1 for entry in pair.open.values() if entry.attempts)
                holds = tried <= limits.open_per_peer_max
                check(5, "few are under way to one peer", holds, f"{tried} at once")

    # ---- answers -------------------------------------------------------------------------

    def told(self, phone: Phone, answer: a.ToSession) -> None:
        if isinstance(answer, a.UnknownSession):
            return  # promises nothing
        tables, number = self.world.disk.tables, phone.number
        world = phone.world
        owner = world.store._epoch == world.disk.epoch
        check(6, "only the owner answers", owner, f"a node that lost its lease said {answer}")
        _TOLD.get(type(answer), _anything)(tables, phone, answer)
        covered = number in self.touched
        check(6, "the fence covers who answers", covered, "the actor is not in the batch")


USER = ("exists", "deleted", "address", "tail", "waiting", "last_device", "last_id", "open_count")
DEVICE = ("key_hash", "name", "submitted", "confirmed", "ordinal")
PAIR = (
    "address",
    "wrote",
    "blocked",
    "stored_id",
    "ring",
    "delivered_id",
    "read_id",
    "acked_delivered_id",
    "acked_read_id",
    "peer_delivered_id",
    "peer_read_id",
    "peer_removed_id",
    "receipt_q",
)


def check_memory(world: World) -> None:
    """At rest, what an actor knows is what it would know if it were loaded again."""
    tables = world.disk.tables
    for account in tables.accounts.values():
        kinds = [(row.kind, row.peer) for row in tables.inbox.get(account.id, {}).values()]
        count = sum(1 for kind, _ in kinds if kind == MESSAGE)
        true = account.waiting == count
        check(5, "the inbox is counted", true, f"{account.waiting} counted, {count} wait")
        marks = [peer for kind, peer in kinds if kind == RECEIPT]
        check(5, "one receipt a peer", len(marks) == len(set(marks)), f"{len(marks)} receipts wait")
    for cell in world.engine.cells.values():
        known = cell.state
        if not isinstance(known, User):
            continue
        fresh = user_rules.new(cell.key)
        want = UserWant(cell.key, tuple(sorted(known.pairs)))
        user_rules.fill(fresh, read(world.disk.tables, want))
        _same(known, fresh, USER)
        check(
            2,
            "memory is what the rows say",
            known.devices.keys() == fresh.devices.keys(),
            "devices",
        )
        for number, device in known.devices.items():
            _same(device, fresh.devices[number], DEVICE)
        for peer, pair in known.pairs.items():
            _same(pair, fresh.pairs[peer], PAIR)
            opened = list(pair.open) == list(fresh.pairs[peer].open)
            check(2, "memory is what the rows say", opened, "open rows")
            removed = [tuple(part) for part in pair.removed]
            same = removed == [tuple(part) for part in fresh.pairs[peer].removed]
            check(2, "memory is what the rows say", same, "removed ranges")


def _same(known: object, fresh: object, names: tuple[str, ...]) -> None:
    for name in names:
        old, new = getattr(known, name), getattr(fresh, name)
        check(2, "memory is what the rows say", old == new, f"{name}: {old} but {new} on disk")


def _floor(tables: Tables, owner: int) -> int:
    """What every device of the account has confirmed."""
    devices = tables.devices.get(owner, {}).values()
    tail = tables.accounts[owner].tail if owner in tables.accounts else 0
    return min((device.confirmed for device in devices), default=tail)


def _may_go(tables: Tables, owner: int, q: int) -> bool:
    """Confirmed by all, or removed aloud (a TRIM item says so), or the account is gone."""
    if q <= _floor(tables, owner) or tables.accounts[owner].deleted:
        return True
    rows = tables.inbox.get(owner, {}).values()
    return any(row.kind == TRIM and row.id <= q <= row.extra for row in rows)


def _anything(tables: Tables, phone: Phone, answer: Any) -> None:
    """No promise beside the fence."""


def _stored(tables: Tables, phone: Phone, answer: a.Stored) -> None:
    held = answer.id in tables.sent.get(phone.number, {})
    check(1, "one check mark is on disk", held, f"message {answer.id} is not in the sent log")


def _welcome(tables: Tables, phone: Phone, answer: a.Welcome) -> None:
    row = tables.devices.get(phone.number, {}).get(phone.device)
    held = row is not None and row.ordinal >= answer.ordinal
    check(1, "a welcome is on disk", held, f"ordinal {answer.ordinal} is not written")


def _item(tables: Tables, phone: Phone, item: a.Item) -> None:
    tail = tables.accounts[phone.number].tail
    check(1, "an item is on disk", item.q <= tail, f"item {item.q} after the tail {tail}")
    device = tables.devices.get(phone.number, {}).get(phone.device)
    confirmed = device.confirmed if device else item.q
    if item.kind == MESSAGE:
        held = item.q in tables.inbox.get(phone.number, {}) or item.q <= confirmed
        check(1, "an item is on disk", held, f"message {item.q} is not in the inbox")
    elif item.kind == RECEIPT:
        _marks(tables, phone, item)


def _marks(tables: Tables, phone: Phone, item: a.Item) -> None:
    for peer, pairs in tables.pairs.items():
        account = tables.accounts.get(peer)
        if account is None or account.deleted or account.address != item.address:
            continue
        pair = pairs.get(phone.number)
        delivered, read = (pair.delivered_id, pair.read_id) if pair else (0, 0)
        check(1, "two marks are true", item.id <= delivered, f"{item.id} is not confirmed")
        check(1, "blue marks are true", item.extra <= read, f"{item.extra} was not read")


_TOLD: dict[type, Any] = {a.Stored: _stored, a.Welcome: _welcome, a.Item: _item}
