"""Messages of a session: <message/> in, items of the inbox out.

RFC 6121 sections 5 and 8.5; receipts (XEP-0184) and markers (XEP-0333) are our check marks said in
XMPP: a client's acknowledgement is the second mark, its `displayed` the blue one, and whoever sent
from XMPP is told of both that way. Every client of an account shows every message, also one that
names another resource: wrapped as a carbon (XEP-0280) where the client has asked for those.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.errors import (
    BLOCKED,
    BodyTooBig,
    Busy,
    RateLimited,
    UnknownRecipient,
)
from whimbrel.domain.ids import ADDRESS_CHARS_MAX, submit_hash
from whimbrel.domain.rows import COPY, FAILURE, MESSAGE, RECEIPT
from whimbrel.protocol.xmpp import chat, names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import STANZA_CONDITIONS

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.session import XmppSession
    from whimbrel.edge.xmpp.target import Target
    from whimbrel.protocol.xmpp.stream import Stanza

REF_CHARS_MAX = 128
SHOWN_MAX = 1_000  # messages shown whose ids a client may name in a marker
SENT_MAX = 1_000  # messages sent whose marks this client is told of
DELAYED_US = 2_000_000  # a message that is older at the start of the session says so

_CONDITIONS = {
    UnknownRecipient.code: "service-unavailable",
    BodyTooBig.code: "policy-violation",
    RateLimited.code: "resource-constraint",
    Busy.code: "resource-constraint",
    BLOCKED: "not-acceptable",
    "expired": "recipient-unavailable",
    "trimmed": "recipient-unavailable",
    "undeliverable": "service-unavailable",
}


class _Sent:
    """A message of this client whose fate it may want to hear."""

    __slots__ = ("at", "flags", "id", "own", "ref", "to")

    def __init__(self, ref: str, own: str, to: str, flags: int, at: int) -> None:
        self.ref = ref
        self.own = own  # the JID that sent it
        self.to = to
        self.flags = flags
        self.at = at  # which stanza of the session it was
        self.id = 0  # as the server calls it


class Messages:
    __slots__ = (
        "_c",
        "_looked_s",
        "_looks",
        "_own",
        "_sent",
        "_session",
        "_shown",
        "_started_us",
        "_told",
    )

    def __init__(self, session: XmppSession) -> None:
        self._session = session
        self._c = 0
        self._own: dict[int, _Sent] = {}  # by submit number, until it is stored
        self._sent: dict[int, OrderedDict[int, _Sent]] = {}  # by peer, then by server's id
        self._shown: OrderedDict[tuple[int, str], tuple[int, int]] = OrderedDict()
        self._started_us = session.hub.edge.wall_us()
        self._looked_s = 0.0  # since then so many markers were looked up:
        self._looks = 0
        self._told: dict[int, tuple[int, int]] = {}  # by peer: marks told, up to these ids

    # ---- from the client -----------------------------------------------------------------

    def take(self, stanza: Stanza, target: Target | None) -> None:
        session, element = self._session, stanza.element
        kind = element.get("type", "normal")
        if kind not in ("chat", "normal", "headline", "groupchat", "error"):
            kind = "normal"
        if target is None:
            target = session.hub.targets.find(session.bare)
        if not target.here:
            session.refuse(element, "remote-server-not-found")
            return
        if (kind == "groupchat" and not self._may_be_a_room(target)) or not target.address:
            session.refuse(element, "service-unavailable")
            return
        found = chat.look(element)
        flags = found.flags
        if flags & (chat.RECEIVED | chat.DISPLAYED) and not flags & chat.BODY:
            self._take_mark(target, found)
            return
        if len(target.address) > ADDRESS_CHARS_MAX:
            session.refuse(element, "service-unavailable")
        elif chat.is_kept(flags, kind):
            self._submit(stanza, target, kind, found)
        else:
            self._relay(stanza, target, kind, flags)

    def _may_be_a_room(self, target: Target) -> bool:
        """Rooms are kept by components."""
        return target.is_component

    def _submit(self, stanza: Stanza, target: Target, kind: str, found: chat.Found) -> None:
        session, element = self._session, stanza.element
        hub = session.hub
        flags = found.flags
        attributes = element.attributes
        id = attributes.get("id", "")
        inner = self._inner(stanza, flags)
        part = chat.Part(
            session.own_inside(element),
            target.inside,
            kind,
            id,
            chat.lang_of(element) if len(attributes) > 2 else "",
            inner,
            flags & (chat.NO_COPY | chat.PRIVATE),
        )
        body = chat.pack(found.text, part)
        refused = ""
        if len(body) > hub.edge.limits.body_bytes_max:
            body, refused = b"", BodyTooBig.code
            hub.edge.counts[f"refused:{refused}"] += 1
        self._c = c = self._c + 1
        to = target.address
        ref = id if len(id) <= REF_CHARS_MAX and flags & (chat.ASKS | chat.MARKABLE) else ""
        own = session.own_jid(element)
        self._own[c] = _Sent(id, own, attributes.get("to", ""), flags, session.undone())
        session.submit(
            m.Submit(
                session.device,
                session.number,
                c,
                to,
                target.number,
                submit_hash(to, body),
                body,
                refused,
                ref,
            )
        )

    def stored(self, c: int, id: int) -> None:
        """It is on disk: now the client may hear so."""
        own = self._own.pop(c)
        if own.flags & (chat.ASKS | chat.MARKABLE) and own.ref:
            peer = self._session.hub.targets.find(own.to or self._session.bare).number
            sent = self._sent.setdefault(peer, OrderedDict())
            own.id = id
            sent[id] = own
            if len(sent) > SENT_MAX:
                sent.popitem(last=False)
        self._session.done(own.at)

    def refused(self, c: int, code: str) -> None:
        own = self._own.pop(c)
        self._bounce(own, code)
        self._session.done(own.at)

    def _bounce(self, own: _Sent, code: str) -> None:
        session = self._session
        condition = _CONDITIONS.get(code, "undefined-condition")
        attributes = {"type": "error", "to": own.own, "from": own.to or session.bare}
        if own.ref:
            attributes["id"] = own.ref
        kind = "wait" if code in (RateLimited.code, Busy.code) else STANZA_CONDITIONS[condition]
        error = Element(
            names.CLIENT, "error", {"type": kind}, Element(names.STANZA_ERRORS, condition)
        )
        if code == BLOCKED:
            error.nodes.append(Element(names.BLOCKING_ERRORS, "blocked"))
            error.attributes["type"] = "cancel"
        text = code if condition == "undefined-condition" else ""
        if code == BodyTooBig.code:
            bytes_max = session.hub.edge.limits.body_bytes_max
            text = f"a message may have {bytes_max} bytes, its text counted twice"
        if text:
            error.nodes.append(Element(names.STANZA_ERRORS, "text", {}, text))
        session.send_element(Element(names.CLIENT, "message", attributes, error))

    def _take_mark(self, target: Target, found: chat.Found) -> None:
        """What the client says of a message that it was shown. It has then all before it, too."""
        session = self._session
        known = self._shown.get((target.number, found.received or found.displayed))
        if known is None:
            if found.flags & chat.DISPLAYED:
                self._look_up_mark(target, found.displayed)
            return
        q, id = known
        if not session.sm:
            session.confirm(q)
        if found.flags & chat.DISPLAYED:
            session.confirm(q)
            session.tell(
                m.MarkRead(session.device, session.number, target.address, target.number, id)
            )

    def _look_up_mark(self, target: Target, ref: str) -> None:
        """A marker for a message of an earlier session."""
        session = self._session
        if _OWN_ID.fullmatch(ref):  # from a client of our own: its id is the server's
            session.tell(
                m.MarkRead(session.device, session.number, target.address, target.number, int(ref))
            )
            return
        now_s = session.hub.edge.now_s
        if now_s > self._looked_s + 1:
            self._looked_s, self._looks = now_s, 0
        if self._looks < LOOKS_PER_S and 0 < len(ref) <= REF_CHARS_MAX:
            self._looks += 1
            device, number, peer = session.device, session.number, target.number
            session.ask(
                lambda tag: im.ReadRef(device, number, peer, ref, tag),
                lambda done: None,
                lambda: None,  # nobody waits for it; the next marker says more
            )

    def _relay(self, stanza: Stanza, target: Target, kind: str, flags: int) -> None:
        """For those who are there now: headlines (8.5.2.1.1), and what is not to be kept."""
        session, element = self._session, stanza.element
        attributes = {**element.attributes, "from": session.own_jid(element)}
        start = write(Element(names.CLIENT, "message", attributes)).removesuffix(b"/>")
        inner = self._inner(stanza, flags)
        raw = start + b">" + inner.encode() + b"</message>"
        state = im.NO_STATE
        if flags & chat.STATES and not flags & (chat.BODY | chat.CONTENT):
            state = im.COMPOSING if flags & chat.COMPOSING else im.PAUSED
        relayed = im.HEADLINE if kind == "headline" else im.MESSAGE
        session.relay(target, relayed, raw, state)

    def _inner(self, stanza: Stanza, flags: int) -> str:
        session = self._session
        forged = bool(flags & chat.FORGED)
        return chat.inner_of(stanza, session.prefixes, session.hub.xml, forged)

    # ---- to the client -------------------------------------------------------------------

    def show(self, item: a.Item) -> None:
        kind = item.kind
        if kind == MESSAGE:
            self._show_message(item)
        elif kind == COPY:
            self._show_copy(item)
        elif kind == RECEIPT:
            self._show_marks(item)
        elif kind == FAILURE:
            self._show_failure(item)
        else:
            self._session.passed_over(item.q)

    def _show_message(self, item: a.Item) -> None:
        session = self._session
        body = chat.unpack(item.body or b"")
        part = body.xmpp
        kind, id, lang, inner = chat.inside_of(body, item.id, session.hub.file_address)
        if not inner:
            session.passed_over(item.q)
            return
        sender = session.hub.targets.full_jid(item.address, part.sender if part else "")
        to = session.jid
        another = part is not None and part.resource not in ("", session.resource)
        if part is not None and another and self._is_for_another(part):
            to = f"{session.bare}/{part.resource}"
            if part.flags & (chat.PRIVATE | chat.NO_COPY):
                session.passed_over(item.q)
                return
        if id:
            self._remember(sender, id, item)
        inner += self._delay(item)
        if item.extra:
            inner += chat.stanza_id(session.bare, item.extra)
        raw = message_text(sender, to, kind, id, lang, inner)
        if to != session.jid and session.carbons:
            raw = self._carbon("received", raw)
        session.send(raw.encode(), item.q)

    def _remember(self, sender: str, id: str, item: a.Item) -> None:
        """Marks name a message as its sender did."""
        shown = self._shown
        shown[(self._session.hub.targets.find(sender).number, id)] = (item.q, item.id)
        if len(shown) > SHOWN_MAX:
            shown.popitem(last=False)

    def _delay(self, item: a.Item) -> str:
        if item.id + DELAYED_US >= self._started_us:
            return ""
        return chat.delay(self._session.hub.domain, stamp_of(item.id))

    def _is_for_another(self, part: chat.Part) -> bool:
        """Does it name a resource that is there? Else it is for all, as if it named none."""
        return part.resource in self._session.presence.own

    def _show_copy(self, item: a.Item) -> None:
        """What another device of this account sent."""
        session = self._session
        if item.body is None or not session.carbons:
            session.passed_over(item.q)
            return
        body = chat.unpack(item.body)
        part = body.xmpp
        kind, id, lang, inner = chat.inside_of(body, item.id, session.hub.file_address)
        if not inner or (part is not None and part.flags & (chat.PRIVATE | chat.NO_COPY)):
            session.passed_over(item.q)
            return
        sender = f"{session.bare}/{part.sender}" if part is not None else f"{session.bare}/whimbrel"
        to = session.hub.targets.full_jid(item.address, part.resource if part else "")
        if item.id + DELAYED_US < self._started_us:
            inner += chat.delay(session.hub.domain, stamp_of(item.id))
        raw = self._carbon("sent", message_text(sender, to, kind, id, lang, inner))
        session.send(raw.encode(), item.q)

    def _carbon(self, direction: str, raw: str) -> str:
        session = self._session
        inside = raw.replace("<message ", f"<message xmlns='{names.CLIENT}' ", 1)
        return (
            f"<message from='{chat.quote(session.bare)}' to='{chat.quote(session.jid)}'"
            f" type='chat'><{direction} xmlns='{names.CARBONS}'><forwarded"
            f" xmlns='{names.FORWARD}'>{inside}</forwarded></{direction}></message>"
        )

    def _show_marks(self, item: a.Item) -> None:
        """Both watermarks of a peer, kept in the inbox while no client was here."""
        session = self._session
        start = session.starts

        def passed_over() -> None:
            if session.starts == start:  # else it comes again, behind what is not confirmed
                session.passed_over(item.q)

        self.marks_shown(item.address, item.id, item.extra, passed_over)

    def marks_shown(
        self, address: str, delivered: int, read: int, then: Callable[[], None] | None = None
    ) -> None:
        """How far a peer has come. then: when all that is told of it has been written."""
        peer = self._session.hub.targets.of(address)
        self.tell_marks(address, delivered, read)
        before = self._told.get(peer.number, (0, 0))
        self._told[peer.number] = (max(delivered, before[0]), max(read, before[1]))
        started = self._started_us
        since = [
            old
            for old, new in zip(before, (delivered, read), strict=True)
            if old < new and old < started
        ]
        asked = bool(since) and self._ask_for_refs(
            peer, address, (delivered, read), before, min(since), then
        )
        if not asked and then is not None:
            then()

    def tell_marks(self, address: str, delivered: int, read: int) -> int:
        """Told for each message of this client that asked; how many that were."""
        session = self._session
        if not self._sent:
            return 0
        peer = session.hub.targets.of(address)
        sent = self._sent.get(peer.number)
        if not sent:
            return 0
        told = 0
        last_read = None
        for id in list(sent):
            if id > delivered:
                break
            own = sent[id]
            if own.flags & chat.ASKS:
                own.flags &= ~chat.ASKS
                session.send(self._receipt(address, own.ref, own))
                told += 1
            if id <= read and own.flags & chat.MARKABLE:
                last_read = own
            if id <= read or not own.flags & chat.MARKABLE:
                del sent[id]
        if last_read is not None:
            session.send(self._displayed(address, last_read.ref, last_read))
            told += 1
        return told

    def _ask_for_refs(
        self,
        peer: Target,
        address: str,
        marks: tuple[int, int],
        before: tuple[int, int],
        since: int,
        then: Callable[[], None] | None,
    ) -> bool:
        """Marks for messages of an earlier session: their names stand in the ledger. What this
        session has sent is told from its own memory. False: too much is asked already.
        """
        session = self._session
        number, device, started = session.number, session.device, self._started_us

        def told(got: im.RefsGot) -> None:
            refs = [(id, ref) for id, ref in got.refs if id < started][-REFS_TOLD_MAX:]
            for id, ref in refs:
                if before[0] < id <= marks[0]:
                    session.send(self._receipt(address, ref))
            seen = [ref for id, ref in refs if before[1] < id <= marks[1]]
            if seen:
                session.send(self._displayed(address, seen[-1]))
            session.dirty = True
            if then is not None:
                then()

        upto = min(max(marks), started)
        after = max(since, upto - REFS_BACK_US, 0)
        return session.ask(
            lambda tag: im.RefsGet(device, number, tag, peer.number, after, upto),
            told,
            lambda: then() if then is not None else None,
        )

    def _receipt(self, address: str, ref: str, own: _Sent | None = None) -> bytes:
        sender, to = self._between(address, own)
        return (
            f"<message from='{chat.quote(sender)}' to='{chat.quote(to)}' type='chat'>"
            f"<received xmlns='{names.RECEIPTS}' id='{chat.quote(ref)}'/></message>"
        ).encode()

    def _between(self, address: str, own: _Sent | None) -> tuple[str, str]:
        """Whom a mark comes from, and whom it is for."""
        session = self._session
        targets = session.hub.targets
        if own is None:
            return targets.jid_of(address), session.jid
        if address.startswith("@"):
            return str(targets.find(own.to).jid.bare), own.own
        return targets.jid_of(address), own.own

    def _displayed(self, address: str, ref: str, own: _Sent | None = None) -> bytes:
        sender, to = self._between(address, own)
        return (
            f"<message from='{chat.quote(sender)}' to='{chat.quote(to)}' type='chat'>"
            f"<displayed xmlns='{names.MARKERS}' id='{chat.quote(ref)}'/></message>"
        ).encode()

    def _show_failure(self, item: a.Item) -> None:
        """Messages that did not arrive after all: the error that the first mark did not foresee."""
        session = self._session
        peer = session.hub.targets.of(item.address)
        sent = self._sent.get(peer.number, OrderedDict())
        first = item.extra or item.id
        gone = [id for id in sent if first <= id <= item.id]
        for id in gone:
            own = sent.pop(id)
            self._bounce(own, item.code)
        session.passed_over(item.q)


LOOKS_PER_S = 10  # markers of one client that are looked up in the ledgers of senders
_OWN_ID = re.compile(r"[1-9][0-9]{15}")  # microseconds since 1970
REFS_TOLD_MAX = 20
REFS_BACK_US = 7 * 86_400 * 1_000_000


def message_text(sender: str, to: str, kind: str, id: str, lang: str, inner: str) -> str:
    quote = chat.quote
    start = f"<message from='{quote(sender)}' to='{quote(to)}' type='{kind}'"
    if id:
        start += f" id='{quote(id)}'"
    if lang:
        start += f" xml:lang='{quote(lang)}'"
    return f"{start}>{inner}</message>"


def stamp_of(us: int) -> str:
    """XEP-0082, in UTC with milliseconds."""
    at = datetime.fromtimestamp(us / 1e6, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
