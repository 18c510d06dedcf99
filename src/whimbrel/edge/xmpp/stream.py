"""One connection of an XMPP client: header, TLS, login, and what carries the session.

RFC 6120 sections 4 to 7, over TCP; websocket.py and bosh.py frame the same otherwise. Law: every
StreamError is said by its name, then the stream is closed; a flood is slowed down by not reading.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from whimbrel.domain import im
from whimbrel.domain.discreet import stack_of
from whimbrel.domain.errors import Refused, SlowReader, TooManyConnections
from whimbrel.edge.xmpp.link import StreamLink
from whimbrel.edge.xmpp.login import BINDINGS, Login
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.sasl.failures import SaslFailure, decoded, encoded
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError, answer_to, stanza_error
from whimbrel.protocol.xmpp.jid import JidMalformed, resourcepart
from whimbrel.protocol.xmpp.stream import Closed, Event, Opened, Stanza, StreamReader, XmlLimits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from whimbrel.edge.xmpp.hub import Hub

log = structlog.get_logger("whimbrel.edge")

LOGINS_MAX = 3  # failed ones of one stream
GOODBYE_S = 5.0
REST_S = 2.0  # silence after which a parser is put away
EARLY_READS = 6  # after a login, after each of which it is, too: many come at once, and go silent
CLOSE = b"</stream:stream>"


class XmppStream:
    """`context`: for STARTTLS; None: TLS is there from the start, or is not spoken at all."""

    __slots__ = (
        "_bind_iq",
        "_context",
        "_end_s",
        "_events",
        "_fault",
        "_header_sent",
        "_left",
        "_logins_failed",
        "_paused",
        "_reads",
        "_requested_s",
        "_sasl2",
        "account",
        "address",
        "allowance_bytes",
        "heard_s",
        "hub",
        "key_hash",
        "link",
        "login",
        "number",
        "over",
        "reader",
        "registering",
        "secure",
        "session",
        "started_s",
        "via",
        "waits_for_bind",
    )

    def __init__(self, hub: Hub, link: StreamLink, context: ssl.SSLContext | None) -> None:
        edge = hub.edge
        self.hub = hub
        self.link = link
        self._context = context
        self.reader = StreamReader(hub.xml_before_login)
        self._events: deque[Event] = deque()
        self._fault: StreamError | None = None
        self._header_sent = False
        self._paused = False
        self._left = False  # the client has ended its stream
        self._logins_failed = 0
        self._reads = 0
        self._end_s = self._requested_s = 0.0
        self.secure = False
        self.session: XmppSession | None = None
        self.login: Login | None = None
        self._sasl2: Any = None
        self._bind_iq: Element | None = None
        self.address = ""  # of the account, after the login
        self.account = 0
        self.via = 0
        self.key_hash = b""  # of the key that was shown
        self.waits_for_bind = False
        self.registering: Callable[[im.Done], None] | None = None
        self.allowance_bytes = 2 * edge.limits.bytes_per_s
        self.started_s = self.heard_s = edge.now_s
        self.over = False
        self.number = edge.numbers.open(self)

    # ---- the connection's application -----------------------------------------------------

    def connected(self, connection: object) -> XmppStream:
        return self

    def opened(self) -> None:
        """TCP without TLS stands, or a handshake is done."""
        self.secure = self.link.tls_version != ""

    def received(self, data: bytes) -> None:
        if self.over or self._fault is not None:
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

    def raise_limits(self, limits: XmlLimits) -> None:
        """The stream goes on after the login."""
        self.reader.limits = limits

    def new_reader(self, limits: XmlLimits) -> None:
        self.reader = StreamReader(limits)

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
            if self._left and self.link.peer_finished:
                session.has_all()
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
            while events and not self.over:
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

    # ---- events --------------------------------------------------------------------------

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

    def _open(self, opened: Opened) -> None:
        attributes = opened.attributes
        self._header_sent = True
        self.say_header()
        to = attributes.get("to", "")
        if to and to.rstrip(".").lower() != self.hub.domain:
            raise StreamError("host-unknown")
        version = attributes.get("version", "0.9")
        try:
            major = int(version.partition(".")[0])
        except ValueError:
            raise StreamError("unsupported-version") from None
        if major < 1:
            raise StreamError("unsupported-version", "XMPP 1.0 is spoken here")
        if not self.hub.edge.ready():
            raise StreamError("resource-constraint", "not ready, try again")
        self.say_features()

    def say_header(self) -> None:
        self.write(
            f"<?xml version='1.0'?><stream:stream xmlns='{names.CLIENT}' xmlns:stream="
            f"'{names.STREAMS}' id='{secrets.token_urlsafe(12)}' from='{self.hub.domain}'"
            " version='1.0' xml:lang='en'>".encode()
        )

    def say_features(self) -> None:
        inside: list[Element] = []
        if not self.secure and self._context is not None:
            inside.append(Element(names.TLS, "starttls"))
            if self.hub.settings.tls_required:
                inside[0].nodes.append(Element(names.TLS, "required"))
        if not self.may_not_log_in:
            if not self.account:
                inside += self._login_features()
            for offer in self.hub.offers:
                inside += offer(self)
        self.write_element(Element(names.STREAMS, "features", {}, *inside))

    @property
    def may_not_log_in(self) -> bool:
        return not self.secure and self._context is not None and self.hub.settings.tls_required

    def _login_features(self) -> list[Element]:
        login = self.fresh_login()
        listed = [Element(names.SASL, "mechanism", {}, each) for each in login.mechanisms]
        found: list[Element] = [Element(names.SASL, "mechanisms", {}, *listed)]
        bindings = self._bindings()
        if bindings:
            kinds = [
                Element(names.CHANNEL_BINDINGS, "channel-binding", {"type": k}) for k in bindings
            ]
            found.append(Element(names.CHANNEL_BINDINGS, "sasl-channel-binding", {}, *kinds))
        return found

    # ---- before the login ----------------------------------------------------------------

    def _before_login(self, element: Element) -> None:
        ns, name = element.ns, element.name
        if ns == names.TLS and name == "starttls":
            self._start_tls()
        elif self.may_not_log_in:
            raise StreamError("policy-violation", "TLS comes first")
        elif ns == names.SASL:
            self._sasl(element)
        elif ns == names.CLIENT:
            self._early(element)
        else:
            call = self.hub.early.get(ns)
            if call is None:
                raise StreamError("unsupported-stanza-type")
            call(self, element)

    def _early(self, element: Element) -> None:
        """A stanza of somebody who has not logged in: only registration is answered."""
        child = element.first()
        call = self.hub.early.get(child.ns) if child is not None else None
        if element.name != "iq" or call is None or child is None or child.ns != names.REGISTER:
            raise StreamError("not-authorized")
        call(self, element)

    def _start_tls(self) -> None:
        if self._context is None or self.secure:
            self.write_element(Element(names.TLS, "failure"))
            raise StreamError("policy-violation", "TLS is on already")
        if self._events or self.reader.pending:
            raise StreamError("policy-violation", "nothing may come between STARTTLS and TLS")
        self.write_element(Element(names.TLS, "proceed"))
        self.new_reader(self.hub.xml_before_login)
        self._header_sent = False
        self.link.start_tls(self._context)

    def fresh_login(self) -> Login:
        self.login = Login(
            self.hub,
            self.link.address,
            self.number,
            self.secure or self._context is None,
            self._bindings(),
            self._challenge,
            self._logged_in,
            self.login_failed,
        )
        return self.login

    def _bindings(self) -> dict[str, bytes]:
        """What binds a login to this very TLS connection (RFC 5929, 9266)."""
        if not self.secure:
            return {}
        found = {}
        for kind in BINDINGS:
            if kind == "tls-unique" and self.link.tls_version == "TLSv1.3":
                continue  # undefined there
            data = (
                self.hub.end_point()
                if kind == "tls-server-end-point"
                else self.link.channel_binding(kind)
            )
            if data:
                found[kind] = data
        return found

    def _sasl(self, element: Element) -> None:
        login = self.login
        assert login is not None
        name = element.name
        try:
            if name == "auth":
                text = element.text
                login.start(element.get("mechanism"), decoded(text) if text else None)
            elif name == "response" and login.under_way:
                login.go_on(decoded(element.text))
            elif name == "abort" and login.under_way:
                login.abort()
            else:
                raise StreamError("unsupported-stanza-type")
        except SaslFailure as failure:
            self.login_failed(failure)

    def begin_sasl2(self, sasl2: Any) -> None:
        """The exchange that follows is framed by XEP-0388."""
        self._sasl2 = sasl2

    def finish_sasl2(self) -> None:
        """No new header: the features come at once."""
        self._sasl2 = None
        self.say_features()

    def _challenge(self, data: bytes) -> None:
        if self._sasl2 is not None:
            self._sasl2.challenge(data)
        else:
            text = encoded(data) if data else ""
            self.write_element(Element(names.SASL, "challenge", {}, text))

    def _logged_in(
        self, address: str, account: int, device: int, key_hash: bytes, final: bytes
    ) -> None:
        self.address, self.account, self.via = address, account, device
        self.key_hash = key_hash
        self.login = None
        self.hub.edge.authenticated(self)
        if self._sasl2 is not None:
            self.raise_limits(self.hub.xml)
            self._sasl2.succeed(final)
            return
        text = encoded(final) if final else ""
        self.write_element(Element(names.SASL, "success", {}, text))
        self.new_reader(self.hub.xml)
        self._header_sent = False
        self._reads = 0

    def login_failed(self, failure: SaslFailure) -> None:
        ns = names.SASL
        condition = Element(ns, failure.condition)
        if self._sasl2 is not None:
            self._sasl2.fail(condition, failure.text)
            self._sasl2 = None
        else:
            inside = [condition]
            if failure.text:
                inside.append(Element(ns, "text", {}, failure.text))
            self.write_element(Element(ns, "failure", {}, *inside))
        self.hub.edge.counts[f"xmpp-login:{failure.condition}"] += 1
        self.fresh_login()
        self._logins_failed += 1
        if self._logins_failed >= LOGINS_MAX:
            self.fail(StreamError("policy-violation", "too many failed logins"))

    # ---- between login and session -------------------------------------------------------

    def _before_bind(self, element: Element) -> None:
        child = element.first()
        if (
            element.ns == names.CLIENT
            and element.name == "iq"
            and element.get("type") == "set"
            and child is not None
            and (child.ns, child.name) == (names.BIND, "bind")
        ):
            self._bind(element, child)
        elif element.ns == names.SM and element.name == "resume":
            self._resume(element)
        elif element.ns == names.SM:
            self.sm_failed("unexpected-request")
        elif element.ns == names.CLIENT:
            if element.get("type") not in ("error", "result"):
                self.write_element(stanza_error(element, "not-allowed", "bind a resource first"))
        else:
            raise StreamError("unsupported-stanza-type")

    def _bind(self, iq: Element, bind: Element) -> None:
        wanted = bind.child_text(names.BIND, "resource") or ""
        try:
            resource = resourcepart(wanted) if wanted else secrets.token_urlsafe(9)
        except JidMalformed:
            self.write_element(stanza_error(iq, "bad-request"))
            return
        self._bind_iq = iq
        self.begin_session(resource)

    def begin_session(self, resource: str) -> None:
        self.waits_for_bind = True
        session = XmppSession(self.hub, self, self.address, self.account, self.via)
        session.prefixes = self.prefixes
        session.bind(resource)

    def bound(self, session: XmppSession) -> None:
        """The session's resource is committed."""
        self.waits_for_bind = False
        self.session = session
        iq, self._bind_iq = self._bind_iq, None
        if self._sasl2 is not None:
            self._sasl2.bound(session)
        elif iq is not None:
            jid = Element(names.BIND, "jid", {}, session.jid)
            self.write_element(answer_to(iq, "result", Element(names.BIND, "bind", {}, jid)))
        self.work()

    def not_bound(self, code: str) -> None:
        self.waits_for_bind = False
        iq, self._bind_iq = self._bind_iq, None
        if code == "not-authorized" or iq is None:
            self.fail(StreamError("not-authorized"))
            return
        self.write_element(stanza_error(iq, "resource-constraint", "too many clients"))
        self.work()

    def _resume(self, element: Element) -> None:
        session = self.resumable(element)
        if session is None:
            self.sm_failed("item-not-found")
        else:
            self.resume_session(session, int(element.get("h")))

    def resumable(self, element: Element) -> XmppSession | None:
        """The session that a <resume/> names, if it is there and of this account."""
        session = self.hub.tokens.get(element.get("previd"))
        h = element.get("h")
        if session is None or session.over or session.account != self.account:
            return None
        return session if h.isascii() and h.isdigit() and len(h) <= 10 else None

    def resume_session(self, session: XmppSession, h: int, quiet: bool = False) -> None:
        """quiet: the client was told already."""
        self.session = session
        session.prefixes = self.prefixes
        session.resume(self, h, quiet)
        self.hub.edge.counts["xmpp-resumed"] += 1

    def sm_failed(self, condition: str) -> None:
        failed = Element(names.SM, "failed", {}, Element(names.STANZA_ERRORS, condition))
        self.write_element(failed)

    def _nonza(self, session: XmppSession, element: Element) -> None:
        call = self.hub.nonzas.get(element.ns)
        if call is None:
            raise StreamError("unsupported-stanza-type")
        call(session, element)

    # ---- bytes out -----------------------------------------------------------------------

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

    # ---- time ----------------------------------------------------------------------------

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

    # ---- the end -------------------------------------------------------------------------

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
        self._left = True
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

    # ---- what the inside says before there is a session -----------------------------------

    def deliver(self, answer: Any) -> None:
        if self.over:
            return
        if isinstance(answer, im.Keys) and self.login is not None:
            self.login.on_keys(answer)
        elif isinstance(answer, im.Done) and self.registering is not None:
            then, self.registering = self.registering, None
            then(answer)
        if not self.over:
            self.work()
