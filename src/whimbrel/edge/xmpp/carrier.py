"""What carries an XMPP stream: bytes of one connection in and out, in order, bounded, to the end.

RFC 6120 section 4. Law: every StreamError is said by its name, then the stream is closed; a flood
is slowed down by not reading. What the elements mean stands in entrance.py (before and during the
login) and stream.py (after it); these layers are one object, of which there is one a client.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Self

import structlog

from whimbrel.domain.discreet import stack_of
from whimbrel.domain.errors import Refused, SlowReader, TooManyConnections
from whimbrel.edge.xmpp.link import StreamLink
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.stream import Closed, Event, Opened, Stanza, StreamReader, XmlLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from whimbrel.domain import im
    from whimbrel.edge.xmpp.hub import Hub
    from whimbrel.edge.xmpp.login import Login
    from whimbrel.edge.xmpp.session import XmppSession

log = structlog.get_logger("whimbrel.edge")

GOODBYE_S = 5.0
REST_S = 2.0  # silence after which a parser is put away
EARLY_READS = 6  # after a login, after each of which it is, too: many come at once, and go silent
CLOSE = b"</stream:stream>"


class Carrier:
    front: ClassVar[str] = "xmpp"
    __slots__ = (
        "_end_s",
        "_events",
        "_fault",
        "_header_sent",
        "_left_q",
        "_paused",
        "_reads",
        "_requested_s",
        "account",
        "address",
        "allowance_bytes",
        "heard_s",
        "hub",
        "link",
        "login",
        "number",
        "over",
        "reader",
        "registering",
        "secure",
        "session",
        "started_s",
        "waits_for_bind",
    )

    def __init__(self, hub: Hub, link: StreamLink) -> None:
        edge = hub.edge
        self.hub = hub
        self.link = link
        self.reader = StreamReader(hub.xml_before_login)
        self._events: deque[Event] = deque()
        self._fault: StreamError | None = None
        self._header_sent = False
        self._paused = False
        self._left_q = -1  # the last item before the client ended its stream
        self._reads = 0
        self._end_s = self._requested_s = 0.0
        self.secure = False
        self.session: XmppSession | None = None
        self.login: Login | None = None
        self.address = ""  # of the account, after the login
        self.account = 0
        self.waits_for_bind = False
        self.registering: Callable[[im.Done], None] | None = None
        self.allowance_bytes = 2 * edge.limits.bytes_per_s
        self.started_s = self.heard_s = edge.now_s
        self.over = False
        self.number = edge.numbers.open(self)

    # ---- the connection's application --------------------------------------------------

    def connected(self, connection: object) -> Self:
        return self

    def opened(self) -> None:
        """TCP without TLS stands, or a handshake is done."""
        self.secure = self.link.tls_version != ""

    def received(self, data: bytes) -> None:
        if self.over or self._fault is not None or self.hub.frozen:
            return
        self.heard_s = self.hub.edge.now_s
        self.allowance_bytes -= len(data)
        try:
            events = self.reader.feed(data)
        except StreamError as error:
            events = self.reader.events
            self._fault = error
        self._events.extend(events)
        self.work()
        if self._reads < EARLY_READS:
            self._reads += 1
            self.reader.rest()

    def take_event(self, event: Event) -> None:
        """What another framing has read."""
        if not self.over and self._fault is None:
            self._events.append(event)

    def fault(self, error: StreamError) -> None:
        """Nothing is read after this; what came before still counts."""
        if self._fault is None:
            self._fault = error

    def new_reader(self, limits: XmlLimits) -> None:
        self.reader = StreamReader(limits)

    def raise_limits(self, limits: XmlLimits) -> None:
        """The stream goes on after the login."""
        self.reader.limits = limits

    @property
    def prefixes(self) -> dict[str, str]:
        """That the header declares beside the usual ones."""
        return {
            prefix: uri
            for prefix, uri in self.reader.prefixes.items()
            if (prefix, uri) != ("stream", names.STREAMS)
        }

    def closed(self) -> None:
        """The connection is gone, for whatever reason."""
        self.over = True
        self._events.clear()
        self.hub.edge.numbers.close(self.number)
        session, self.session = self.session, None
        if session is not None:
            if self._left_q >= 0 and self.link.peer_finished:
                session.has_all(self._left_q)
            session.lost()
        self.hub.edge.ended(self)

    @property
    def _waits(self) -> bool:
        return (
            self.waits_for_bind
            or self.registering is not None
            or (self.login is not None and self.login.waits)
            or (self.session is not None and self.session.is_full)
        )

    def work(self) -> None:
        """Handle what was read until something has to be waited for; then stop reading."""
        events = self._events
        try:
            while events and not self.over and not self.hub.frozen:
                if (self.session is None or self.session.is_full) and self._waits:
                    break
                self._handle(events.popleft())
            if self._fault is not None and not events and not self.over:
                raise self._fault
        except StreamError as error:
            self.fail(error)
        except Exception as error:
            log.error("stream failed", error=type(error).__name__, stack=stack_of(error))
            self.hub.edge.counts["internal"] += 1
            self.fail(StreamError("internal-server-error"))
        if self.over:
            return
        session = self.session
        if session is not None and session.dirty:
            session.flush()
        else:
            self.flush()
        if events or self.allowance_bytes < 0 or self._waits:
            if not self._paused:
                self._paused = True
                self.link.pause_reading()
                if self.allowance_bytes < 0:
                    self.hub.edge.counts["slowed-down"] += 1
        elif self._paused:
            self._paused = False
            self.link.resume_reading()

    def go_on(self) -> None:
        """The session has room again."""
        if self._paused and not self.over:
            self.work()

    # ---- events ------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        if type(event) is Stanza:
            element = event.element
            session = self.session
            if session is not None and element.ns == names.CLIENT:
                session.take(event)
            elif session is not None:
                self._nonza(session, element)
            elif self.account:
                self._before_bind(element)
            else:
                self._before_login(element)
        elif type(event) is Opened:
            self._open(event)
        else:
            assert type(event) is Closed
            self._goodbye()

    # ---- what the layers above do with them -------------------------------------------------

    def say_header(self) -> None:
        raise NotImplementedError

    def _open(self, opened: Opened) -> None:
        raise NotImplementedError

    def _before_login(self, element: Element) -> None:
        raise NotImplementedError

    def _before_bind(self, element: Element) -> None:
        raise NotImplementedError

    def _nonza(self, session: XmppSession, element: Element) -> None:
        raise NotImplementedError

    def deliver(self, answer: Any) -> None:
        """What the inside says before there is a session."""
        raise NotImplementedError

    # ---- bytes out ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self.link.write(data)

    def write_element(self, element: Element) -> None:
        """Something of the stream itself."""
        if element.ns == names.STREAMS:
            element = Element(
                names.CLIENT, f"stream:{element.name}", element.attributes, *element.nodes
            )
        self.write(write(element))

    def write_stanza(self, data: bytes) -> None:
        """A stanza as it is written in a stream of jabber:client."""
        self.link.write(data)

    def flush(self) -> None:
        link = self.link
        link.flush()
        if link.has_unsent and link.is_slow:
            self.hub.edge.counts["refused:slow-reader"] += 1
            log.info("reader is too slow, disconnected", code=SlowReader.code)
            self.abort()

    @property
    def unsent_bytes(self) -> int:
        return self.link.unsent_bytes

    @property
    def who(self) -> str:
        """Whose connection it is, for the operator."""
        return self.address or self.link.address

    # ---- time --------------------------------------------------------------------------

    def sweep(self) -> None:
        """About once a second."""
        edge = self.hub.edge
        limits, now_s = edge.limits, edge.now_s
        if self.over:
            if now_s > self._end_s + GOODBYE_S:
                self.link.abort()
            return
        self.allowance_bytes = min(
            self.allowance_bytes + limits.bytes_per_s, 2 * limits.bytes_per_s
        )
        if self._paused:
            self.work()
            if self.over:
                return
        session = self.session
        if session is None:
            if now_s - self.started_s > limits.hello_timeout_s + 5 * bool(self.account):
                self.fail(StreamError("connection-timeout"))
            elif self.login is not None:
                self.login.sweep(now_s)
            return
        silent_s = now_s - self.heard_s
        if silent_s > REST_S:
            self.reader.rest()
        if silent_s > limits.idle_timeout_s:
            edge.counts["refused:idle-timeout"] += 1
            self.fail(StreamError("connection-timeout"))
        elif silent_s > limits.idle_ping_s and now_s - self._requested_s > limits.idle_ping_s:
            self._requested_s = now_s
            session.are_you_there()

    # ---- the end -----------------------------------------------------------------------

    def fail(self, error: StreamError) -> None:
        """Section 4.9: the error, the end of the stream, the end of the connection."""
        if self.over:
            return
        self.hub.edge.counts[f"xmpp-stream:{error.condition}"] += 1
        if not self._header_sent:
            self.say_header()
        self.write_element(error.element())
        self._end()
        session, self.session = self.session, None
        if session is not None and session.stream is self:
            session.lost()

    def _end(self) -> None:
        self.say_goodbye()
        self.over = True
        self._end_s = self.hub.edge.now_s
        self._events.clear()
        self.link.finish()

    def say_goodbye(self) -> None:
        self.write(CLOSE)

    def _goodbye(self) -> None:
        """The client ends its stream (section 4.4): the session is over, not only away.

        It goes on reading until our own end: so when it ends the connection in good order after
        that, it has read everything, also if it never acknowledged anything.
        """
        session = self.session
        if session is not None and session.sm:
            self.session = session.stream = None
            session.end()
        self._left_q = 0 if session is None else session.sent_q  # what comes now is not written
        self.say_goodbye()
        self.over = True
        self._end_s = self.hub.edge.now_s
        self.link.finish()

    def replaced(self) -> None:
        """The session goes on in another connection."""
        self.session = None
        self.fail(StreamError("conflict", "resumed by another connection"))

    def session_over(self, condition: str) -> None:
        self.session = None
        if condition:
            self.fail(StreamError(condition))
        elif not self.over:
            self._end()

    def refuse(self, error: Refused) -> None:
        """The listener's own refusals."""
        self.hub.edge.counts[f"refused:{error.code}"] += 1
        full = error.code == TooManyConnections.code
        self.fail(StreamError("resource-constraint" if full else "policy-violation"))

    def shut_down(self, message: object) -> None:
        """The server ends."""
        session, self.session = self.session, None
        if session is not None:
            session.stream = None
            session.end()
        self.fail(StreamError("system-shutdown"))

    def abort(self) -> None:
        self.over = True
        self.link.abort()
