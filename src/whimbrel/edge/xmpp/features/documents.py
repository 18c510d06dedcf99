"""What clients keep at the server: vCard (XEP-0054, 0292) and private storage (XEP-0049)."""

from whimbrel.domain import im
from whimbrel.edge.xmpp.feature import ACCOUNT, OTHERS, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.stream import Stanza, read_frame

NAME_CHARS_MAX = 512


def read_document(session: XmppSession, body: bytes) -> Element | None:
    try:
        stanza = read_frame(body, session.hub.xml)
    except StreamError:
        return None
    return stanza.element if isinstance(stanza, Stanza) else None


def get(session: XmppSession, iq: Iq, name: str, empty: Element) -> None:
    def then(got: im.DocumentGot) -> None:
        found = read_document(session, got.body) if got.body else None
        iq.reply(found if found is not None else empty)

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.DocumentGet(device, number, tag, name), then, iq.unanswered):
        iq.error("resource-constraint")


def put(session: XmppSession, iq: Iq, name: str, body: bytes) -> None:
    def then(done: im.Done) -> None:
        if done.code:
            iq.error("not-acceptable", done.code)
        else:
            iq.reply()

    device, number = session.device, session.number
    if not session.ask(
        lambda tag: im.DocumentSet(device, number, tag, name, body), then, iq.unanswered
    ):
        iq.error("resource-constraint")


def on_vcard(session: XmppSession, iq: Iq) -> None:
    name = "vcard-temp" if iq.child.ns == names.VCARD else "vcard4"
    if iq.type == "get":
        get(session, iq, name, Element(iq.child.ns, iq.child.name))
    else:
        put(session, iq, name, write(iq.child, ""))


def on_other_vcard(session: XmppSession, iq: Iq) -> None:
    """Everybody may read it (XEP-0054 section 3.3)."""
    if iq.type != "get":
        iq.error("forbidden")
        return
    name = "vcard-temp" if iq.child.ns == names.VCARD else "vcard4"
    target = session.hub.targets.find(str(iq.to))

    def then(got: im.DocumentGot) -> None:
        found = read_document(session, got.body) if got.body else None
        if found is None:
            iq.error("item-not-found")
        else:
            iq.reply(found)

    make = lambda tag: im.PeerDocument(session.number, tag, name)  # noqa: E731
    if not session.ask_other(target.number, make, then, iq.unanswered):
        iq.error("resource-constraint")


def on_private(session: XmppSession, iq: Iq) -> None:
    children = list(iq.child.children())
    if len(children) != 1 or not children[0].ns or children[0].ns == names.PRIVATE:
        iq.error("not-acceptable" if len(children) != 1 else "bad-request")
        return
    child = children[0]
    name = f"private:{{{child.ns}}}{child.name}"
    if len(name) > NAME_CHARS_MAX:
        iq.error("not-acceptable")
    elif iq.type == "set":
        put(session, iq, name, write(child, ""))
    else:
        _get_private(session, iq, name, Element(child.ns, child.name))


def _get_private(session: XmppSession, iq: Iq, name: str, empty: Element) -> None:
    def then(got: im.DocumentGot) -> None:
        found = read_document(session, got.body) if got.body else None
        inside = found if found is not None else empty
        iq.reply(Element(names.PRIVATE, "query", {}, inside))

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.DocumentGet(device, number, tag, name), then, iq.unanswered):
        iq.error("resource-constraint")


FEATURE = Feature(
    name="documents",
    specs=(
        Spec("XEP-0049", "Private XML Storage", "1.2"),
        Spec("XEP-0054", "vcard-temp", "1.3.0"),
        Spec("XEP-0292", "vCard4 Over XMPP", "0.12.0", "partial", "by iq; PEP comes later"),
    ),
    server=(names.VCARD, names.PRIVATE),
    account=(names.VCARD,),
    iqs={
        (names.VCARD, "vCard", ACCOUNT): on_vcard,
        (names.VCARD, "vCard", OTHERS): on_other_vcard,
        (names.VCARD4, "vcard", ACCOUNT): on_vcard,
        (names.VCARD4, "vcard", OTHERS): on_other_vcard,
        (names.PRIVATE, "query", ACCOUNT): on_private,
        (names.PRIVATE, "query", SERVER): on_private,
    },
)
