"""What the stream itself does (RFC 6120, 6122) and the binding of a resource."""

from whimbrel.edge.xmpp.feature import ACCOUNT, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element


def offers(stream: XmppStream) -> list[Element]:
    if not stream.account or stream.session is not None:  # Bind 2 has bound it, or it is resumed
        return []
    session = Element(names.SESSION, "session", {}, Element(names.SESSION, "optional"))
    return [Element(names.BIND, "bind"), session]


def on_session(session: XmppSession, iq: Iq) -> None:
    """RFC 3921 section 3: old clients ask for one more step; it does nothing."""
    iq.reply()


def on_bind(session: XmppSession, iq: Iq) -> None:
    """One resource a stream."""
    iq.error("not-allowed")


FEATURE = Feature(
    name="core",
    specs=(
        Spec("RFC 5802", "SCRAM", note="SHA-1, with channel binding"),
        Spec("RFC 6120", "XMPP Core", note="client to server; no server to server"),
        Spec("RFC 7395", "XMPP Subprotocol for WebSocket"),
        Spec("RFC 7590", "Use of TLS in XMPP"),
        Spec("RFC 7622", "XMPP Address Format"),
        Spec("RFC 7677", "SCRAM-SHA-256", note="and SHA-512"),
        Spec("XEP-0114", "Jabber Component Protocol", "1.6", note="on loopback, or behind TLS"),
        Spec("XEP-0124", "Bidirectional-streams Over Synchronous HTTP (BOSH)", "1.11.2"),
        Spec("XEP-0156", "Discovering Alternative XMPP Connection Methods", "1.4.0", note="HTTP"),
        Spec("XEP-0206", "XMPP Over BOSH", "1.4"),
        Spec("XEP-0170", "Recommended Order of Stream Feature Negotiation", "1.0"),
        Spec("XEP-0178", "Best Practices for Use of SASL EXTERNAL", "1.2", "planned"),
        Spec("XEP-0368", "SRV records for XMPP over TLS", "1.1.0", note="direct TLS"),
        Spec("XEP-0440", "SASL Channel-Binding Type Capability", "0.4.2"),
    ),
    iqs={
        (names.SESSION, "session", ACCOUNT): on_session,
        (names.SESSION, "session", SERVER): on_session,
        (names.BIND, "bind", ACCOUNT): on_bind,
        (names.BIND, "bind", SERVER): on_bind,
    },
    offers=offers,
)
