"""Components (XEP-0114): a program beside the server that answers for a domain of its own.

Its connection is a stream with another greeting; its session is that of an XMPP client whose
account is the whole domain (logic/components.py), so that what is for it waits while it is away
and is delivered in order, once. Stanzas name both ends, because it speaks for many. It is asked
what every client is asked, and its answer confirms what came before.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain.ids import account_number
from whimbrel.edge.xmpp.feature import SERVER, Iq
from whimbrel.edge.xmpp.messages import Messages, message_text
from whimbrel.edge.xmpp.presence import KINDS, Presence, addressed, bare_presence
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import chat, names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.jid import JidMalformed
from whimbrel.protocol.xmpp.stream import ComponentReader, Opened, Stanza, XmlLimits

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub
    from whimbrel.edge.xmpp.link import StreamLink
    from whimbrel.edge.xmpp.target import Target

RESOURCE = "component"
ASKED_OF_SERVER = (names.DISCO_INFO, names.DISCO_ITEMS, names.PING, names.VERSION, names.TIME)


class ComponentStream(XmppStream):
    """One connection. It has TLS only from somebody in front of this port (section 5)."""

    front: ClassVar[str] = "component"
    __slots__ = ("_domain", "_id")

    def __init__(self, hub: Hub, link: StreamLink) -> None:
        super().__init__(hub, link, None)
        self.reader = ComponentReader(hub.xml_before_login)
        self._domain = ""
        self._id = secrets.token_urlsafe(12)

    def new_reader(self, limits: XmlLimits) -> None:
        self.reader = ComponentReader(limits)

    def say_header(self) -> None:
        domain = self._domain or self.hub.domain
        self.write(
            f"<?xml version='1.0'?><stream:stream xmlns='{names.COMPONENT}' xmlns:stream="
            f"'{names.STREAMS}' id='{self._id}' from='{chat.quote(domain)}'>".encode()
        )

    def _open(self, opened: Opened) -> None:
        domain = opened.attributes.get("to", "").rstrip(".").lower()
        if domain in self.hub.settings.components:
            self._domain = domain
        self._header_sent = True
        self.say_header()
        if not self._domain:
            raise StreamError("host-unknown")
        if not self.hub.edge.ready():
            raise StreamError("resource-constraint", "not ready, try again")

    def _before_login(self, element: Element) -> None:
        if (element.ns, element.name) != (names.CLIENT, "handshake"):
            raise StreamError("not-authorized", "the handshake comes first")
        edge = self.hub.edge
        account = account_number(f"@{self._domain}")
        if not edge.may_log_in(self.link.address, account):
            raise StreamError("policy-violation", "too many failed handshakes, try later")
        secret = self.hub.settings.components[self._domain]
        wanted = hashlib.sha1((self._id + secret).encode(), usedforsecurity=False).hexdigest()
        if not hmac.compare_digest(wanted.encode(), element.text.strip().lower().encode()):
            edge.login_failed(self.link.address, account)
            raise StreamError("not-authorized", "this is not the component's secret")
        self.address, self.account = f"@{self._domain}", account
        self.raise_limits(self.hub.xml)
        edge.authenticated(self)
        self.waits_for_bind = True
        key_hash = secrets.token_bytes(32)  # of no key: nobody logs in to this account
        made = im.NewAccount(self.number, 1, self.address, key_hash, b"")
        if not edge.router.tell(account, made):
            raise StreamError("resource-constraint", "busy, try again")

    def deliver(self, answer: Any) -> None:
        """The account is there, made now or before; then its one device is looked up."""
        if self.over:
            return
        if isinstance(answer, im.Done):
            self.hub.edge.router.tell(self.account, im.Credentials(self.number))
        elif isinstance(answer, im.Keys) and not answer.keys:
            self.fail(StreamError("internal-server-error", "this component's account was removed"))
        elif isinstance(answer, im.Keys):
            self.via = answer.keys[0][0]
            session = ComponentSession(self.hub, self, self._domain, self.account, self.via)
            session.prefixes = self.prefixes
            session.bind(RESOURCE)

    def bound(self, session: XmppSession) -> None:
        if self.over:
            session.end()
            return
        self.waits_for_bind = False
        self.session = session
        session.jid = session.bare
        self.hub.components[self._domain] = session
        self.write_element(Element(names.CLIENT, "handshake"))
        session.tell(im.Available(session.device, session.number, 0, b"<presence/>"))
        self.work()


class ComponentSession(XmppSession):
    __slots__ = ()

    def __init__(
        self, hub: Hub, stream: ComponentStream, domain: str, account: int, via: int
    ) -> None:
        super().__init__(hub, stream, f"@{domain}", account, via)
        self.bare = self.jid = domain
        self.messages = ComponentMessages(self)
        self.presence = ComponentPresence(self)

    def own_jid(self, stanza: Element) -> str:
        return stanza.get("from")

    def own_inside(self, stanza: Element) -> str:
        return str(self.hub.targets.find(stanza.get("from")).jid)

    def take(self, stanza: Stanza) -> None:
        """Every stanza says whom it is from and whom it is for (section 3). Raises StreamError."""
        element = stanza.element
        self.received += 1
        try:
            own = self.hub.targets.find(element.get("from"))
        except JidMalformed:
            raise StreamError("invalid-from") from None
        if own.jid.domain != self.bare:
            raise StreamError("invalid-from")
        if not element.get("to"):
            raise StreamError("improper-addressing")
        try:
            target = self.hub.targets.find(element.get("to"))
        except JidMalformed:
            self.refuse(element, "jid-malformed")
            return
        if element.name == "message":
            self.messages.take(stanza, target)
        elif element.name == "iq":
            self._take_iq(stanza, target)
        elif element.name == "presence":
            self.presence.take(stanza, target)
        else:
            raise StreamError("unsupported-stanza-type")

    def _take_iq(self, stanza: Stanza, target: Target | None) -> None:
        assert target is not None
        element = stanza.element
        children = list(element.children())
        if element.get("type") in ("result", "error"):
            id = element.get("id")
            if element.get("type") == "error" and id.startswith(im.PUSH_ID) and target.address:
                self.hub.edge.router.tell(target.number, im.PushRefused(self.account, id))
            else:
                self._take_answer(stanza, target)
        elif element.get("type") not in ("get", "set") or len(children) != 1:
            self.refuse(element, "bad-request")
        elif not target.here:
            self.refuse(element, "remote-server-not-found")
        elif target.address and target.inside:
            self._relay_iq(stanza, target, im.IQ)
        else:
            handler = self.hub.handler(children[0], SERVER)
            if target.address or handler is None or children[0].ns not in ASKED_OF_SERVER:
                self.refuse(element, "service-unavailable")
            else:
                handler(self, Iq(self, element, children[0], target.jid))

    def relay(
        self, target: Target, kind: int, raw: bytes, state: int = im.NO_STATE, on: bool = False
    ) -> None:
        resource = "" if target.is_component else target.jid.resource
        relayed = im.PeerRelay(
            self.account, self.address, self.resource, resource, kind, raw, state
        )
        self.hub.edge.router.tell(target.number, relayed)

    def _close_down(self) -> None:
        if self.hub.components.get(self.bare) is self:
            del self.hub.components[self.bare]
        super()._close_down()


class ComponentMessages(Messages):
    __slots__ = ()

    def _may_be_a_room(self, target: Target) -> bool:
        return True

    def _show_message(self, item: a.Item) -> None:
        session = self._session
        targets = session.hub.targets
        body = chat.unpack(item.body or b"")
        part = body.xmpp
        kind, id, lang, inner = chat.inside_of(body, item.id, session.hub.file_address)
        if not inner:
            session.passed_over(item.q)
            return
        sender = targets.full_jid(item.address, part.sender if part else "")
        to = part.resource if part is not None and part.resource else session.bare
        if id:
            self._remember(sender, id, item)
        inner += self._delay(item)
        session.send(message_text(sender, to, kind, id, lang, inner).encode(), item.q)


class ComponentPresence(Presence):
    """What it says goes to whom it names; it knows itself who is subscribed to what."""

    __slots__ = ()

    def take(self, stanza: Stanza, target: Target | None) -> None:
        assert target is not None
        session, element = self._session, stanza.element
        targets, kind = session.hub.targets, element.get("type")
        own = targets.find(element.get("from")).jid
        if not target.here or not target.address:
            if kind == "subscribe":
                session.refuse(element, "remote-server-not-found")
            return
        address = targets.row_address(own.bare)
        peer, said = targets.number_of(address), write(bare_presence(element))
        to = str(target.jid) if target.is_component else ""
        told: im.PeerSubscription | im.PeerProbe | im.PeerAvailable
        if kind in KINDS:
            told = im.PeerSubscription(peer, address, kind, said, to)
        elif kind == "probe":
            told = im.PeerProbe(peer, address, "", to)
        elif kind in ("", "unavailable", "error"):
            resource = "" if to else target.jid.resource
            told = im.PeerAvailable(peer, address, own.resource, said, resource, True, to)
        else:
            session.refuse(element, "bad-request")
            return
        if not session.hub.edge.router.tell(target.number, told):
            session.refuse(element, "resource-constraint")

    @property
    def takes(self) -> bool:
        return True

    def again(self) -> None:
        session = self._session
        session.tell(im.Available(session.device, session.number, 0, b"<presence/>"))

    def show(self, came: im.PresenceCame) -> None:
        session = self._session
        if came.address == session.address:
            return
        sender = session.hub.targets.jid_of(came.address)
        if came.resource:
            sender = f"{sender}/{came.resource}"
        session.send(addressed(came.stanza, sender, came.to.removeprefix("@") or session.bare))

    def show_subscription(self, came: im.SubscriptionCame) -> None:
        session = self._session
        sender = session.hub.targets.jid_of(came.address)
        stanza = came.stanza or f'<presence type="{came.kind}"/>'.encode()
        session.send(addressed(stanza, sender, came.to.removeprefix("@") or session.bare))
