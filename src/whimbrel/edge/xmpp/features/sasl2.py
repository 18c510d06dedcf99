"""Logging in with one round trip less: SASL2 (XEP-0388), Bind 2 (XEP-0386) and FAST (XEP-0484).

A FAST token is a keyed hash of the account, the key that was shown, the client's own id and a
serial: it dies with that key. Which serials are good, until when, and how often each was used is
kept by the account (logic/tokens.py), so that each ends, is replaced, and is revoked by itself.
"""

from __future__ import annotations

import secrets
from hashlib import sha256

from whimbrel.domain import im
from whimbrel.edge.xmpp.feature import Feature, Spec
from whimbrel.edge.xmpp.features.management import enabled
from whimbrel.edge.xmpp.login import HTS, Login, TokenUsed
from whimbrel.edge.xmpp.messages import stamp_of
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.sasl.failures import SaslFailure, decoded, encoded
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.jid import JidMalformed, resourcepart


class Sasl2:
    """One exchange: what the client asked to have done as soon as it is in."""

    def __init__(self, stream: XmppStream, login: Login, element: Element) -> None:
        self._stream = stream
        self._bind = element.find(names.BIND2, "bind")
        self._resume = element.find(names.SM, "resume")
        self._wanted = element.find(names.FAST, "request-token")
        agent = element.find(names.SASL2, "user-agent")
        self.agent = _short(agent.get("id")) if agent is not None else ""
        self._login = login
        self._told: list[Element] = []

    def challenge(self, data: bytes) -> None:
        text = encoded(data) if data else ""
        self._stream.write_element(Element(names.SASL2, "challenge", {}, text))

    def fail(self, condition: Element, text: str) -> None:
        inside = [condition]
        if text:
            inside.append(Element(names.SASL2, "text", {}, text))
        self._stream.write_element(Element(names.SASL2, "failure", {}, *inside))

    def succeed(self, final: bytes) -> None:
        """In: now what was asked for, in the order of XEP-0388 section 2.6.2."""
        if final:
            self._told.append(Element(names.SASL2, "additional-data", {}, encoded(final)))
        self._tell_token(self._login.renewed)
        if self._login.by_token or not self.wants_token or not self._ask_for_token():
            self._go_on()

    def _go_on(self) -> None:
        stream = self._stream
        if self._resume is not None and self._resumed(self._resume):
            return
        if self._bind is not None:
            stream.begin_session(self._resource(self._bind))
        else:
            self._success(f"{stream.address}@{stream.hub.domain}", True)

    @property
    def wants_token(self) -> bool:
        return (
            self._wanted is not None and self._wanted.get("mechanism") in HTS and bool(self.agent)
        )

    def _ask_for_token(self) -> bool:
        stream = self._stream
        wanted = im.TokenNew(stream.number, self.agent)
        stream.waits_for_bind = stream.hub.edge.router.tell(stream.account, wanted)
        return stream.waits_for_bind

    def on_token(self, done: im.TokenDone) -> None:
        """The new token's serial is committed."""
        self._stream.waits_for_bind = False
        self._tell_token(done.serial)
        self._go_on()

    def _tell_token(self, serial: int) -> None:
        if serial:
            stream = self._stream
            token = stream.hub.fast_token(stream.address, stream.key_hash, self.agent, serial)
            ends = stamp_of(serial + im.TOKEN_LIVES_US)
            self._told.append(Element(names.FAST, "token", {"token": token, "expiry": ends}))

    def _resumed(self, resume: Element) -> bool:
        stream = self._stream
        session = stream.resumable(resume)
        if session is None:
            item = Element(names.STANZA_ERRORS, "item-not-found")
            self._told.append(Element(names.SM, "failed", {}, item))
            return False
        stream.resume_session(session, int(resume.get("h")), self._tell_resumed)
        return True

    def _tell_resumed(self, session: XmppSession) -> None:
        about = {"previd": session.token, "h": str(session.handled)}
        self._told.append(Element(names.SM, "resumed", about))
        self._success(session.jid, False)

    def _resource(self, bind: Element) -> str:
        tag = bind.child_text(names.BIND2, "tag") or ""
        try:
            return resourcepart(f"{tag}~{secrets.token_urlsafe(6)}" if tag else _chance())
        except JidMalformed:
            return _chance()

    def bound(self, session: XmppSession) -> None:
        """Bind 2 section 4: the session is there, and what goes with it is turned on."""
        bind = self._bind
        assert bind is not None
        inside: list[Element] = []
        if bind.find(names.CARBONS, "enable") is not None:
            session.carbons = True
        if bind.find(names.CSI, "inactive") is not None:
            session.inactive = True
        wants = bind.find(names.SM, "enable")
        if wants is not None:
            inside.append(enabled(session, wants))
        self._told.append(Element(names.BIND2, "bound", {}, *inside))
        self._success(session.jid, False)

    def _success(self, jid: str, bind_later: bool) -> None:
        stream = self._stream
        who = Element(names.SASL2, "authorization-identifier", {}, jid)
        at = 1 if self._told and self._told[0].name == "additional-data" else 0
        self._told.insert(at, who)
        stream.write_element(Element(names.SASL2, "success", {}, *self._told))
        stream.finish_sasl2()


def _short(agent: str) -> str:
    """A client may call itself what it likes; so much of it is kept."""
    return sha256(agent.encode()).hexdigest()[:16] if agent else ""


def _used(element: Element, renew: bool) -> TokenUsed:
    """XEP-0484 section 3.5: <fast/> beside the token."""
    fast = element.find(names.FAST, "fast")
    if fast is None:
        return TokenUsed(0, False, renew)
    count = fast.get("count")
    if count and not (count.isascii() and count.isdigit() and len(count) <= 10):
        raise SaslFailure("malformed-request", "count is a number")
    return TokenUsed(int(count or 0), fast.get("invalidate") in ("true", "1"), renew)


def _chance() -> str:
    return secrets.token_urlsafe(9)


def offers(stream: XmppStream) -> list[Element]:
    """Section 2.2, with what may be done at once."""
    if stream.account or stream.login is None:
        return []
    ns = names.SASL2
    mechanisms = [Element(ns, "mechanism", {}, each) for each in stream.login.mechanisms]
    with_bind = [
        Element(names.BIND2, "feature", {"var": name})
        for name in (names.CARBONS, names.CSI, names.SM)
    ]
    tokens = [Element(names.FAST, "mechanism", {}, each) for each in stream.login.token_mechanisms]
    inline = Element(
        ns,
        "inline",
        {},
        Element(names.BIND2, "bind", {}, Element(names.BIND2, "inline", {}, *with_bind)),
        Element(names.SM, "sm"),
        Element(names.FAST, "fast", {}, *tokens),
    )
    return [Element(ns, "authentication", {}, *mechanisms, inline)]


def on_element(stream: XmppStream, element: Element) -> None:
    login = stream.login
    assert login is not None
    name = element.name
    try:
        if name == "authenticate" and not login.under_way:
            sasl2 = Sasl2(stream, login, element)
            stream.begin_sasl2(sasl2)
            login.agent = sasl2.agent
            login.use = _used(element, sasl2.wants_token)
            first = element.child_text(names.SASL2, "initial-response")
            login.start(element.get("mechanism"), decoded(first) if first is not None else None)
        elif name == "response" and login.under_way:
            login.go_on(decoded(element.text))
        elif name == "abort" and login.under_way:
            login.abort()
        else:
            raise StreamError("unsupported-stanza-type")
    except SaslFailure as failure:
        stream.login_failed(failure)


FEATURE = Feature(
    name="sasl2",
    specs=(
        Spec("XEP-0386", "Bind 2", "1.1.0"),
        Spec("XEP-0388", "Extensible SASL Profile", "1.0.2"),
        Spec(
            "XEP-0484",
            "Fast Authentication Streamlining Tokens",
            "0.2.0",
            note="without 0-RTT",
        ),
    ),
    early={names.SASL2: on_element},
    offers=offers,
)
