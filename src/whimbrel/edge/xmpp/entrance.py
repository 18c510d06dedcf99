"""How a stream begins: its header, what is offered, TLS, and the login.

RFC 6120 sections 4 to 6. Law: nothing but TLS before TLS where it is required; nobody is told
whether an account exists. Below: carrier.py; above: stream.py; the exchange itself is login.py.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from whimbrel.edge.xmpp.carrier import Carrier
from whimbrel.edge.xmpp.link import StreamLink
from whimbrel.edge.xmpp.login import BINDINGS, Login
from whimbrel.protocol.sasl.failures import SaslFailure, decoded, encoded
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.stream import Opened

if TYPE_CHECKING:
    import ssl

    from whimbrel.edge.xmpp.hub import Hub

LOGINS_MAX = 3  # failed ones of one stream


class Entrance(Carrier):
    __slots__ = ("_context", "_logins_failed", "_sasl2", "key_hash", "via")

    def __init__(self, hub: Hub, link: StreamLink, context: ssl.SSLContext | None) -> None:
        super().__init__(hub, link)
        self._context = context
        self._logins_failed = 0
        self._sasl2: Any = None
        self.via = 0
        self.key_hash = b""  # of the key that was shown

    # ---- the header and what is offered ------------------------------------------------

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

    # ---- before the login --------------------------------------------------------------

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
        if self.over:
            return
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
