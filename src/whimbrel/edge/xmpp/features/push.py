"""Push notifications (XEP-0357): a client that goes to sleep names whom to tell when something
waits for it. What is told names the account and the node, and nothing of the message.
"""

import secrets

from whimbrel.domain import im
from whimbrel.edge.xmpp.feature import ACCOUNT, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.jid import JidMalformed

OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"
NODE_CHARS_MAX = 1_000


def on_enable(session: XmppSession, iq: Iq) -> None:
    node = iq.child.get("node")
    try:
        target = session.hub.targets.find(iq.child.get("jid"))
    except JidMalformed:
        iq.error("jid-malformed")
        return
    form = iq.child.find(names.DATA, "x")
    if iq.type != "set" or not node or len(node) > NODE_CHARS_MAX:
        iq.error("bad-request", "jid and node say whom to tell")
    elif not target.here:
        iq.error("remote-server-not-found")
    elif not target.is_component:
        iq.error("service-unavailable", "only components take notifications")
    else:
        id = f"{im.PUSH_ID}{secrets.token_hex(8)}"
        stanza = _notification(session, str(target.jid), node, form, id)
        _set(session, iq, str(target.jid), node, id, target.number, stanza)


def on_disable(session: XmppSession, iq: Iq) -> None:
    if iq.type != "set" or not iq.child.get("jid"):
        iq.error("bad-request")
        return
    try:
        jid = str(session.hub.targets.find(iq.child.get("jid")).jid)
    except JidMalformed:
        iq.error("jid-malformed")
        return
    _set(session, iq, jid, iq.child.get("node"), "", 0, b"")


def _set(
    session: XmppSession, iq: Iq, jid: str, node: str, id: str, home: int, stanza: bytes
) -> None:
    def then(done: im.Done) -> None:
        if done.code:
            iq.error("resource-constraint", done.code, "wait")
            return
        session.set_push(jid, node, home, stanza)
        iq.reply()

    asked = session.ask(
        lambda tag: im.PushSet(session.device, session.number, tag, jid, node, id, home, stanza),
        then,
        iq.unanswered,
    )
    if not asked:
        iq.error("resource-constraint")


def _notification(
    session: XmppSession, jid: str, node: str, form: Element | None, id: str
) -> bytes:
    """Sections 5 and 7: as a pubsub item, with the client's own options."""
    ns = names.PUBSUB
    item = Element(ns, "item", {}, Element(names.PUSH, "notification"))
    inside = [Element(ns, "publish", {"node": node}, item)]
    if form is not None:
        inside.append(Element(ns, "publish-options", {}, form))
    about = {"type": "set", "id": id, "from": session.bare, "to": jid}
    return write(Element(names.CLIENT, "iq", about, Element(ns, "pubsub", {}, *inside)))


FEATURE = Feature(
    name="push",
    specs=(
        Spec(
            "XEP-0357",
            "Push Notifications",
            "0.4.1",
            note="to components of this server; nothing of the message is told",
        ),
    ),
    account=(names.PUSH,),
    iqs={
        (names.PUSH, "enable", ACCOUNT): on_enable,
        (names.PUSH, "disable", ACCOUNT): on_disable,
    },
)
