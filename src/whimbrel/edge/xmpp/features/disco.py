"""Who is here and what is spoken: service discovery (XEP-0030), capabilities (XEP-0115), contact
addresses (XEP-0157), version, time, last activity and ping."""

import base64
from datetime import UTC, datetime
from hashlib import sha1
from importlib.metadata import version as version_of_package

from whimbrel.domain import im
from whimbrel.edge.xmpp.feature import ACCOUNT, OTHERS, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element

NODE = "https://whimbrel.chat/server"
IDENTITY = ("server", "im", "Whimbrel")
CONTACTS = "http://jabber.org/network/serverinfo"


def server_features(session_or_stream: XmppSession | XmppStream) -> list[str]:
    hub = session_or_stream.hub
    found = {names.DISCO_INFO, names.DISCO_ITEMS}
    for feature in hub.features:
        found.update(feature.server)
    return sorted(found)


def account_features(session: XmppSession) -> list[str]:
    found = {names.DISCO_INFO, names.DISCO_ITEMS}
    for feature in session.hub.features:
        found.update(feature.account)
    return sorted(found)


def make_identity(category: str, type: str, name: str) -> Element:
    about = {"category": category, "type": type}
    if name:
        about["name"] = name
    return Element(names.DISCO_INFO, "identity", about)


def make_feature(name: str) -> Element:
    return Element(names.DISCO_INFO, "feature", {"var": name})


def forms(hub_contacts: dict[str, tuple[str, ...]]) -> list[Element]:
    """XEP-0157, as an extended disco form (XEP-0128)."""
    if not hub_contacts:
        return []
    fields = [make_field("FORM_TYPE", (CONTACTS,), "hidden")]
    fields += [
        make_field(f"{kind}-addresses", addresses, "list-multi")
        for kind, addresses in sorted(hub_contacts.items())
    ]
    return [Element(names.DATA, "x", {"type": "result"}, *fields)]


def make_field(var: str, values: tuple[str, ...], type: str) -> Element:
    shown = [Element(names.DATA, "value", {}, value) for value in values]
    return Element(names.DATA, "field", {"var": var, "type": type}, *shown)


def server_info(target: XmppSession | XmppStream) -> list[Element]:
    features = [make_feature(name) for name in server_features(target)]
    hub = target.hub
    return [make_identity(*IDENTITY), *features, *hub.disco_forms()]


def caps_hash(target: XmppSession | XmppStream) -> str:
    """XEP-0115 section 5.1."""
    text = "{}/{}//{}<".format(*IDENTITY)
    text += "".join(f"{name}<" for name in server_features(target))
    for form in sorted(target.hub.disco_forms(), key=lambda form: _values(form)["FORM_TYPE"]):
        values = _values(form)
        text += f"{values.pop('FORM_TYPE')[0]}<"
        for var in sorted(values):
            text += f"{var}<" + "".join(f"{value}<" for value in sorted(values[var]))
    return base64.b64encode(sha1(text.encode(), usedforsecurity=False).digest()).decode()


def _values(form: Element) -> dict[str, list[str]]:
    return {
        field.get("var"): [value.text for value in field.children()] for field in form.children()
    }


def begin(hub: Hub) -> None:
    contacts = hub.settings.contacts
    hub.forms.append(lambda: forms(contacts))


def offers(stream: XmppStream) -> list[Element]:
    if not stream.account:
        return []
    return [Element(names.CAPS, "c", {"hash": "sha-1", "node": NODE, "ver": caps_hash(stream)})]


def on_server_info(session: XmppSession, iq: Iq) -> None:
    if iq.type != "get":
        iq.error("bad-request")
        return
    if str(iq.to) in session.hub.targets.services:
        _service_info(session, iq)
        return
    node = iq.child.get("node")
    told = session.hub.info_nodes.get(node) if node else None
    if told is not None:
        told(session, iq)
        return
    if node and node != f"{NODE}#{caps_hash(session)}":
        iq.error("item-not-found")
        return
    about = {"node": node} if node else {}
    iq.reply(Element(names.DISCO_INFO, "query", about, *server_info(session)))


def _service_info(session: XmppSession, iq: Iq) -> None:
    """Of a part that has a domain of its own."""
    make = session.hub.service_info[str(iq.to)]
    iq.reply(Element(names.DISCO_INFO, "query", {}, *make()))


def on_account_info(session: XmppSession, iq: Iq) -> None:
    if iq.type != "get":
        iq.error("bad-request")
    elif iq.child.get("node"):
        iq.error("item-not-found")
    else:
        features = [make_feature(name) for name in account_features(session)]
        inside = [make_identity("account", "registered", ""), *features]
        iq.reply(Element(names.DISCO_INFO, "query", {}, *inside))


def on_items(session: XmppSession, iq: Iq) -> None:
    """Parts with a domain of their own; what else there is features tell by node."""
    if iq.type != "get":
        iq.error("bad-request")
        return
    node = iq.child.get("node")
    handler = session.hub.item_nodes.get(node) if node else None
    if handler is not None:
        handler(session, iq)
        return
    if node:
        iq.error("item-not-found")
        return
    items = []
    if iq.to.domain == session.hub.domain and not iq.to.local:
        items = [
            Element(names.DISCO_ITEMS, "item", {"jid": jid, "name": name})
            for jid, name in sorted(session.hub.targets.services.items())
        ]
        items += [
            Element(names.DISCO_ITEMS, "item", {"jid": jid})
            for jid in sorted(session.hub.components)
        ]
    iq.reply(Element(names.DISCO_ITEMS, "query", {}, *items))


def on_version(session: XmppSession, iq: Iq) -> None:
    ns = names.VERSION
    known = [
        Element(ns, "name", {}, "Whimbrel"),
        Element(ns, "version", {}, version_of_package("whimbrel")),
    ]
    iq.reply(Element(ns, "query", {}, *known))


def on_time(session: XmppSession, iq: Iq) -> None:
    now = datetime.fromtimestamp(session.hub.edge.wall_us() / 1e6, UTC)
    told = [
        Element(names.TIME, "tzo", {}, "+00:00"),
        Element(names.TIME, "utc", {}, now.strftime("%Y-%m-%dT%H:%M:%SZ")),
    ]
    iq.reply(Element(names.TIME, "time", {}, *told))


def on_ping(session: XmppSession, iq: Iq) -> None:
    iq.reply()


def on_uptime(session: XmppSession, iq: Iq) -> None:
    """XEP-0012 section 5: of a server, how long it has been up."""
    seconds = int(session.hub.edge.now_s - session.hub.started_s)
    iq.reply(Element(names.LAST, "query", {"seconds": str(max(0, seconds))}))


def on_last(session: XmppSession, iq: Iq) -> None:
    """Section 4: when somebody was here last; only for those who may see presence."""
    target = session.hub.targets.find(str(iq.to))
    if target.number == session.account:
        iq.reply(Element(names.LAST, "query", {"seconds": "0"}))
        return

    def then(got: im.LastGot) -> None:
        if got.code:
            iq.error("forbidden")
            return
        age_s = 0 if got.here else (session.hub.edge.wall_us() - got.at_us) // 1_000_000
        iq.reply(Element(names.LAST, "query", {"seconds": str(max(0, age_s))}))

    make = lambda tag: im.LastGet(session.number, tag, session.account)  # noqa: E731
    if not session.ask_other(target.number, make, then, iq.unanswered):
        iq.error("resource-constraint")


FEATURE = Feature(
    name="discovery",
    specs=(
        Spec("XEP-0030", "Service Discovery", "2.5rc3"),
        Spec("XEP-0115", "Entity Capabilities", "1.6.0"),
        Spec("XEP-0128", "Service Discovery Extensions", "1.0.1"),
        Spec("XEP-0157", "Contact Addresses for XMPP Services", "1.1.1"),
        Spec("XEP-0092", "Software Version", "1.1"),
        Spec("XEP-0202", "Entity Time", "2.0"),
        Spec("XEP-0012", "Last Activity", "2.0"),
        Spec("XEP-0199", "XMPP Ping", "2.0.1"),
    ),
    server=(names.VERSION, names.TIME, names.LAST, names.PING),
    account=(names.LAST, names.PING),
    iqs={
        (names.DISCO_INFO, "query", SERVER): on_server_info,
        (names.DISCO_INFO, "query", ACCOUNT): on_account_info,
        (names.DISCO_ITEMS, "query", SERVER): on_items,
        (names.DISCO_ITEMS, "query", ACCOUNT): on_items,
        (names.VERSION, "query", SERVER): on_version,
        (names.TIME, "time", SERVER): on_time,
        (names.PING, "ping", SERVER): on_ping,
        (names.PING, "ping", ACCOUNT): on_ping,
        (names.LAST, "query", SERVER): on_uptime,
        (names.LAST, "query", ACCOUNT): on_last,
        (names.LAST, "query", OTHERS): on_last,
    },
    offers=offers,
    begin=begin,
)
