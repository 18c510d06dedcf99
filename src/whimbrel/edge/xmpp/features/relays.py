"""Stanzas that pass through: chat states (XEP-0085), headlines, requests between clients."""

import re

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain.errors import BLOCKED
from whimbrel.edge.xmpp.feature import Feature, Spec
from whimbrel.edge.xmpp.session import EPHEMERAL_WAITING_MAX, XmppSession
from whimbrel.protocol.xmpp import chat, names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.stream import Stanza, read_frame

_NAME = re.compile(rb"<[a-z]+")


def on_shown(session: XmppSession, shown: im.StanzaShown) -> None:
    if session.stream is None and session.waiting >= EPHEMERAL_WAITING_MAX:
        return  # nobody is there to see it; nothing of it was promised
    session.send(shown.stanza)


def on_marks(session: XmppSession, marks: im.MarksShown) -> None:
    session.messages.marks_shown(marks.address, marks.delivered, marks.read)


def on_bounced(session: XmppSession, bounced: im.Bounced) -> None:
    """A request of this client that nobody took (RFC 6121 section 8.5.3.2.3), or something for
    somebody whom the account blocks.
    """
    try:
        stanza = read_frame(_standing_alone(bounced.stanza), session.hub.xml)
    except StreamError:
        return
    if not isinstance(stanza, Stanza):
        return
    if bounced.code == BLOCKED:
        blocked = Element(names.BLOCKING_ERRORS, "blocked")
        session.refuse(stanza.element, "not-acceptable", "", "cancel", blocked)
    else:
        session.refuse(stanza.element, "service-unavailable")


def _standing_alone(raw: bytes) -> bytes:
    """A stanza as it stands by itself."""
    name = _NAME.match(raw)
    assert name is not None
    return name.group() + f" xmlns='{names.CLIENT}'".encode() + raw[name.end() :]


def on_typing(session: XmppSession, typing: a.TypingShown) -> None:
    """Somebody with a client of our own writes, or has stopped."""
    if session.inactive or session.stream is None:
        return
    state = "composing" if typing.on else "paused"
    sender = session.hub.targets.jid_of(typing.address)
    session.send(
        (
            f"<message from='{chat.quote(sender)}' to='{chat.quote(session.jid)}' type='chat'>"
            f"<{state} xmlns='{names.CHAT_STATES}'/></message>"
        ).encode()
    )


def ignore(session: XmppSession, answer: object) -> None:
    """For clients of our own only."""


FEATURE = Feature(
    name="relays",
    specs=(
        Spec("XEP-0085", "Chat State Notifications", "2.1", note="typing in the own protocol"),
        Spec("XEP-0308", "Last Message Correction", "1.2.1", note="passed through"),
        Spec("XEP-0334", "Message Processing Hints", "0.4.0"),
        Spec("XEP-0384", "OMEMO Encryption", "0.8.3", "partial", "passed through; keys need PEP"),
        Spec("XEP-0444", "Message Reactions", "0.2.0", note="passed through"),
        Spec("XEP-0184", "Message Delivery Receipts", "1.4.0", note="the second check mark"),
        Spec("XEP-0333", "Displayed Markers", "0.5.0", note="the blue check mark"),
        Spec("XEP-0066", "Out of Band Data", "1.5", note="files of the own protocol"),
        Spec("XEP-0447", "Stateless File Sharing", "0.3.0", note="files of the own protocol"),
        Spec("XEP-0264", "Jingle Content Thumbnails", "0.4.2", note="files of the own protocol"),
    ),
    answers={
        im.StanzaShown: on_shown,
        im.Bounced: on_bounced,
        im.MarksShown: on_marks,
        a.TypingShown: on_typing,
        a.EndOfQueue: ignore,
        a.PresenceShown: ignore,
        a.HideDone: ignore,
        a.ReadDone: ignore,
        a.CommandRefused: ignore,
    },
)
