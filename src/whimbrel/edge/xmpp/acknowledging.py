"""What was written to a client and what it has: stream management (XEP-0198), or a question.

Law 1: `<a/>` counts a stanza only when what it asked for is committed. Law 2: a stanza is kept
until the client has acknowledged it, and the item of the inbox that it shows is confirmed then;
after a resumption what is left is written again, in its order. Clients without stream management
are asked what every client answers. Below: actor_line.py; above: session.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from whimbrel.domain import im
from whimbrel.edge.xmpp.actor_line import ActorLine
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub
    from whimbrel.edge.xmpp.stream import XmppStream

REQUEST = f"<r xmlns='{names.SM}'/>".encode()
ASK_AGAIN_S = 5.0  # a client that has handled nothing since it was asked
ASKS_APART_US = 50_000  # between two questions that ride with messages
PUSH_EVERY_S = 1.0  # at most, for one client


class Acknowledging(ActorLine):
    __slots__ = (
        "_ack_wanted",
        "_acked",
        "_asked_s",
        "_asked_us",
        "_can_ping",
        "_ping_q",
        "_pushed_s",
        "_pushes",
        "_queue",
        "_requested",
        "_resumes",
        "_sent",
        "_sent_q",
        "_undone",
        "_waits_s",
        "address",
        "dirty",
        "inactive",
        "jid",
        "received",
        "resumable",
        "sm",
        "token",
    )
    jid: str

    def __init__(self, hub: Hub, stream: XmppStream | None, address: str, account: int) -> None:
        super().__init__(hub, stream, account)
        self.address = address
        self.dirty = False  # something was written since the last flush
        self.inactive = False  # the client has said so (XEP-0352)
        self.sm = False
        self.resumable = False
        self.token = ""
        self.received = 0  # stanzas that came
        self._undone: dict[int, None] = {}  # those of them that are not committed, in order
        self._ack_wanted = -1
        self._resumes: tuple[XmppStream, Callable[[], None]] | None = None  # that waits for us
        self._sent = 0  # stanzas written since <enabled/>
        self._acked = 0
        self._queue: deque[tuple[bytes, int]] = deque()  # written, not acknowledged; with its q
        self._sent_q = 0  # the last item written, or passed over
        self._requested = False  # an <r/> of ours is not answered
        self._asked_s = 0.0
        self._asked_us = 0  # the same, to the microsecond, of the last <r/>
        self._can_ping = False
        self._ping_q = 0  # the same without stream management: a ping behind this item
        self._pushes: dict[tuple[str, str], tuple[int, bytes]] = {}  # (jid, node) -> (home, iq)
        self._pushed_s = 0.0
        self._waits_s = 0.0  # without a connection, until then

    # ---- stanzas out -------------------------------------------------------------------

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
        if q <= self._sent_q:
            return  # known late: what was written meanwhile confirms it, too
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

    # ---- stanzas in: counted when what they asked for is committed ---------------------

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
        waiting, self._resumes = self._resumes, None
        if waiting is not None:
            waiting[1]()
            return
        stream = self.stream
        if stream is not None:
            stream.write_stanza(f"<a xmlns='{names.SM}' h='{self.handled}'/>".encode())
            self.dirty = True

    # ---- the client's acknowledgements -------------------------------------------------

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
                self._asked_us = self.hub.edge.wall_us()
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

    def ask_now(self) -> None:
        """The moment has come to ask what has arrived."""
        if self.stream is not None and not self.over:
            self._ask_for_acks()
            self.stream.flush()

    def sweep_asks(self, now_s: float) -> None:
        if self.sm and now_s > self._asked_s + ASK_AGAIN_S and self._waits_for_confirm():
            self._asked_s = now_s
            self.ask_now()

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

    def has_all(self, q: int) -> None:
        """A client without stream management has read to the end, which came after this item."""
        self.confirm(q)

    @property
    def sent_q(self) -> int:
        """The last item that was written, or passed over."""
        return self._sent_q

    # ---- resumption (section 5) --------------------------------------------------------

    def settle(self, stream: XmppStream, then: Callable[[], None]) -> None:
        """This connection takes the session over: then() when all that came before is committed.

        What it is told as handled its client forgets, and all else it sends again: so nothing may
        be under way meanwhile, or it would come twice.
        """
        old, self.stream = self.stream, None
        if old is not None:
            old.replaced()
        waiting, self._resumes = self._resumes, None
        if waiting is not None:
            waiting[0].replaced()
        self._waits_s = self.hub.edge.now_s + self.hub.edge.limits.resume_s
        if self._undone:
            self._resumes = (stream, then)
            self._ack_wanted = self.received
        else:
            then()

    def resume(self, stream: XmppStream, h: int) -> None:
        """A new connection of the same client; it has heard so. Raises StreamError."""
        count = (h - self._acked) & 0xFFFFFFFF
        if count > len(self._queue):
            raise StreamError("undefined-condition", "more was acknowledged than was sent")
        self.stream = stream
        if self.carried:
            self._attach()
        self._requested = False
        self._ack_wanted = -1
        self.on_ack(h)
        for data, _ in self._queue:
            stream.write_stanza(data)
        self.inactive = False
        self.presence.release()
        self._requested = False
        self._ask_for_acks()
        stream.flush()
