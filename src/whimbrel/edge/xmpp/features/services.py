"""External services (XEP-0215): STUN and TURN servers that the operator names."""

from whimbrel.edge.xmpp.feature import ACCOUNT, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element

SAID = ("type", "host", "port", "transport", "name", "username", "password", "restricted")


def on_services(session: XmppSession, iq: Iq) -> None:
    if iq.type != "get":
        iq.error("bad-request")
        return
    wanted = iq.child.get("type")
    shown = []
    for service in session.hub.settings.services:
        if not wanted or service.get("type") == wanted:
            about = {name: service[name] for name in SAID if name in service}
            shown.append(Element(names.SERVICES, "service", about))
    about = {"type": wanted} if wanted else {}
    iq.reply(Element(names.SERVICES, "services", about, *shown))


FEATURE = Feature(
    name="external services",
    specs=(Spec("XEP-0215", "External Service Discovery", "1.0.0"),),
    server=(names.SERVICES,),
    iqs={
        (names.SERVICES, "services", SERVER): on_services,
        (names.SERVICES, "services", ACCOUNT): on_services,
    },
)
