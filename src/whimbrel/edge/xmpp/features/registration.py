"""In-band registration (XEP-0077): a new password and removal always, new accounts if configured.

Telephone numbers sign up with a PIN (docs/protocol.md); here only names may be taken.
"""

from hashlib import sha256

from whimbrel.domain import im
from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import account_number, parse_address
from whimbrel.edge.xmpp.feature import ACCOUNT, SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.sasl.prepare import saslprep
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import answer_to, stanza_error

PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 256


def offers(stream: XmppStream) -> list[Element]:
    if stream.account or not stream.hub.settings.registration:
        return []
    return [Element(names.REGISTER_FEATURE, "register")]


def on_stranger(stream: XmppStream, iq: Element) -> None:
    """Before the login: a new account by name, where the operator lets strangers in."""
    hub, ns = stream.hub, names.REGISTER
    if not hub.settings.registration:
        stream.write_element(stanza_error(iq, "not-allowed"))
        return
    query = iq.find(ns, "query")
    if query is None or iq.get("type") not in ("get", "set"):
        stream.write_element(stanza_error(iq, "bad-request"))
        return
    if iq.get("type") == "get":
        text = "Choose a name and a password."
        asked = [
            Element(ns, "instructions", {}, text),
            Element(ns, "username"),
            Element(ns, "password"),
        ]
        stream.write_element(answer_to(iq, "result", Element(ns, "query", {}, *asked)))
        return
    name, password = query.child_text(ns, "username"), query.child_text(ns, "password")
    try:
        address = parse_address(name or "")
        prepared = good_password(password or "")
    except (BadAddress, SaslFailure, ValueError) as error:
        stream.write_element(stanza_error(iq, "not-acceptable", str(error)))
        return
    if address.startswith("+"):
        stream.write_element(stanza_error(iq, "not-acceptable", "a number signs up with a PIN"))
        return
    if not hub.may_register(stream.link.address):
        stream.write_element(stanza_error(iq, "resource-constraint", "too many new accounts"))
        return
    kept = hub.edge.keep(address, prepared)

    def then(done: im.Done) -> None:
        if done.code:
            stream.write_element(stanza_error(iq, "conflict"))
        else:
            hub.edge.counts["xmpp-registered"] += 1
            stream.write_element(answer_to(iq, "result"))

    message = im.NewAccount(stream.number, 1, address, blind(kept), kept)
    if hub.edge.router.tell(account_number(address), message):
        stream.registering = then
    else:
        stream.write_element(stanza_error(iq, "resource-constraint"))


def good_password(password: str) -> str:
    """As both sides compute with it. Raises SaslFailure or ValueError."""
    prepared = saslprep(password)
    if not PASSWORD_CHARS_MIN <= len(prepared) <= PASSWORD_CHARS_MAX:
        raise ValueError(f"a password has {PASSWORD_CHARS_MIN} characters or more")
    return prepared


def blind(kept: bytes) -> bytes:
    """No client of the own protocol logs in by a password that a person chose: what is kept of
    those keys is a plain hash, which is safe for 256 random bits only.
    """
    return sha256(b"no key has this hash: " + kept).digest()


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
        prepared = good_password(password)
    except SaslFailure:
        iq.error("not-acceptable", "a character that has no place in a password")
        return
    except ValueError as error:
        iq.error("not-acceptable", str(error))
        return
    kept = session.hub.edge.keep(session.address, prepared)
    hashed = blind(kept)

    def then(changed: im.KeyChanged) -> None:
        iq.reply()

    device, number = session.device, session.number
    if not session.ask(
        lambda tag: im.NewKey(device, number, tag, hashed, kept), then, iq.unanswered
    ):
        iq.error("resource-constraint")


def _remove(session: XmppSession, iq: Iq) -> None:
    """Section 3.2: the account and all that is its own."""

    def then(done: im.Done) -> None:
        iq.reply()
        session.end("not-authorized")

    device, number = session.device, session.number
    if not session.ask(lambda tag: im.Close(device, number, tag), then, iq.unanswered):
        iq.error("resource-constraint")


FEATURE = Feature(
    name="registration",
    specs=(
        Spec(
            "XEP-0077",
            "In-Band Registration",
            "2.4",
            note="new accounts by name if xmpp.registration is on; numbers sign up with a PIN",
        ),
    ),
    server=(names.REGISTER,),
    iqs={
        (names.REGISTER, "query", ACCOUNT): on_register,
        (names.REGISTER, "query", SERVER): on_register,
    },
    early={names.REGISTER: on_stranger},
    offers=offers,
)
