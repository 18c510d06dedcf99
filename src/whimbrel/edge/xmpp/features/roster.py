"""The roster, subscriptions and presence (RFC 6121 sections 2 to 4)."""

from whimbrel.domain import im
from whimbrel.domain.rows import APPROVED, ASK, FROM, LISTED, TO
from whimbrel.edge.xmpp.feature import ACCOUNT, Feature, Iq, Spec
from whimbrel.edge.xmpp.features.versions import version_of
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.jid import JidMalformed

NAME_CHARS_MAX = 1_023
GROUPS_MAX = 32


def offers(stream: XmppStream) -> list[Element]:
    if not stream.account:
        return []
    return [
        Element(names.ROSTER_VERSIONING, "ver"),
        Element(names.PRE_APPROVAL, "sub"),
    ]


def on_roster(session: XmppSession, iq: Iq) -> None:
    if iq.type == "get":
        _get(session, iq)
    else:
        _set(session, iq)


def _get(session: XmppSession, iq: Iq) -> None:
    session.wants_roster = True
    known = iq.child.attributes.get("ver")

    def then(got: im.RosterGot) -> None:
        items = sorted(got.items, key=lambda item: item.address)
        version = version_of(items)
        if known is not None and known == version:
            iq.reply()  # section 2.6.3: nothing has changed
            return
        about = {"ver": version}
        shown = [item_of(session, item) for item in items]
        iq.reply(Element(names.ROSTER, "query", about, *shown))

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.RosterGet(device, number, tag), then, iq.unanswered):
        iq.error("resource-constraint")


def item_of(session: XmppSession, item: im.RosterItem) -> Element:
    state = item.state
    attributes = {"jid": session.hub.targets.jid_of(item.address)}
    if item.name:
        attributes["name"] = item.name
    if not state & LISTED:
        attributes["subscription"] = "remove"
        return Element(names.ROSTER, "item", attributes)
    attributes["subscription"] = {0: "none", TO: "to", FROM: "from", TO | FROM: "both"}[
        state & (TO | FROM)
    ]
    if state & ASK:
        attributes["ask"] = "subscribe"
    if state & APPROVED:
        attributes["approved"] = "true"
    groups = [Element(names.ROSTER, "group", {}, group) for group in item.groups]
    return Element(names.ROSTER, "item", attributes, *groups)


def _set(session: XmppSession, iq: Iq) -> None:
    items = [each for each in iq.child.children() if each.name == "item"]
    if len(items) != 1 or not items[0].get("jid"):
        iq.error("bad-request")
        return
    item = items[0]
    try:
        target = session.hub.targets.find(item.get("jid"))
    except JidMalformed:
        iq.error("jid-malformed")
        return
    name = item.get("name")
    texts = [each.text for each in item.children() if each.name == "group"]
    groups = tuple(dict.fromkeys(texts))
    remove = item.get("subscription") == "remove"
    if target.jid.resource or (target.number == session.account and not remove):
        iq.error("bad-request" if target.jid.resource else "not-allowed")
        return
    if len(groups) != len(texts):
        iq.error("bad-request", "the same group twice")
        return
    if len(name) > NAME_CHARS_MAX or len(groups) > GROUPS_MAX or not all(groups):
        iq.error("not-acceptable")
        return
    if max(map(len, groups), default=0) > NAME_CHARS_MAX:
        iq.error("not-acceptable")
        return
    address = session.hub.targets.row_address(target.jid)
    number = session.hub.targets.number_of(address)

    def then(done: im.Done) -> None:
        if not done.code:
            iq.reply()
        elif done.code == "not-found":
            iq.error("item-not-found")
        else:
            iq.error("resource-constraint", "the roster is full")

    asked = session.ask(
        lambda tag: im.RosterSet(
            session.device, session.number, tag, number, address, name, groups, remove
        ),
        then,
        iq.unanswered,
    )
    if not asked:
        iq.error("resource-constraint")


def on_changed(session: XmppSession, changed: im.RosterChanged) -> None:
    """A roster push (section 2.1.6)."""
    if not session.wants_roster:
        return
    item = item_of(session, changed.item)
    push = Element(
        names.CLIENT,
        "iq",
        {"type": "set", "id": session.hub.new_id(), "to": session.jid},
        Element(names.ROSTER, "query", {}, item),
    )
    session.send_element(push)


FEATURE = Feature(
    name="roster and presence",
    specs=(
        Spec("RFC 6121", "XMPP Instant Messaging and Presence"),
        Spec("XEP-0237", "Roster Versioning", "1.3", note="now in RFC 6121"),
        Spec("XEP-0172", "User Nickname", "1.1", note="passed through in requests"),
        Spec("XEP-0160", "Best Practices for Handling Offline Messages", "1.0.1"),
        Spec("XEP-0203", "Delayed Delivery", "2.0"),
        Spec("XEP-0082", "XMPP Date and Time Profiles", "1.1.1"),
    ),
    account=(names.ROSTER,),
    iqs={(names.ROSTER, "query", ACCOUNT): on_roster},
    answers={
        im.RosterChanged: on_changed,
        im.PresenceCame: lambda session, came: session.presence.show(came),
        im.SubscriptionCame: lambda session, came: session.presence.show_subscription(came),
    },
    offers=offers,
)
