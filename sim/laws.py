"""The checkers: what people saw and what the disk holds, against the laws of DESIGN.md.

Nothing here asks the code under test. `Broken` carries the law's number, so that a planted
bug can be shown to be caught by the right one.
"""

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from sim.client import identity_of, is_client
from sim.time import START_US
from sim.xmpp_laws import XMPP, XmppLaws
from whimbrel.domain.batch import Batch
from whimbrel.domain.errors import UNDELIVERABLE
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Deliver
from whimbrel.domain.rows import COPY, FAILURE, FINAL_STATES, MESSAGE, OFFLINE, OPEN, OWN
from whimbrel.protocol import wire

if TYPE_CHECKING:
    from sim.device import SimDevice
    from sim.node import SimNode
    from sim.world import SimWorld

# what a phone may hear when machines or networks fail
EXPECTED = {"not-authorized", "try-again", "idle-timeout", "hello-timeout", "shutting-down"}
TRIES_US = 60_000_000
TRIES_MAX = 30  # of one message in that time, with every other reason to try again
Identity = tuple[str, int, int]  # sender's account, its device, c


class Broken(AssertionError):
    def __init__(self, law: int, what: str, detail: str = "") -> None:
        super().__init__(f"law {law}: {what}" + (f": {detail}" if detail else ""))
        self.law = law
        self.what = what


class Laws:
    def __init__(self, world: "SimWorld") -> None:
        self.world = world
        self.checks = 0
        self.acknowledged: dict[Identity, int] = {}  # -> id
        self.told_failed: set[Identity] = set()
        self.screens: dict[str, set[Identity]] = defaultdict(set)  # by device name
        self.confirmed: dict[int, dict[int, int]] = defaultdict(dict)  # account -> device -> q
        self.seen_by: dict[Identity, set[int]] = defaultdict(set)  # recipient's devices
        self.where: dict[tuple[int, str, int], int] = {}  # (recipient, sender, id) -> q
        self.ids: dict[int, set[int]] = defaultdict(set)
        self.revoked: set[str] = set()  # names of devices whose key was taken
        self.signing_up: set[str] = set()  # accounts that got, or may have got, another key
        self.restored = False
        self.ranges: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self.refused: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self.start: dict[int, dict[int, int]] = defaultdict(dict)  # where devices began
        self.tries: dict[tuple[int, int, int, int], deque[int]] = defaultdict(deque)
        self._last_c: dict[tuple[str, str, int], int] = {}
        self.xmpp = XmppLaws(self)

    def check(self, law: int, what: str, holds: bool, detail: str = "") -> None:
        self.checks += 1
        if not holds:
            raise Broken(law, what, detail)

    # ---- what devices hear ---------------------------------------------------------------

    def heard(self, device: "SimDevice", m: Any) -> None:
        if isinstance(m, wire.Stored):
            self._stored(device, m)
        elif isinstance(m, wire.Receipt):
            self._receipt(device, m)
        elif isinstance(m, wire.Refused):
            fine = m.code in ("gap", "busy", "rate-limited", "unknown-recipient")
            fine = fine or self.restored  # a number may be used up in the backup's future
            self.check(2, "a device that behaves is not refused", fine, f"{device.name} {m}")
        elif isinstance(m, wire.Error):
            fine = m.code in EXPECTED
            # read, but the first message of that person is in the future of the backup
            fine = fine or (self.restored and m.code == "unknown-recipient" and m.about == "read")
            self.check(7, "nobody who behaves hears an error", fine or m.code == "internal", m.code)
            self.check(7, "no bug of the server comes to light", m.code != "internal", str(m))

    def _stored(self, device: "SimDevice", m: wire.Stored) -> None:
        """One check mark: it is on the disk, under this very id."""
        who = (device.account, device.number, m.c)
        row = self.world.disk.tables.sent.get(device.actor, {}).get(m.id)
        late = self.restored  # said before the restore, heard after it
        self.check(1, "a check mark is on disk", row is not None or late, f"{who} id {m.id}")
        if row is not None and not late:
            self.check(1, "a check mark is its own message's", row.c == m.c, str(who))
        known = self.acknowledged.get(who)
        self.check(2, "an id is given once", known in (None, m.id) or late, str(who))
        self.acknowledged[who] = m.id

    def _receipt(self, device: "SimDevice", m: wire.Receipt) -> None:
        """Two check marks: a device of the recipient has confirmed it."""
        peer = account_number(m.peer)
        for sent in device.sent:
            if sent.to != m.peer or not sent.id or sent.id > m.delivered or self.restored:
                continue
            if sent.c in device.believed:
                continue
            who = (device.account, device.number, sent.c)
            if sent.code or self._failed(who, sent.id):
                continue
            q = self.where.get((peer, device.account, sent.id))
            if q is None:
                self.check(2, "two marks only for what was stored", False, f"{who}")
            seen = any(done >= (q or 0) for done in self.confirmed[peer].values())
            self.check(2, "two marks only after a confirm", seen, f"{who} q {q}")
            device.believed.add(sent.c)

    def follows(self, device: "SimDevice", prev: int, q: int) -> None:
        self.check(3, "no gap in a stream", prev <= device.last, f"{prev} after {device.last}")

    def shown(self, device: "SimDevice", m: wire.Message, text: str) -> None:
        who = (m.sender, m.device, m.c)
        said = identity_of(text)
        if said is not None and is_client(said[1]):  # the server has numbers of its own for it
            self.check(2, "shown as it was written", said[0] == m.sender, text)
            who = said
        screen = self.screens[device.name]
        self.check(2, "shown once", who not in screen, f"{who} at {device.name}")
        screen.add(who)
        self.seen_by[who].add(device.number)
        self.check(2, "shown as it was written", text == _text(*who), f"{who}: {text}")
        line = (device.name, m.sender, who[1])
        before = self._last_c.get(line, 0)
        self.check(3, "in the order of sending", who[2] > before, f"{who} after {before} at {line}")
        self._last_c[line] = who[2]
        tables = self.world.disk.tables
        row = tables.inbox.get(device.actor, {}).get(m.q)
        gone = any(done >= m.q for done in self.confirmed[device.actor].values())
        self.check(
            1, "an item is on disk", row is not None or gone or self.restored, f"{who} q {m.q}"
        )

    def failed(self, device: "SimDevice", m: wire.Failed) -> None:
        who = (device.account, m.device, m.c)
        self.told_failed.add(who)
        if m.code == "expired":  # an id is the time of its acceptance, on some node's clock
            age_us = START_US + self.world.time.now_us - m.id
            old = age_us + 15_000_000 >= self.world.limits.inbox_expiry_s * 1_000_000
            self.check(2, "nothing expires before its time", old, f"{who} {age_us}")
        if m.code == "trimmed":
            self.check(5, "trimmed only at the cap", self.world.small_inboxes, str(who))
        if m.code == UNDELIVERABLE and m.first:
            self.refused[device.account, m.peer].append((m.first, m.id))
        if m.first:  # may be heard before the answer that gave a message its id
            self.ranges[device.account, m.peer].append((m.first, m.id))

    def _failed(self, who: Identity, id: int) -> bool:
        """Did the sender hear that it will not arrive?"""
        ranges = self.ranges.get((who[0], self.world.written[who]), ())
        return who in self.told_failed or any(first <= id <= last for first, last in ranges)

    def restore(self) -> None:
        """The disk is an older one: what was said of the newer one holds no more."""
        self.restored = True
        tables = self.world.disk.tables
        for owner, devices in tables.devices.items():
            self.confirmed[owner] = {n: row.confirmed for n, row in devices.items()}
        self.where.clear()
        self.ids.clear()
        self.start.clear()

    def confirms(self, device: "SimDevice") -> None:
        self.confirmed[device.actor][device.number] = device.last

    def locked_out(self, device: "SimDevice") -> None:
        fine = device.account in self.signing_up or device.name in self.revoked or self.restored
        self.check(6, "a key that was not taken opens", fine, device.name)

    # ---- what the disk does --------------------------------------------------------------

    def before_write(self, node: "SimNode", batch: Batch) -> None:
        """What is about to be wiped has been confirmed; ids and numbers are given once."""
        if self.restored:
            return
        for owner, upto in batch.inbox_upto.items():
            rows = self.world.disk.tables.inbox.get(owner, {})
            kept = [q for q in rows if q <= upto and rows[q].kind == MESSAGE]
            done, start = self.confirmed[owner], self.start[owner]
            devices = self.world.disk.tables.devices.get(owner, {})
            gone = {row.device for row in batch.devices_gone if row.account == owner}
            left = [
                max(done.get(XMPP if row.kind == OFFLINE else n, 0), start.get(n, 0))
                for n, row in devices.items()
                if n not in gone and row.kind in (OWN, OFFLINE)
            ]
            if kept and left:
                self.check(
                    4, "wiped only when confirmed", max(kept) <= min(left), f"{owner} {upto}"
                )
        for owner, id in batch.sent:
            self.check(2, "a message id is given once", id not in self.ids[owner], f"{id}")

    def written(self, node: "SimNode", batch: Batch) -> None:
        """Law 6: whoever writes for an account is its owner at this moment."""
        disk = self.world.disk
        owners = {row.owner for row in batch.sent.values()} | {o for o, _ in batch.inbox}
        owners |= set(batch.accounts) | {o for o, _ in batch.devices} | {o for o, _ in batch.pairs}
        for owner in owners:
            shard = disk.shards[disk.shard_of(owner)]
            self.check(6, "only the owner writes", shard.owner == node.number, f"{owner}")
            self.check(6, "what is written was run", owner in batch.touched, f"{owner}")
        for (owner, number), device in batch.devices.items():
            if number not in self.start[owner]:
                self.start[owner][number] = device.confirmed
                rows = disk.tables.inbox.get(owner, {})
                waiting = [q for q, row in rows.items() if row.kind == MESSAGE]
                whole = (
                    device.kind != OWN
                    or not waiting
                    or device.confirmed < min(waiting)
                    or self.restored
                )
                self.check(2, "a new device gets all that waits", whole, f"{owner}/{number}")
        self.xmpp.written(batch)
        for owner, id in batch.sent:
            self.ids[owner].add(id)
        for (owner, q), row in batch.inbox.items():
            if row.kind == MESSAGE:
                sender = disk.tables.pairs.get(owner, {}).get(row.peer)
                name = sender.address if sender else ""
                key = (owner, name, row.id)
                again = self.where.get(key)
                self.check(
                    2, "one place in an inbox", again in (None, q) or self.restored, f"{key} {q}"
                )
                self.where[key] = q

    def bounded(self, node: "SimNode") -> None:
        """Once a second on every node."""
        limits, engine = node.limits, node.engine
        length = engine.queue_gauge.snapshot(0)["turn_queue_length"]
        self.check(5, "the queue is bounded", length <= limits.queue_max + 10_000, str(length))
        for key, cell in engine.cells.items():
            bound = limits.mailbox_max + 1_000
            self.check(5, "a mailbox is bounded", cell.queued <= bound, f"{key}: {cell.queued}")
            if cell.state is not None:
                for att in cell.state.attached.values():
                    count = len(att.flights)
                    self.check(5, "a window holds", count <= limits.window_items_max, str(count))
        for owner, rows in self.world.disk.tables.inbox.items():
            waiting = sum(row.kind <= COPY for row in rows.values())
            self.check(
                5, "an inbox is capped", waiting <= limits.inbox_messages_max + 64, f"{owner}"
            )

    def told(self, node: "SimNode", message: object) -> None:
        """Law 5, of an actor that nobody answers: it asks less and less often."""
        if not isinstance(message, Deliver):
            return
        key = (node.number, node.incarnation, message.sender, message.id)
        now_us = self.world.time.now_us
        times = self.tries[key]
        times.append(now_us)
        while times[0] < now_us - TRIES_US:
            times.popleft()
        self.check(
            5,
            "retries back off",
            len(times) <= TRIES_MAX + self.world.limits.open_per_peer_max,
            f"{key}: {len(times)}",
        )

    # ---- the end -------------------------------------------------------------------------

    def pending(self) -> list[str]:
        """What is still under way: empty when the world has come to rest."""
        left: list[str] = []
        tables = self.world.disk.tables
        for device in self.world.devices:
            if device.dead or device.name in self.revoked or device.lost:
                continue
            left += [f"{device.name} c {s.c} unanswered" for s in device.sent if not s.answered]
            tail = tables.accounts[device.actor].tail
            if device.last < max(
                (q for q in tables.inbox.get(device.actor, {})), default=device.last
            ):
                left.append(f"{device.name} has {device.last} of {tail}")
        left += self.xmpp.pending()
        left += [f"{owner} open {id}" for owner, rows in tables.open.items() for id in rows]
        left += [f"{owner} owes {peer}" for owner, rows in tables.owed.items() for peer in rows]
        return left or self._unwiped()

    def judge(self) -> None:
        """When everything has come to rest."""
        left = self.pending()
        self.check(2, "everything comes to rest", not left, "; ".join(left[:4]))
        for who, id in self.acknowledged.items():
            self._explained(who, id)
        self._wiped()

    def _explained(self, who: Identity, id: int) -> None:
        """Nothing acknowledged is lost."""
        sender, device, _ = who
        to = self.world.written[who]
        if any(first <= id <= last for first, last in self.refused.get((sender, to), ())):
            self._nobody_saw(who, to)
        if self._failed(who, id) or self._failure_waits(who, id):
            return
        if self.restored and not any(
            d.account == sender and d.number == device and self._was_there(d)
            for d in self.world.devices
        ):
            return  # nobody is left who could send it again
        if self.restored and (to, sender) in self.world.blocks:
            return  # refused before the restore, taken after it: below what the screen has seen
        row = self.world.disk.tables.sent.get(account_number(sender), {}).get(id)
        if row is not None and row.code == "blocked":
            self._nobody_saw(who, to)
            return
        self.xmpp.explained(who, to)
        alive = [d for d in self.world.devices if d.account == to and self._was_there(d)]
        if not alive:
            return
        seen = any(who in self.screens[d.name] for d in self.world.devices if d.account == to)
        self.check(2, "nothing acknowledged is lost", seen, f"{who} to {to}")
        state = row.state if row is not None else -1
        done = row is None or state in FINAL_STATES or state != OPEN
        self.check(2, "nothing acknowledged stays open", done, f"{who}")

    def _nobody_saw(self, who: Identity, to: str) -> None:
        for device in self.world.devices:
            if device.account == to and not self.restored:
                shown = who in self.screens[device.name]
                self.check(2, "what is refused for good stays so", not shown, f"{who}")

    def _failure_waits(self, who: Identity, id: int) -> bool:
        """The sender's phones are gone; what they would hear lies in its inbox."""
        if any(d.account == who[0] and self._was_there(d) for d in self.world.devices):
            return False
        peer = account_number(self.world.written[who])
        return any(
            row.kind == FAILURE and row.peer == peer and (row.extra or row.id) <= id <= row.id
            for row in self.world.disk.tables.inbox.get(account_number(who[0]), {}).values()
        )

    def _was_there(self, device: "SimDevice") -> bool:
        return not device.dead and not device.lost and device.name not in self.revoked

    def _unwiped(self) -> list[str]:
        """What all devices have confirmed, and whose bodies are still there."""
        tables = self.world.disk.tables
        left: list[str] = []
        for owner, rows in tables.inbox.items():
            devices = [d for d in self.world.devices if d.actor == owner and self._was_there(d)]
            if not devices:
                continue
            if set(tables.devices.get(owner, ())) - {d.number for d in devices}:
                continue  # a device whose key was lost on the way to it: it never confirms
            floor = min(d.last for d in devices)
            left += [f"{owner} q {q}" for q, r in rows.items() if q <= floor and r.body is not None]
        return left

    def _wiped(self) -> None:
        """Law 4: what all devices have confirmed leaves no body anywhere."""
        left = self._unwiped()
        self.check(4, "wiped when confirmed", not left, "; ".join(left[:4]))
        for owner, sent in self.world.disk.tables.sent.items():
            bodies = [id for id, row in sent.items() if row.body is not None and row.state != OPEN]
            self.check(4, "a stored message leaves no body behind", not bodies, f"{owner}")


def _text(sender: str, device: int, c: int) -> str:
    return f"{c} of {sender}/{device}"
