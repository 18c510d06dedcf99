"""One connection of an XMPP client: what follows the login, up to its session.

RFC 6120 section 7 (binding a resource) and XEP-0198 section 5 (resuming a session instead), over
TCP; websocket.py and bosh.py frame the same otherwise. Below: entrance.py (TLS and login) and
carrier.py (bytes); after it: session.py.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from whimbrel.domain import im
from whimbrel.edge.xmpp.entrance import Entrance
from whimbrel.edge.xmpp.link import StreamLink
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import StreamError, answer_to, stanza_error
from whimbrel.protocol.xmpp.jid import JidMalformed, resourcepart

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from whimbrel.edge.xmpp.hub import Hub


class XmppStream(Entrance):
    """`context`: for STARTTLS; None: TLS is there from the start, or is not spoken at all."""

    __slots__ = ("_bind_iq",)

    def __init__(self, hub: Hub, link: StreamLink, context: ssl.SSLContext | None) -> None:
        super().__init__(hub, link, context)
        self._bind_iq: Element | None = None

    # ---- between login and session -----------------------------------------------------

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
        if self.over:
            session.end()
            return
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
            self.resume_session(session, int(element.get("h")), self._resumed)

    def _resumed(self, session: XmppSession) -> None:
        about = {"previd": session.token, "h": str(session.handled)}
        self.write_element(Element(names.SM, "resumed", about))

    def resumable(self, element: Element) -> XmppSession | None:
        """The session that a <resume/> names, if it is there and of this account."""
        session = self.hub.tokens.get(element.get("previd"))
        h = element.get("h")
        if session is None or session.over or session.account != self.account:
            return None
        return session if h.isascii() and h.isdigit() and len(h) <= 10 else None

    def resume_session(
        self, session: XmppSession, h: int, told: Callable[[XmppSession], None]
    ) -> None:
        """Nothing is read until it stands. told: the client hears of it."""
        self.waits_for_bind = True

        def then() -> None:
            if self.over:
                return
            self.waits_for_bind = False
            self.session = session
            session.prefixes = self.prefixes
            try:
                told(session)
                session.resume(self, h)
            except StreamError as error:
                self.fail(error)
                return
            self.hub.edge.counts["xmpp-resumed"] += 1
            self.work()

        session.settle(self, then)

    def sm_failed(self, condition: str) -> None:
        failed = Element(names.SM, "failed", {}, Element(names.STANZA_ERRORS, condition))
        self.write_element(failed)

    def _nonza(self, session: XmppSession, element: Element) -> None:
        call = self.hub.nonzas.get(element.ns)
        if call is None:
            raise StreamError("unsupported-stanza-type")
        call(session, element)

    def deliver(self, answer: Any) -> None:
        if self.over:
            return
        if isinstance(answer, im.Keys) and self.login is not None:
            self.login.on_keys(answer)
        elif isinstance(answer, im.TokenDone) and self.login is not None:
            self.login.on_token(answer)
        elif isinstance(answer, im.TokenDone) and self._sasl2 is not None:
            self._sasl2.on_token(answer)
        elif isinstance(answer, im.Done) and self.registering is not None:
            then, self.registering = self.registering, None
            then(answer)
        if not self.over:
            self.work()
