"""In-band registration (XEP-0077): a new password and removal always, new accounts if configured.

Telephone numbers sign up with a PIN (docs/protocol.md); here only names may be taken.
"""

from hashlib import sha256

from whimbrel.domain import im
from whimbrel.edge.xmpp.feature import ACCOUNT, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.sasl.prepare import saslprep
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element

PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 256


def offers(stream: XmppStream) -> list[Element]:
    if stream.account or not stream.hub.settings.registration:
        return []
    return [Element(names.REGISTER_FEATURE, "register")]


def on_register(session: XmppSession, iq: Iq) -> None:
    child = iq.child
    ns = names.REGISTER
    if iq.type == "get":
        known = [
            Element(ns, "registered"),
            Element(ns, "username", {}, session.address),
            Element(ns, "password"),
        ]
        iq.reply(Element(ns, "query", {}, *known))
    elif child.find(ns, "remove") is not None:
        _remove(session, iq)
    else:
        _change_password(session, iq)


def _change_password(session: XmppSession, iq: Iq) -> None:
    name = iq.child.child_text(names.REGISTER, "username")
    password = iq.child.child_text(names.REGISTER, "password")
    if not name or password is None:
        iq.error("bad-request")
        return
    if name != session.address:
        iq.error("not-allowed", "this is the name of another account")
        return
    try:
        prepared = saslprep(password)
    except SaslFailure:
        iq.error("not-acceptable", "a character that has no place in a password")
        return
    if not PASSWORD_CHARS_MIN <= len(prepared) <= PASSWORD_CHARS_MAX:
        iq.error("not-acceptable", f"a password has {PASSWORD_CHARS_MIN} characters or more")
        return
    kept = session.hub.edge.keep(session.address, prepared)
    # No client of the own protocol logs in by a password that a person chose: what is kept of
    # those keys is a plain hash, which is safe for 256 random bits only.
    blind = sha256(b"no key has this hash: " + kept).digest()

    def then(changed: im.KeyChanged) -> None:
        iq.reply()

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.NewKey(device, number, tag, blind, kept), then):
        iq.error("resource-constraint")


def _remove(session: XmppSession, iq: Iq) -> None:
    """Section 3.2: the account and all that is its own."""

    def then(done: im.Done) -> None:
        iq.reply()
        session.end("not-authorized")

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.Close(device, number, tag), then):
        iq.error("resource-constraint")


FEATURE = Feature(
    name="registration",
    specs=(
        Spec(
            "XEP-0077",
            "In-Band Registration",
            "2.4",
            "partial",
            "change of password and removal; new accounts come by telephone number",
        ),
    ),
    server=(names.REGISTER,),
    iqs={
        (names.REGISTER, "query", ACCOUNT): on_register,
        (names.REGISTER, "query", SERVER): on_register,
    },
    offers=offers,
)
