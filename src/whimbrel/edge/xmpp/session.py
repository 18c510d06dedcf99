"""A session: one bound XMPP client, which may outlive its connections (XEP-0198).

It turns stanzas into messages to the account's actor and answers into stanzas. Law 3: items of the
inbox are shown in their order, each once; what the client did not acknowledge goes to its next
connection, or back to the inbox. decisions/0013.

Neighbours: acknowledging.py (what the client has), actor_line.py (towards the actor), both below
it; what stanzas mean stands in messages.py, presence.py and features/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.discreet import stack_of
from whimbrel.domain.errors import ShuttingDown
from whimbrel.edge.session import ATTACH_FIRST_S
from whimbrel.edge.xmpp.acknowledging import ASKS_APART_US, Acknowledging
from whimbrel.edge.xmpp.feature import ACCOUNT, OTHERS, SERVER, Iq
from whimbrel.edge.xmpp.messages import Messages
from whimbrel.edge.xmpp.presence import Presence
from whimbrel.edge.xmpp.target import Target
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError, answer_to, stanza_error
from whimbrel.protocol.xmpp.jid import JidMalformed
from whimbrel.protocol.xmpp.stream import Stanza

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub
    from whimbrel.edge.xmpp.stream import XmppStream

log = structlog.get_logger("whimbrel.edge")

UNREADY_S = 3.0  # of a server that cannot store, after which its clients are sent away
PRESENCE_AGAIN_S = 5.0  # after which what was said of it and not answered is said again
EPHEMERAL_WAITING_MAX = 500  # stanzas that pass through and wait in a session without a client


class XmppSession(Acknowledging):
    __slots__ = (
        "_again_s",
        "_shown_q",
        "_unready_s",
        "_wanted",
        "bare",
        "blocks_said",
        "carbons",
        "messages",
        "prefixes",
        "resource",
        "starts",
        "taking",
        "via",
        "wants_blocks",
        "wants_roster",
    )

    def __init__(
        self, hub: Hub, stream: XmppStream | None, address: str, account: int, via: int
    ) -> None:
        super().__init__(hub, stream, address, account)
        self.via = via
        self.bare = f"{address}@{hub.domain}"
        self.jid = self.bare
        self.resource = ""
        self.prefixes: dict[str, str] = {}  # that the header of the client's stream declares
        self._again_s = 0.0
        self._unready_s = 0.0
        self._wanted = ""  # the resource that was asked for
        self._shown_q = 0  # the last item that was ever taken
        # what features keep here
        self.carbons = False
        self.taking = False
        self.starts = 0  # how often it began to take messages
        self.wants_roster = False
        self.wants_blocks = False
        self.blocks_said: set[str] = set()  # by this client, not answered
        self.messages = Messages(self)
        self.presence = Presence(self)
        self.number = hub.edge.numbers.open(self)
        hub.sessions[self.number] = self

    def bind(self, resource: str) -> None:
        self._wanted = resource
        self.bind_again()

    def bind_again(self) -> None:
        self._resend_s = self.hub.edge.now_s + self.hub.edge.limits.resend_first_s
        self.tell(im.Bind(self.number, self.via, self._wanted))

    def enable(self, resumable: bool) -> None:
        self.sm = True
        self.received = 0
        self._undone.clear()
        if resumable:
            self.resumable = True
            self.token = self.hub.new_token(self)

    # ---- stanzas in --------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Reading waits while so much is unanswered (back-pressure)."""
        limits = self.hub.edge.limits
        return bool(self._backlog) or len(self._open) >= limits.submits_open_max

    def take(self, stanza: Stanza) -> None:
        """One stanza. Raises StreamError."""
        element = stanza.element
        self.received += 1
        said = element.get("from")
        if said and said != self.jid and said != self.bare and not self._is_me(said):
            raise StreamError("invalid-from")
        target = None
        if to := element.get("to"):
            try:
                target = self.hub.targets.find(to)
            except JidMalformed:
                self.refuse(element, "jid-malformed")
                return
        name = element.name
        if name == "message":
            self.messages.take(stanza, target)
        elif name == "iq":
            self._take_iq(stanza, target)
        elif name == "presence":
            self.presence.take(stanza, target)
        else:
            raise StreamError("unsupported-stanza-type")

    def _is_me(self, said: str) -> bool:
        try:
            jid = self.hub.targets.find(said).jid
        except JidMalformed:
            return False
        return str(jid.bare) == self.bare and jid.resource in ("", self.resource)

    def own_jid(self, stanza: Element) -> str:
        """Whose stanza this is."""
        return self.jid

    def own_inside(self, stanza: Element) -> str:
        """The same as it stands beside the address of who sent a message."""
        return self.resource

    def _take_iq(self, stanza: Stanza, target: Target | None) -> None:
        element = stanza.element
        kind = element.get("type")
        if kind in ("result", "error"):
            self._take_answer(stanza, target)
            return
        children = list(element.children())
        if kind not in ("get", "set") or not element.get("id") or len(children) != 1:
            self.refuse(element, "bad-request")
            return
        child = children[0]
        if target is None or target.jid == self.hub.targets.find(self.bare).jid:
            whom = ACCOUNT
        elif not target.here:
            self.refuse(element, "remote-server-not-found")
            return
        elif not target.address:
            whom = SERVER
        elif target.jid.resource or target.is_component:
            self._relay_iq(stanza, target, im.IQ)
            return
        else:
            whom = OTHERS
        handler = self.hub.handler(child, whom)
        if handler is None and target is None:  # clients leave out the server's own address
            handler = self.hub.handler(child, SERVER)
        if handler is None:
            self.refuse(element, "service-unavailable")
            return
        jid = target.jid if target is not None else self.hub.targets.find(self.bare).jid
        handler(self, Iq(self, element, child, jid))

    def _take_answer(self, stanza: Stanza, target: Target | None) -> None:
        """An answer to a request of ours, or of somebody else."""
        element = stanza.element
        if element.get("id").startswith("whimbrel-ping-"):
            query = element.find(names.DISCO_INFO, "query")
            if query is not None:
                self._can_ping = any(each.get("var") == names.PING for each in query.children())
            q = self._ping_q
            if q and element.get("id") == f"whimbrel-ping-{q}":
                self._ping_q = 0
                self.confirm(q)
                self.hub.ask_soon(self)
            return
        if target is not None and target.address and target.inside:
            self._relay_iq(stanza, target, im.MESSAGE)

    def _relay_iq(self, stanza: Stanza, target: Target, kind: int) -> None:
        element = stanza.element
        element.attributes["from"] = self.own_jid(element)
        raw = write(element)
        self.relay(target, kind, raw)

    def relay(
        self, target: Target, kind: int, raw: bytes, state: int = im.NO_STATE, on: bool = False
    ) -> None:
        """Something that is not stored; not worth waiting for."""
        if not self._backlog:
            self.hub.edge.router.tell(
                self.account,
                im.Relay(
                    self.device,
                    self.number,
                    target.number,
                    target.inside if target.is_component else target.address,
                    "" if target.is_component else target.jid.resource,
                    kind,
                    raw,
                    state,
                    on,
                ),
            )

    # ---- answers to the client ---------------------------------------------------------

    def answer(self, iq: Element, *nodes: Element) -> None:
        done = answer_to(iq, "result", *nodes)
        done.attributes["to"] = self.own_jid(iq)
        self.send_element(done)

    def refuse(
        self,
        stanza: Element,
        condition: str,
        text: str = "",
        type: str = "",
        app: Element | None = None,
    ) -> None:
        """An error comes back, but never to an error or to an answer (RFC 6120 section 8.3.1)."""
        kind = stanza.get("type")
        if kind == "error" or (stanza.name == "iq" and kind == "result"):
            return
        error = stanza_error(stanza, condition, text, type, app)
        error.attributes["to"] = self.own_jid(stanza)
        self.send_element(error)

    # ---- what the actor says -----------------------------------------------------------

    def deliver(self, answer: a.ToSession) -> None:
        if self.over:
            return
        kind = type(answer)
        if kind is a.Item:
            self._on_item(answer)  # type: ignore[arg-type]
        else:
            call = _OWN.get(kind)
            if call is not None:
                call(self, answer)
            else:
                tag: int = getattr(answer, "tag", 0)
                if tag:
                    asked = self._asks.pop(tag, None)
                    if asked is not None:
                        asked.then(answer)
                    return
                feature = self.hub.answers.get(kind)
                if feature is not None:
                    feature(self, answer)

    def flush(self) -> None:
        """Once a turn: what was written leaves."""
        if self.over or not self.dirty:
            if self.stream is not None:
                self.stream.go_on()
            return
        if self._sent_q > self._confirmed:
            edge = self.hub.edge
            apart_us = edge.wall_us() - self._asked_us
            if self.sm and not self._requested and not 0 <= apart_us < ASKS_APART_US:
                self._asked_s = edge.now_s  # with what is written now: one write less
                self._ask_for_acks()
            else:
                self.hub.ask_soon(self)
        self.dirty = False
        stream = self.stream
        if stream is not None:
            stream.flush()
            stream.go_on()

    def _on_item(self, item: a.Item) -> None:
        """DELIVERY.md: forward if prev <= last < q, drop q <= last, else ask to rewind."""
        if not self.taking:  # the client went unavailable meanwhile: it waits for the next one
            self._say_presence_again()
            return
        last = self._last
        if item.prev <= last < item.q:
            self._last = item.q
            self._attach_delay_s = ATTACH_FIRST_S
            if item.q > self._shown_q:
                self._shown_q = item.q
                self._show(item)
            else:  # the client went unavailable and came back: it has this one
                self._sent_q = max(self._sent_q, item.q)
                self.dirty = True
        elif item.q > last:
            self.tell(m.Rewind(self.device, self.number, last))

    def _show(self, item: a.Item) -> None:
        try:
            self.messages.show(item)
        except Exception as error:  # our bug; it must not hold up all that follows
            log.error("item not shown", error=type(error).__name__, stack=stack_of(error))
            self.hub.edge.counts["internal"] += 1
            self.passed_over(item.q)

    def _on_bound(self, bound: im.Bound) -> None:
        if self.device:
            return  # told twice
        self.device = bound.device
        self.resource = bound.resource
        self.jid = f"{self.bare}/{bound.resource}"
        self._ordinal = bound.ordinal
        self._attach_s = self.hub.edge.now_s + self.hub.edge.limits.reattach_s
        if self.stream is not None:
            self.stream.bound(self)
        if self._forgotten:
            self._forgotten = False
            self._attach_soon()

    def _say_presence_again(self) -> None:
        """The actor believes something else, or has not answered: words get lost between nodes."""
        now_s = self.hub.edge.now_s
        if now_s > self._again_s + PRESENCE_AGAIN_S:
            self._again_s = now_s
            self.presence.again()

    def _on_started(self, started: im.Started) -> None:
        """The client is available: what follows comes after this item."""
        if self.taking or not self.presence.takes or not self.presence.is_last(started.n):
            return  # told twice, or too late
        self.taking = True
        self.starts += 1
        # What it had before may have been confirmed while the actor began.
        start = max(started.confirmed, self._confirmed)
        self._last = self._confirmed = self._sent_q = start
        self._ping_q = 0

    def _on_rejected(self, rejected: a.Rejected) -> None:
        if not self.device and self.stream is not None:
            stream, self.stream = self.stream, None
            self._close_down()
            stream.not_bound(rejected.code)
            return
        self.end("internal-server-error")

    def _on_gone(self, gone: a.Gone) -> None:
        """Another session has this resource now, or the key is worth nothing any more."""
        if gone.code == ShuttingDown.code:  # an administrator ends it; the client may come back
            self.hub.edge.counts["disconnected"] += 1
            self.end("system-shutdown")
            return
        self.hub.edge.counts["replaced"] += 1
        self.end("conflict" if gone.code == "conflict" else "not-authorized")

    def _on_stored(self, stored: a.Stored) -> None:
        submit = self._open.pop(stored.c, None)
        if submit is not None:
            self._put_off_resend()
            self._attach_delay_s = ATTACH_FIRST_S  # the actor answers
            self.messages.stored(stored.c, stored.id)
            self.dirty = True

    def _on_submit_refused(self, refused: a.SubmitRefused) -> None:
        """busy, try-again and gap pass: the submits are sent again, in order."""
        submit = self._open.get(refused.c)
        if submit is None:
            return
        if refused.code in ("busy", "try-again", "gap"):
            self._resend_s = min(self._resend_s, self.hub.edge.now_s + 0.25)
            return
        if refused.code == "rate-limited" and not submit.refused:
            # Its number must be used up, or nothing after it gets through.
            self._open[refused.c] = _refused(submit, refused.code)
            self._resend_all()
            return
        del self._open[refused.c]
        self._put_off_resend()
        self.messages.refused(refused.c, refused.code)
        self.dirty = True

    def _on_unknown_session(self, unknown: a.UnknownSession) -> None:
        self._forgotten = not self.device
        self._attach_soon()

    # ---- time, and the end -------------------------------------------------------------

    def sweep(self) -> None:
        now_s = self.hub.edge.now_s
        if self.over:
            return
        if not self.device:  # its client left before it was bound
            if self.stream is None or self.stream.over:
                self.end()
            elif now_s >= self._resend_s and not self._backlog:
                self.bind_again()
            return
        if self.stream is None and now_s >= self._waits_s:
            self.end()
            return
        self.sweep_asks(now_s)
        self._sweep_unready(now_s)
        self.sweep_line(now_s)
        if not self.taking and self.presence.takes:
            self._say_presence_again()

    def _sweep_unready(self, now_s: float) -> None:
        """The disk is full, the database away: nothing of what came is acknowledged, and a client
        that waits for it is told so. What it sent is kept and stored later, if it can resume.
        """
        if not (self._open or self._backlog) or self.hub.edge.ready():
            self._unready_s = 0.0
        elif not self._unready_s:
            self._unready_s = now_s
        elif self.stream is not None and now_s > self._unready_s + UNREADY_S:
            self._unready_s = 0.0
            self.stream.fail(StreamError("resource-constraint", "not stored, try again later"))

    def lost(self) -> None:
        """The connection is gone without a goodbye."""
        self.stream = None
        if self.over:
            return
        if not self.resumable or not self.device:
            self.end()
            return
        self.hub.edge.counts["xmpp-hibernating"] += 1
        self._waits_s = self.hub.edge.now_s + self.hub.edge.limits.resume_s
        self._requested = False
        if self._pushes and any(q for _, q in self._queue):
            self._push()

    def end(self, condition: str = "") -> None:
        """For good: what was not confirmed waits in the inbox again."""
        if self.over:
            return
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.session_over(condition)
        self.tell(im.Unbind(self.device, self.number, self.presence.last))
        self._close_down()

    def _close_down(self) -> None:
        self.over = True
        self.hub.sessions.pop(self.number, None)
        if self.token:
            self.hub.tokens.pop(self.token, None)
        self.hub.edge.numbers.close(self.number)
        waiting, self._resumes = self._resumes, None
        if waiting is not None:
            waiting[0].session_over("reset")
        self._queue.clear()
        self._open.clear()
        self._asks.clear()


def _refused(submit: m.Submit, code: str) -> m.Submit:
    return m.Submit(
        submit.device,
        submit.session,
        submit.c,
        submit.to,
        submit.peer,
        submit.hash,
        b"",
        code,
        submit.ref,
    )


_OWN: dict[type, Callable[[XmppSession, Any], None]] = {
    im.Bound: XmppSession._on_bound,
    im.Started: XmppSession._on_started,
    a.Rejected: XmppSession._on_rejected,
    a.Gone: XmppSession._on_gone,
    a.Stored: XmppSession._on_stored,
    a.SubmitRefused: XmppSession._on_submit_refused,
    a.UnknownSession: XmppSession._on_unknown_session,
}
