"""Message carbons (XEP-0280): what one client sends or is sent, the others show too."""

from whimbrel.edge.xmpp.feature import ACCOUNT, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names


def on_enable(session: XmppSession, iq: Iq) -> None:
    session.carbons = True
    iq.reply()


def on_disable(session: XmppSession, iq: Iq) -> None:
    session.carbons = False
    iq.reply()


FEATURE = Feature(
    name="carbons",
    specs=(
        Spec("XEP-0280", "Message Carbons", "1.0.1"),
        Spec("XEP-0297", "Stanza Forwarding", "1.0"),
    ),
    server=(names.CARBONS, "urn:xmpp:carbons:rules:0"),
    account=(names.CARBONS,),
    iqs={
        (names.CARBONS, "enable", ACCOUNT): on_enable,
        (names.CARBONS, "disable", ACCOUNT): on_disable,
        (names.CARBONS, "enable", SERVER): on_enable,
        (names.CARBONS, "disable", SERVER): on_disable,
    },
)
