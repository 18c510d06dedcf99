"""Presence of a session: what the client says of itself, and what it sees of others.

RFC 6121 sections 3 and 4. While its client is away or inactive (XEP-0352), the newest presence of
each contact is kept instead of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whimbrel.domain import im
from whimbrel.protocol.xmpp import chat, names
from whimbrel.protocol.xmpp.element import LANG, Element, write
from whimbrel.protocol.xmpp.stream import Stanza

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.session import XmppSession
    from whimbrel.edge.xmpp.target import Target

STANZA_BYTES_MAX = 16_384  # of a presence
KINDS = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")
HELD_MAX = 2_000


class Presence:
    __slots__ = ("_held", "_n", "_said", "_session", "last", "own")

    def __init__(self, session: XmppSession) -> None:
        self._session = session
        # rises with what is said, also when another process takes the session over
        self._n = session.hub.edge.wall_us()
        self._said: im.Available | None = None
        self._held: dict[str, bytes] = {}
        self.own: set[str] = set()  # other resources of the account that are available
        self.last = b""  # what contacts are told when the session ends

    # ---- from the client -----------------------------------------------------------------

    def take(self, stanza: Stanza, target: Target | None) -> None:
        session, element = self._session, stanza.element
        kind = element.get("type")
        if len(stanza.raw) > STANZA_BYTES_MAX:
            session.refuse(element, "policy-violation", "this presence is too big")
        elif kind in KINDS:
            self._subscription(element, kind, target)
        elif kind not in ("", "unavailable"):
            if kind not in ("error", "probe"):  # servers probe, clients do not
                session.refuse(element, "bad-request")
        elif target is not None and target.jid != session.hub.targets.find(session.bare).jid:
            self._directed(element, kind, target)
        elif kind:
            self._unavailable(element)
        else:
            self._available(element)

    def _available(self, element: Element) -> None:
        session = self._session
        text = element.child_text(names.CLIENT, "priority")
        try:
            priority = int(text) if text is not None else 0
        except ValueError:
            priority = -129
        if not -128 <= priority <= 127:
            session.refuse(element, "bad-request", "a priority is a number from -128 to 127")
            return
        if priority < 0:
            session.taking = False
        self._n += 1
        stanza = write(bare_presence(element))
        said = im.Available(session.device, session.number, priority, stanza, b"", self._n)
        self._said = said
        session.tell(said)

    def _unavailable(self, element: Element) -> None:
        session = self._session
        session.taking = False
        self.last = write(bare_presence(element))
        self._said = None
        self.own.clear()
        self._n += 1
        session.tell(im.Available(session.device, session.number, 0, b"", self.last, self._n))

    @property
    def takes(self) -> bool:
        """Does the client want messages now?"""
        return self._said is not None and self._said.priority >= 0

    def is_last(self, n: int) -> bool:
        """Is this the answer to what was said last? One that comes late hides that it got lost."""
        return n in (0, self._n)

    def again(self) -> None:
        """The actor forgot: say it again."""
        session = self._session
        if self._said is not None:
            session.tell(self._said)
        elif self.last:  # also that it takes nothing: else the actor would send, and wait
            session.tell(im.Available(session.device, session.number, 0, b"", self.last, self._n))

    def _directed(self, element: Element, kind: str, target: Target) -> None:
        if not target.here or not target.address:
            return  # nobody there who would see it
        self._session.relay(target, im.PRESENCE, write(bare_presence(element)), on=not kind)

    def _subscription(self, element: Element, kind: str, target: Target | None) -> None:
        session = self._session
        if target is None:
            session.refuse(element, "bad-request")
            return
        if not target.here or not target.address:
            if kind == "subscribe":
                session.refuse(element, "remote-server-not-found")
            return
        if target.number == session.account:
            return  # section 3.1.1: everybody sees themselves
        at = session.undone() if session.sm else 0

        def then(done: im.Done) -> None:
            if done.code:
                session.refuse(element, "resource-constraint", done.code, "wait")
            if at:
                session.done(at)

        def lost() -> None:
            session.refuse(element, "resource-constraint", "no answer in time", "wait")
            if at:
                session.done(at)

        stanza = write(bare_presence(element))
        address, number = target.address, target.number
        if target.is_component:  # rosters name its JIDs
            address = session.hub.targets.row_address(target.jid)
            number = session.hub.targets.number_of(address)
        asked = session.ask(
            lambda tag: im.Subscription(
                session.device,
                session.number,
                tag,
                number,
                address,
                kind,
                stanza,
            ),
            then,
            lost,
        )
        if not asked:
            session.refuse(element, "resource-constraint")
            if at:
                session.done(at)

    # ---- to the client -------------------------------------------------------------------

    def show(self, came: im.PresenceCame) -> None:
        session = self._session
        there = b' type="unavailable"' not in came.stanza.partition(b">")[0]
        if came.address == session.address and came.resource != session.resource:
            (self.own.add if there else self.own.discard)(came.resource)
        sender = session.hub.targets.jid_of(came.address)
        if came.resource:
            sender = f"{sender}/{came.resource}"
        self._write(sender, session.jid, came.stanza)

    def show_subscription(self, came: im.SubscriptionCame) -> None:
        session = self._session
        sender = session.hub.targets.jid_of(came.address)
        stanza = came.stanza or f'<presence type="{came.kind}"/>'.encode()
        session.send(addressed(stanza, sender, session.bare))

    def _write(self, sender: str, to: str, stanza: bytes) -> None:
        session = self._session
        raw = addressed(stanza, sender, to)
        if session.inactive or session.stream is None:
            self._held.pop(sender, None)
            if len(self._held) < HELD_MAX:
                self._held[sender] = raw
            return
        session.send(raw)

    def release(self) -> None:
        """The client is back, or active again."""
        held, self._held = self._held, {}
        for raw in held.values():
            self._session.send(raw)


def bare_presence(element: Element) -> Element:
    """The stanza without addresses: each receiver gets it with its own."""
    kept = {
        name: value for name, value in element.attributes.items() if name in ("type", "id", LANG)
    }
    return Element(names.CLIENT, "presence", kept, *element.nodes)


def addressed(stanza: bytes, sender: str, to: str) -> bytes:
    addresses = f" from='{chat.quote(sender)}' to='{chat.quote(to)}'".encode()
    return stanza[:9] + addresses + stanza[9:]  # behind "<presence"
