"""Blocking (XEP-0191): the same list that the own protocol keeps.

Accounts, and whole domains other than this server's: a component's, or one that is not reached
anyway. Not single resources: a row of the list is about an account, and whoever is blocked could
come with another resource. Who is blocked hears of a message what everybody hears (one mark):
section 3.3 asks for an error, which would tell them.
"""

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.edge.xmpp.feature import ACCOUNT, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.jid import JidMalformed

ITEMS_MAX = 200  # of one request


def on_list(session: XmppSession, iq: Iq) -> None:
    session.wants_blocks = True

    def then(got: im.BlockedGot) -> None:
        items = [_item(session, address) for address in got.addresses]
        iq.reply(Element(names.BLOCKING, "blocklist", {}, *items))

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.BlockedGet(device, number, tag), then, iq.unanswered):
        iq.error("resource-constraint")


def _item(session: XmppSession, address: str) -> Element:
    jid = session.hub.targets.jid_of(address)
    return Element(names.BLOCKING, "item", {"jid": jid})


def on_block(session: XmppSession, iq: Iq) -> None:
    _change(session, iq, True)


def on_unblock(session: XmppSession, iq: Iq) -> None:
    """Without items: everybody."""
    if iq.type != "set":
        iq.error("bad-request")
        return
    if iq.child.first() is not None:
        _change(session, iq, False)
        return

    def then(got: im.BlockedGot) -> None:
        for address in got.addresses:
            _tell(session, address, False)
        _push(session, "unblock", ())
        iq.reply()

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.BlockedGet(device, number, tag), then, iq.unanswered):
        iq.error("resource-constraint")


def _change(session: XmppSession, iq: Iq, on: bool) -> None:
    items = [each for each in iq.child.children() if each.name == "item"]
    if iq.type != "set" or not items or len(items) > ITEMS_MAX:
        iq.error("bad-request")
        return
    addresses = []
    for item in items:
        try:
            target = session.hub.targets.find(item.get("jid"))
        except JidMalformed:
            iq.error("jid-malformed")
            return
        if target.is_component and target.jid.local:
            iq.error("not-acceptable", "a component is blocked as a whole, by its domain")
            return
        if target.jid.resource:
            iq.error("not-acceptable", "accounts are blocked, not single clients of them")
            return
        if target.here and not target.address:
            iq.error("not-acceptable", "everybody of this server cannot be blocked at once")
            return
        addresses.append(session.hub.targets.row_address(target.jid))
    for address in addresses:
        _tell(session, address, on)
    _push(session, "block" if on else "unblock", tuple(addresses))
    iq.reply()


def _tell(session: XmppSession, address: str, on: bool) -> None:
    number = session.hub.targets.number_of(address)
    session.blocks_said.add(address)
    session.tell(m.Block(session.device, session.number, address, number, on))


def _push(session: XmppSession, name: str, addresses: tuple[str, ...]) -> None:
    if not session.wants_blocks:
        return
    items = [_item(session, address) for address in addresses]
    push = Element(
        names.CLIENT,
        "iq",
        {"type": "set", "id": session.hub.new_id(), "to": session.jid},
        Element(names.BLOCKING, name, {}, *items),
    )
    session.send_element(push)


def on_done(session: XmppSession, done: a.BlockDone) -> None:
    """Another client or device of the account blocked somebody; our own was told at once."""
    address = done.address
    if address in session.blocks_said:
        session.blocks_said.discard(address)
        return
    _push(session, "block" if done.on else "unblock", (address,))


FEATURE = Feature(
    name="blocking",
    specs=(
        Spec(
            "XEP-0191",
            "Blocking Command",
            "1.3",
            "partial",
            "accounts and other domains, not single resources; who is blocked hears no error",
        ),
    ),
    server=(names.BLOCKING,),
    account=(names.BLOCKING,),
    iqs={
        (names.BLOCKING, "blocklist", ACCOUNT): on_list,
        (names.BLOCKING, "blocklist", SERVER): on_list,
        (names.BLOCKING, "block", ACCOUNT): on_block,
        (names.BLOCKING, "block", SERVER): on_block,
        (names.BLOCKING, "unblock", ACCOUNT): on_unblock,
        (names.BLOCKING, "unblock", SERVER): on_unblock,
    },
    answers={a.BlockDone: on_done},
)
