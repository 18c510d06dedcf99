"""Ad-hoc commands (XEP-0050), and with them the administration of accounts (XEP-0133).

Who is named in `xmpp.admins` may make an account, remove one, give it a new password, and see how
many are here. Everybody else sees no command.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from whimbrel.domain import im
from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import account_number, parse_address
from whimbrel.edge.xmpp.feature import SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.features.disco import make_feature, make_field, make_identity
from whimbrel.edge.xmpp.features.registration import blind, good_password
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.jid import JidMalformed

COMMANDS = "http://jabber.org/protocol/commands"
ADMIN = "http://jabber.org/protocol/admin"
Fields = dict[str, list[str]]
Told = Callable[[str, str], None]  # (kind of note, text)


class _Refused(Exception):
    """What is wrong with what was filled in."""


class Command:
    """title, what to fill in (name, kind, label), and what then happens."""

    def __init__(
        self,
        title: str,
        wants: tuple[tuple[str, str, str], ...],
        run: Callable[[XmppSession, Fields, Told], None],
    ) -> None:
        self.title = title
        self.wants = wants
        self.run = run

    def form(self) -> Element:
        hidden = make_field("FORM_TYPE", (ADMIN,), "hidden")
        fields = [
            Element(
                names.DATA,
                "field",
                {"var": var, "type": kind, "label": label},
                Element(names.DATA, "required"),
            )
            for var, kind, label in self.wants
        ]
        title = Element(names.DATA, "title", {}, self.title)
        return Element(names.DATA, "x", {"type": "form"}, title, hidden, *fields)


def _account(session: XmppSession, fields: Fields, var: str) -> str:
    try:
        target = session.hub.targets.find((fields.get(var) or [""])[0])
        address = parse_address(target.jid.local)
    except (JidMalformed, BadAddress):
        raise _Refused("this is no address of an account") from None
    if not target.here:
        raise _Refused("this is no account of this server")
    return address


def _password(fields: Fields) -> str:
    text = (fields.get("password") or [""])[0]
    if fields.get("password-verify", [text]) != [text]:
        raise _Refused("the two passwords are not the same")
    try:
        return good_password(text)
    except SaslFailure:
        raise _Refused("a character that has no place in a password") from None
    except ValueError as error:
        raise _Refused(str(error)) from None


def _ask(
    session: XmppSession, address: str, act: str, make: Callable[[int], Any], told: Told
) -> None:
    """An administrative act: it is written down, however it ends."""

    def then(done: im.Done) -> None:
        session.hub.acted(session.address, act, address, done.code or "ok")
        told(*(("error", done.code) if done.code else ("info", "Done.")))

    def lost() -> None:
        session.hub.acted(session.address, act, address, "unknown")
        told("error", "no answer in time; look whether it was done, then try again")

    if not session.ask_other(account_number(address), make, then, lost):
        raise _Refused("busy, try again")


def add_user(session: XmppSession, fields: Fields, told: Told) -> None:
    address = _account(session, fields, "accountjid")
    kept = session.hub.edge.keep(address, _password(fields))
    make = lambda tag: im.NewAccount(session.number, tag, address, blind(kept), kept)  # noqa: E731
    _ask(session, address, "create user", make, told)


def change_password(session: XmppSession, fields: Fields, told: Told) -> None:
    address = _account(session, fields, "accountjid")
    kept = session.hub.edge.keep(address, _password(fields))
    make = lambda tag: im.SetKey(session.number, tag, address, blind(kept), kept)  # noqa: E731
    _ask(session, address, "reset user", make, told)


def delete_user(session: XmppSession, fields: Fields, told: Told) -> None:
    address = _account(session, fields, "accountjids")
    _ask(session, address, "delete user", lambda tag: im.RemoveThis(session.number, tag), told)


def count_online(session: XmppSession, fields: Fields, told: Told) -> None:
    here = len({each.address for each in session.hub.sessions.values() if each.device})
    told("info", f"{here} accounts are here by XMPP.")


JID = ("accountjid", "jid-single", "The account")
PASSWORD = ("password", "text-private", "The password")
AGAIN = ("password-verify", "text-private", "The password once more")
ALL = {
    f"{ADMIN}#add-user": Command("Add a user", (JID, PASSWORD, AGAIN), add_user),
    f"{ADMIN}#change-user-password": Command(
        "Give a user a new password", (JID, PASSWORD), change_password
    ),
    f"{ADMIN}#delete-user": Command(
        "Delete a user", (("accountjids", "jid-multi", "The account"),), delete_user
    ),
    f"{ADMIN}#get-online-users-num": Command("Count who is here", (), count_online),
}


def on_command(session: XmppSession, iq: Iq) -> None:
    command = ALL.get(iq.child.get("node"))
    if iq.type != "set" or command is None:
        iq.error("item-not-found" if iq.type == "set" else "bad-request")
        return
    if not session.hub.is_admin(session.address):
        iq.error("forbidden")
        return
    node, run = iq.child.get("node"), iq.child.get("sessionid") or secrets.token_hex(8)
    if iq.child.get("action") == "cancel":
        iq.reply(_status(node, run, "canceled"))
        return
    form = iq.child.find(names.DATA, "x")
    if command.wants and (form is None or form.get("type") != "submit"):
        actions = Element(COMMANDS, "actions", {"execute": "complete"})
        actions.nodes.append(Element(COMMANDS, "complete"))
        iq.reply(_status(node, run, "executing", actions, command.form()))
        return

    def told(kind: str, text: str) -> None:
        iq.reply(_status(node, run, "completed", Element(COMMANDS, "note", {"type": kind}, text)))

    fields = _fields(form) if form is not None else {}
    try:
        command.run(session, fields, told)
    except _Refused as refused:
        iq.error("bad-request", str(refused))


def _fields(form: Element) -> Fields:
    return {
        field.get("var"): [value.text for value in field.children() if value.name == "value"]
        for field in form.children()
        if field.name == "field"
    }


def _status(node: str, run: str, status: str, *inside: Element) -> Element:
    about = {"node": node, "sessionid": run, "status": status}
    return Element(COMMANDS, "command", about, *inside)


def begin(hub: Hub) -> None:
    hub.item_nodes[COMMANDS] = _items
    for node in ALL:
        hub.info_nodes[node] = _info


def _items(session: XmppSession, iq: Iq) -> None:
    items = []
    if session.hub.is_admin(session.address):
        items = [
            Element(
                names.DISCO_ITEMS,
                "item",
                {"jid": session.hub.domain, "node": node, "name": command.title},
            )
            for node, command in ALL.items()
        ]
    iq.reply(Element(names.DISCO_ITEMS, "query", {"node": COMMANDS}, *items))


def _info(session: XmppSession, iq: Iq) -> None:
    node = iq.child.get("node")
    if not session.hub.is_admin(session.address):
        iq.error("forbidden")
        return
    inside = [
        make_identity("automation", "command-node", ALL[node].title),
        make_feature(COMMANDS),
        make_feature(names.DATA),
    ]
    iq.reply(Element(names.DISCO_INFO, "query", {"node": node}, *inside))


FEATURE = Feature(
    name="commands",
    specs=(
        Spec("XEP-0004", "Data Forms", "2.13.1", note="of searches, commands and descriptions"),
        Spec("XEP-0050", "Ad-Hoc Commands", "1.3.0"),
        Spec(
            "XEP-0133",
            "Service Administration",
            "1.3.0",
            "partial",
            "add, delete, new password, how many are here",
        ),
    ),
    server=(COMMANDS,),
    iqs={(COMMANDS, "command", SERVER): on_command},
    begin=begin,
)
