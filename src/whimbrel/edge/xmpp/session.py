"""A session: one bound XMPP client, which may outlive its connections (XEP-0198).

It turns stanzas into messages to the account's actor and answers into stanzas. Law 1: `<a/>` counts
a stanza only when what it asked for is committed. Laws 2 and 3: items of the inbox are written in
their order, each is kept until the client has acknowledged it, and confirmed then; what was not
goes to the client's next connection, or back to the inbox. decisions/0013.

One class, longer than others here: numbers in both directions and what waits for an answer are one
small set of fields. What stanzas mean stands in messages.py, presence.py and features/.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.discreet import stack_of
from whimbrel.edge.session import (
    ATTACH_FIRST_S,
    ATTACH_MAX_S,
    BUSY_RETRY_S,
)
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

REQUEST = f"<r xmlns='{names.SM}'/>".encode()
ASK_AGAIN_S = 5.0  # a client that has handled nothing since it was asked
ASKS_MAX = 64  # requests of one client that wait for its actor
PUSH_EVERY_S = 1.0  # at most, for one client
EPHEMERAL_WAITING_MAX = 500  # stanzas that pass through and wait in a session without a client


class XmppSession:
    __slots__ = (
        "_ack_wanted",
        "_acked",
        "_asked_s",
        "_asks",
        "_attach_delay_s",
        "_attach_s",
        "_backlog",
        "_can_ping",
        "_confirmed",
        "_forgotten",
        "_last",
        "_open",
        "_ordinal",
        "_ping_q",
        "_pushed_s",
        "_pushes",
        "_queue",
        "_requested",
        "_resend_delay_s",
        "_resend_s",
        "_sent",
        "_sent_q",
        "_shown_q",
        "_tag",
        "_undone",
        "_waits_s",
        "account",
        "address",
        "bare",
        "blocks_said",
        "carbons",
        "device",
        "dirty",
        "hub",
        "inactive",
        "jid",
        "messages",
        "number",
        "over",
        "prefixes",
        "presence",
        "received",
        "resource",
        "resumable",
        "sm",
        "stream",
        "taking",
        "token",
        "via",
        "wants_blocks",
        "wants_roster",
    )

    def __init__(self, hub: Hub, stream: XmppStream, address: str, account: int, via: int) -> None:
        self.hub = hub
        self.stream: XmppStream | None = stream
        self.address = address
        self.account = account
        self.via = via
        self.bare = f"{address}@{hub.domain}"
        self.jid = self.bare
        self.device = 0
        self.resource = ""
        self.prefixes: dict[str, str] = {}  # that the header of the client's stream declares
        self.over = False
        self.dirty = False  # something was written since the last flush
        # stream management
        self.sm = False
        self.resumable = False
        self.token = ""
        self.received = 0  # stanzas that came
        self._undone: dict[int, None] = {}  # those of them that are not committed, in order
        self._ack_wanted = -1
        self._sent = 0  # stanzas written since <enabled/>
        self._acked = 0
        self._queue: deque[tuple[bytes, int]] = deque()  # written, not acknowledged; with its q
        self._requested = False  # an <r/> of ours is not answered
        self._can_ping = False
        self._ping_q = 0  # the same without stream management: a ping behind this item
        self._pushes: dict[tuple[str, str], tuple[int, bytes]] = {}  # (jid, node) -> (home, iq)
        self._pushed_s = 0.0
        # towards the actor
        self._ordinal = 0
        self._last = 0  # the last item taken
        self._confirmed = 0
        self._shown_q = 0  # the last item that was ever taken
        self._sent_q = 0  # the last item written, or passed over
        self._backlog: deque[m.ToActor] = deque()
        self._open: dict[int, m.Submit] = {}
        self._asks: dict[int, Callable[[Any], None]] = {}
        self._tag = 0
        self._forgotten = False
        self._asked_s = 0.0
        self._attach_s = self._resend_s = self._waits_s = 0.0
        self._resend_delay_s = 0.0
        self._attach_delay_s = ATTACH_FIRST_S
        # what features keep here
        self.carbons = False
        self.inactive = False
        self.taking = False
        self.wants_roster = False
        self.wants_blocks = False
        self.blocks_said: set[str] = set()  # by this client, not answered
        self.messages = Messages(self)
        self.presence = Presence(self)
        self.number = hub.edge.numbers.open(self)
        hub.sessions[self.number] = self

    def bind(self, resource: str) -> None:
        self.tell(im.Bind(self.number, self.via, resource))

    # ---- stanzas in ----------------------------------------------------------------------

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

    # ---- answers to the client -----------------------------------------------------------

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

    def send_element(self, element: Element, q: int = 0) -> None:
        self.send(write(element), q)

    def send(self, data: bytes, q: int = 0) -> None:
        """A stanza in the namespace jabber:client. q: the item of the inbox that it shows."""
        if q:
            self._sent_q = q
        if self.sm:
            self._sent += 1
            self._queue.append((data, q))
        stream = self.stream
        if stream is not None:
            stream.write_stanza(data)
            self.dirty = True
        elif q and self._pushes:
            self._push()

    def set_push(self, jid: str, node: str, home: int, stanza: bytes) -> None:
        """This client wants to be woken so (XEP-0357); stanza b"": no more."""
        for key in list(self._pushes):
            if key[0] == jid and node in ("", key[1]):
                del self._pushes[key]
        if stanza:
            self._pushes[jid, node] = (home, stanza)

    def _push(self) -> None:
        """Something waits in a session whose client is away."""
        edge = self.hub.edge
        if edge.now_s < self._pushed_s + PUSH_EVERY_S:
            return
        self._pushed_s = edge.now_s
        for home, stanza in self._pushes.values():
            told = im.PeerRelay(self.account, self.address, "", "", im.IQ, stanza)
            edge.router.tell(home, told)

    def passed_over(self, q: int) -> None:
        """An item that this client is not shown."""
        if not self.sm:
            was = self._sent_q
            self._sent_q = q
            if self._confirmed >= was:
                self.confirm(q)
        elif self._queue:
            data, old = self._queue[-1]
            self._queue[-1] = (data, max(old, q))
            self._sent_q = q
        else:
            self._sent_q = q
            self.confirm(q)

    @property
    def waiting(self) -> int:
        """Stanzas that were written and are not acknowledged."""
        return len(self._queue)

    @property
    def has_asked(self) -> bool:
        """Its client was asked what it has, and has not answered."""
        return self._requested

    @property
    def asks_soon(self) -> bool:
        """Its client is about to be asked what it has."""
        return self.hub.is_asking(self)

    def confirm(self, q: int) -> None:
        """The client has everything up to this item."""
        if q > self._confirmed:
            self._confirmed = q
            self._last = max(self._last, q)  # it had it before it went unavailable and came back
            self.tell(m.Confirm(self.device, self.number, q))

    # ---- stream management (XEP-0198) ----------------------------------------------------

    def enable(self, resumable: bool) -> None:
        self.sm = True
        self.received = 0
        self._undone.clear()
        if resumable:
            self.resumable = True
            self.token = self.hub.new_token(self)

    def undone(self) -> int:
        """The stanza at hand is acknowledged only when done() was called for it."""
        at = self.received
        self._undone[at] = None
        return at

    def done(self, at: int) -> None:
        if self._undone.pop(at, 0) is None and self._ack_wanted >= 0:
            self._answer_request()

    @property
    def handled(self) -> int:
        """Stanzas of the client that are handled for good, all up to this one."""
        first = next(iter(self._undone), 0)
        return (first - 1 if first else self.received) & 0xFFFFFFFF

    def on_request(self) -> None:
        """<r/>: answered when everything before it is committed."""
        self._ack_wanted = self.received
        self._answer_request()

    def _answer_request(self) -> None:
        first = next(iter(self._undone), 0)
        if first and first <= self._ack_wanted:
            return
        self._ack_wanted = -1
        stream = self.stream
        if stream is not None:
            stream.write_stanza(f"<a xmlns='{names.SM}' h='{self.handled}'/>".encode())
            self.dirty = True

    def on_ack(self, h: int) -> None:
        """The client has h stanzas. Raises StreamError if these are more than were sent."""
        count = (h - self._acked) & 0xFFFFFFFF
        if count > len(self._queue):
            raise StreamError(
                "undefined-condition",
                f"{h} stanzas were acknowledged, {self._sent} were sent",
            )
        self._acked = h & 0xFFFFFFFF
        top = 0
        for _ in range(count):
            q = self._queue.popleft()[1]
            if q > top:
                top = q
        self._requested = False
        if top:
            self.confirm(top)
        if self._waits_for_confirm():
            if count:
                self.hub.ask_soon(self)
            else:  # it has read our question and has not handled more: sweep() asks again
                self._asked_s = self.hub.edge.now_s

    def _ask_for_acks(self) -> None:
        """One question at a time, whenever something waits that has to be confirmed."""
        stream = self.stream
        if stream is None:
            return
        if self.sm:
            if not self._requested and self._queue and self._waits_for_confirm():
                self._requested = True
                stream.write_stanza(REQUEST)
                self.dirty = True
        elif not self._ping_q and self._sent_q > self._confirmed:
            self._ping_q = self._sent_q
            self._ping(self._ping_q)
            self.dirty = True

    def _ping(self, q: int) -> None:
        """Asks what every client answers. A ping only of those who say that they know it: some
        fall over it.
        """
        stream = self.stream
        if stream is not None:
            about = {
                "type": "get",
                "id": f"whimbrel-ping-{q}",
                "from": self.hub.domain,
                "to": self.jid,
            }
            asked = (
                Element(names.PING, "ping")
                if self._can_ping
                else Element(names.DISCO_INFO, "query")
            )
            stream.write_stanza(write(Element(names.CLIENT, "iq", about, asked)))

    def _waits_for_confirm(self) -> bool:
        return self._sent_q > self._confirmed or len(self._queue) >= 50

    def resume(self, stream: XmppStream, h: int, quiet: bool = False) -> None:
        """A new connection of the same client (section 5). Raises StreamError."""
        old, self.stream = self.stream, None
        if old is not None:
            old.replaced()
        count = (h - self._acked) & 0xFFFFFFFF
        if count > len(self._queue):
            raise StreamError("undefined-condition", "more was acknowledged than was sent")
        self.stream = stream
        self._requested = False
        self._ack_wanted = -1
        if not quiet:
            stream.write_stanza(
                f"<resumed xmlns='{names.SM}' previd='{self.token}' h='{self.handled}'/>".encode()
            )
        self.on_ack(h)
        for data, _ in self._queue:
            stream.write_stanza(data)
        self.inactive = False
        self.presence.release()
        self._requested = False
        self._ask_for_acks()
        stream.flush()

    # ---- what the actor says -------------------------------------------------------------

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
                    then = self._asks.pop(tag, None)
                    if then is not None:
                        then(answer)
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
            now_s = self.hub.edge.now_s
            if self.sm and not self._requested and now_s > self._asked_s:
                self._asked_s = now_s  # with what is written now: one write less
                self._ask_for_acks()
            else:
                self.hub.ask_soon(self)
        self.dirty = False
        stream = self.stream
        if stream is not None:
            stream.flush()
            stream.go_on()

    def ask_now(self) -> None:
        """The moment has come to ask what has arrived."""
        if self.stream is not None and not self.over:
            self._ask_for_acks()
            self.stream.flush()

    def _on_item(self, item: a.Item) -> None:
        """DELIVERY.md: forward if prev <= last < q, drop q <= last, else ask to rewind."""
        if not self.taking:
            return  # the client went unavailable meanwhile: it waits for the next one
        last = self._last
        if item.prev <= last < item.q:
            self._last = item.q
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

    def _on_started(self, started: im.Started) -> None:
        """The client is available: what follows comes after this item."""
        self.taking = True
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
        self.hub.edge.counts["replaced"] += 1
        self.end("conflict" if gone.code == "conflict" else "not-authorized")

    def _on_stored(self, stored: a.Stored) -> None:
        submit = self._open.pop(stored.c, None)
        if submit is not None:
            self._put_off_resend()
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
        if self.device:
            self._attach_soon()
        else:
            self._forgotten = True

    def _on_end_of_queue(self, end: a.EndOfQueue) -> None:
        """All that had waited was sent."""
        self.messages.caught_up()

    # ---- towards the actor ---------------------------------------------------------------

    def tell(self, message: m.ToActor) -> None:
        """In order, also when the actor's mailbox is full."""
        backlog = self._backlog
        if backlog or not self.hub.edge.router.tell(self.account, message):
            if not backlog:
                self.hub.edge.later(BUSY_RETRY_S, self._try_backlog)
            backlog.append(message)

    def _try_backlog(self) -> None:
        backlog = self._backlog
        if self.over and not backlog:
            return
        tell = self.hub.edge.router.tell
        while backlog and tell(self.account, backlog[0]):
            backlog.popleft()
        if backlog:
            self.hub.edge.later(BUSY_RETRY_S, self._try_backlog)
        elif self.stream is not None:
            self.stream.go_on()

    def ask(self, make: Callable[[int], m.ToActor], then: Callable[[Any], None]) -> bool:
        """Ask the actor something: then(answer). False: too much is asked already."""
        if len(self._asks) >= ASKS_MAX:
            return False
        self._tag += 1
        self._asks[self._tag] = then
        self.tell(make(self._tag))
        return True

    def ask_other(
        self, account: int, make: Callable[[int], m.ToActor], then: Callable[[Any], None]
    ) -> bool:
        """The same of another account's actor; lost if it is busy."""
        if len(self._asks) >= ASKS_MAX:
            return False
        self._tag += 1
        self._asks[self._tag] = then
        if not self.hub.edge.router.tell(account, make(self._tag)):
            self._asks.pop(self._tag, None)
            return False
        return True

    def submit(self, message: m.Submit) -> None:
        if not self._open:
            self._put_off_resend()
        self._open[message.c] = message
        self.tell(message)

    def _put_off_resend(self) -> None:
        self._resend_delay_s = self.hub.edge.limits.resend_first_s
        self._resend_s = self.hub.edge.now_s + self._resend_delay_s

    def _resend_all(self) -> None:
        if not self._backlog:
            for message in self._open.values():
                self.tell(message)

    def _attach_soon(self) -> None:
        delay_s = self._attach_delay_s
        self._attach_delay_s = min(delay_s * 2, ATTACH_MAX_S)
        self._attach_s = self.hub.edge.now_s + self.hub.edge.limits.reattach_s
        self.hub.edge.later(delay_s, self._attach)

    def _attach(self) -> None:
        """The actor has lost its memory: say where we stand, then repeat what is unanswered."""
        if self.over:
            return
        if not self.hub.edge.ready():
            self._attach_soon()
            return
        self._backlog.clear()
        self._say_where()
        self.presence.again()
        for message in self._open.values():
            self.tell(message)

    def _say_where(self) -> None:
        self.tell(m.Attach(self.device, self.number, self._ordinal, self._last, self._confirmed))

    def are_you_there(self) -> None:
        """The client is silent: it is asked something that every client answers."""
        stream = self.stream
        if stream is None:
            return
        if self.sm:
            stream.write_stanza(REQUEST)
        else:
            self._ping(self._ping_q)
        stream.flush()

    def sweep(self) -> None:
        edge = self.hub.edge
        now_s = edge.now_s
        if self.over or not self.device:
            return
        if self.stream is None and now_s >= self._waits_s:
            self.end()
            return
        if self.sm and now_s > self._asked_s + ASK_AGAIN_S and self._waits_for_confirm():
            self._asked_s = now_s
            self.ask_now()
        if self._open and now_s >= self._resend_s:
            self._resend_delay_s = min(self._resend_delay_s * 2, edge.limits.resend_max_s)
            self._resend_s = now_s + self._resend_delay_s
            self._resend_all()
        if now_s >= self._attach_s:
            self._attach_delay_s = ATTACH_FIRST_S
            self._attach_s = now_s + edge.limits.reattach_s
            self._say_where()

    # ---- the end -------------------------------------------------------------------------

    def has_all(self) -> None:
        """A client without stream management has read to the end."""
        self.confirm(self._sent_q)

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
        if self.device:
            self.tell(im.Unbind(self.device, self.number, self.presence.last))
        self._close_down()

    def _close_down(self) -> None:
        self.over = True
        self.hub.sessions.pop(self.number, None)
        if self.token:
            self.hub.tokens.pop(self.token, None)
        self.hub.edge.numbers.close(self.number)
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
    a.EndOfQueue: XmppSession._on_end_of_queue,
}
