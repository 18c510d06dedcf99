"""Client state (XEP-0352): while nobody looks at the screen, presence and typing wait."""

from whimbrel.edge.xmpp.feature import Feature, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import StreamError


def offers(stream: XmppStream) -> list[Element]:
    return [Element(names.CSI, "csi")] if stream.account else []


def on_nonza(session: XmppSession, element: Element) -> None:
    if element.name == "inactive":
        session.inactive = True
    elif element.name == "active":
        session.inactive = False
        session.presence.release()
    else:
        raise StreamError("unsupported-stanza-type")


FEATURE = Feature(
    name="client state",
    specs=(Spec("XEP-0352", "Client State Indication", "1.0.0"),),
    nonzas={names.CSI: on_nonza},
    offers=offers,
)
