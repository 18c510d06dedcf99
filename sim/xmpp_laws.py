"""The checkers for XMPP clients: what they saw and the disk holds, against the same laws.

A message has an identity that its text and its stanza's id tell; the disk is asked where it lies.
What a client is promised: `<a/>` means on the disk; shown once in a session, and never again after
a confirm that the disk holds; in the order of sending; its marks are true.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from sim.client import Identity, identity_named, identity_of
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import account_number
from whimbrel.domain.rows import MESSAGE, OFFLINE

if TYPE_CHECKING:
    from sim.client import XmppClient
    from sim.laws import Laws

XMPP = -1  # stands beside the numbers of devices: what any XMPP client of the account confirmed
STREAM_ERRORS = {"conflict", "connection-timeout", "reset", "resource-constraint"}
# what is said of a message that was not, or will not be, delivered
REFUSALS = {"service-unavailable", "recipient-unavailable", "resource-constraint"}
_decode = msgspec.msgpack.Decoder().decode


class XmppLaws:
    def __init__(self, laws: "Laws") -> None:
        self.laws = laws
        self.ids: dict[Identity, int] = {}  # as the server calls the messages of clients
        self.place: dict[tuple[int, Identity], int] = {}  # (recipient, message) -> q
        self._last_c: dict[tuple[str, str, int], int] = {}
        self._carbons: dict[str, tuple[int, set[Identity]]] = {}
        self.marks = 0

    # ---- what the disk does --------------------------------------------------------------

    def written(self, batch: Batch) -> None:
        if not self.laws.world.plan.clients:
            return
        for row in batch.sent.values():
            who = identity_named(row.ref)
            if who is not None:
                self.ids[who] = row.id
        for (owner, q), item in batch.inbox.items():
            if item.kind == MESSAGE and item.body:
                text = _decode(item.body).get("text", "")
                who = identity_of(text)
                if who is not None:
                    known = self.place.get((owner, who))
                    self.laws.check(2, "stored once", known in (None, q), f"{who} {known} {q}")
                    self.place[owner, who] = q

    # ---- what clients hear ---------------------------------------------------------------

    def begins(self, client: "XmppClient") -> None:
        """A session: what was confirmed before is not shown in it."""
        devices = self.laws.world.disk.tables.devices.get(client.actor, {}).values()
        client.base = max((row.confirmed for row in devices if row.kind == OFFLINE), default=0)

    def acknowledged(self, client: "XmppClient", who: Identity) -> None:
        """`<a/>`: on the disk, or refused aloud."""
        said = client.sent[who[2] - 1]
        stored = who in self.ids or (account_number(said.to), who) in self.place
        refused = said.code != "" or said.to == "nobody"
        self.laws.check(1, "an acknowledged stanza is on disk", stored or refused, str(who))
        if stored and not said.code:
            self.laws.acknowledged[who] = self.ids.get(who, 0)

    def shown(self, client: "XmppClient", who: Identity | None, text: str) -> None:
        laws = self.laws
        laws.check(2, "shown as it was written", who is not None, text)
        assert who is not None
        to = laws.world.written.get(who)
        laws.check(2, "shown to whom it was written", to == client.account, f"{who} {to}")
        fresh = who not in client.screen
        laws.check(2, "shown once in a session", fresh, f"{who} at {client.name}")
        q = self.place.get((client.actor, who), 0)
        laws.check(1, "a message is on disk when it is shown", q > 0, f"{who} at {client.name}")
        old = q <= client.base
        laws.check(2, "not shown again after its confirm", not old, f"{who} at {client.name}")
        screen = laws.screens[client.name]
        if who in screen:
            return  # its acknowledgement got lost with the session
        screen.add(who)
        line = (client.name, who[0], who[1])
        before = self._last_c.get(line, 0)
        laws.check(3, "in the order of sending", who[2] > before, f"{who} after {before}")
        self._last_c[line] = who[2]

    def carbon(self, client: "XmppClient", who: Identity | None) -> None:
        """A copy of what another client or device of this account sent, once in a session."""
        laws = self.laws
        fine = who is not None and who[0] == client.account and who in laws.world.written
        laws.check(2, "a carbon is of the own account", fine, f"{who} at {client.name}")
        assert who is not None
        own = who[1] == client.number and client.sent[who[2] - 1].session == client.sessions
        laws.check(2, "no carbon of one's own", not own, str(who))
        session, seen = self._carbons.get(client.name, (0, set()))
        if session != client.sessions:
            seen = set()
        laws.check(2, "one carbon in a session", who not in seen, f"{who} at {client.name}")
        seen.add(who)
        self._carbons[client.name] = (client.sessions, seen)

    def confirms(self, client: "XmppClient", who: Identity) -> None:
        q = self.place.get((client.actor, who), 0)
        done = self.laws.confirmed[client.actor]
        done[XMPP] = max(done.get(XMPP, 0), q)

    def marked(self, client: "XmppClient", ref: str, read: bool) -> None:
        """A receipt or a marker: some device or client of the recipient has confirmed it."""
        who = identity_named(ref)
        laws = self.laws
        fine = who is not None and who[0] == client.account
        laws.check(2, "a mark is of an own message", fine, f"{ref} at {client.name}")
        assert who is not None
        peer = account_number(laws.world.written[who])
        q = self.place.get((peer, who), 0)
        laws.check(2, "two marks only for what was stored", q > 0, str(who))
        seen = any(done >= q for done in laws.confirmed[peer].values())
        laws.check(2, "two marks only after a confirm", seen, f"{who} q {q}")
        self.marks += 1

    def failed(self, client: "XmppClient", who: Identity, condition: str) -> None:
        laws = self.laws
        laws.check(2, "a client that behaves is not refused", condition in REFUSALS, condition)
        laws.told_failed.add(who)

    def stream_error(self, client: "XmppClient", condition: str) -> None:
        fine = condition in STREAM_ERRORS
        self.laws.check(7, "nobody who behaves hears an error", fine, f"{client.name} {condition}")

    # ---- the end -------------------------------------------------------------------------

    def pending(self) -> list[str]:
        """What XMPP clients still wait for, and what waits for them."""
        left: list[str] = []
        world = self.laws.world
        for client in world.clients:
            left += [f"{client.name} {s.c} unanswered" for s in client.sent if not s.answered]
            if not client.welcomed or not client.here:
                left.append(f"{client.name} is not here")
        for account in {client.account for client in world.clients}:
            left += self._waiting(account)
        return left

    def _waiting(self, account: str) -> list[str]:
        """Messages that lie in the inbox although every client is here and has read all."""
        world = self.laws.world
        owner = account_number(account)
        own = [d for d in world.devices if d.actor == owner and self.laws._was_there(d)]
        floor = min((d.last for d in own), default=1 << 62)
        rows: dict[int, Any] = world.disk.tables.inbox.get(owner, {})
        return [
            f"{account} q {q} not wiped"
            for q, row in rows.items()
            if row.kind == MESSAGE and q <= floor
        ]

    def explained(self, who: Identity, to: str) -> None:
        """Nothing acknowledged is lost: some client of the recipient has shown it."""
        clients = [c for c in self.laws.world.clients if c.account == to]
        if clients:
            seen = any(who in self.laws.screens[c.name] for c in clients)
            self.laws.check(2, "nothing acknowledged is lost", seen, f"{who} to {to} by XMPP")
