"""What is fuzzed of XMPP: streams, WebSocket frames, addresses, and what people log in with."""

from collections import Counter
from contextlib import suppress
from itertools import pairwise

from msgspec.structs import replace

from tests.fuzz.guided import Target
from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import SessionSink
from whimbrel.domain.rows import MESSAGE
from whimbrel.edge.session import Numbers
from whimbrel.edge.xmpp.features import ALL
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.messages import message_text
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.protocol.body import check_body
from whimbrel.protocol.sasl.failures import SaslFailure, decoded, encoded
from whimbrel.protocol.sasl.plain import read_plain
from whimbrel.protocol.sasl.scram import Scram, Verifier
from whimbrel.protocol.xmpp import chat, names
from whimbrel.protocol.xmpp.bosh import BodyReader
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.jid import JidMalformed, parse_jid
from whimbrel.protocol.xmpp.stream import (
    Event,
    Stanza,
    StreamReader,
    XmlLimits,
    portable,
    read_frame,
    read_whole,
)

WIDE = XmlLimits()
PLAIN = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'"
    b" xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
)
LIMITS = XmlLimits(stanza_bytes_max=600, depth_max=12, attributes_max=6, children_max=30)
SPLIT_BYTES = 300
HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:x='urn:x'"
    b" xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
)
STANZAS = (
    b"<message to='a@b' type='chat' id='1'><body>hi &amp; &lt;</body><x:y/></message> ",
    b"<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='a@b' x:z='>'/></query></iq>",
    b"<presence><show>away</show><![CDATA[<]]></presence></stream:stream>",
    b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>",
)
WORDS = (
    b"<", b">", b"/>", b"</", b"'", b'"', b"=", b":", b" xmlns", b" xmlns:x='", b"xml:lang='",
    b"&#x", b"&lt;", b";", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<!DOCTYPE ", b"<?", b"?>",
    b"<!ENTITY", b"\xff", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b"stream:", b"<message", b"<iq",
)  # fmt: skip


def _read(
    data: bytes, edges: list[int], *, rests: bool = False
) -> tuple[list[object], StreamReader]:
    reader, seen = StreamReader(LIMITS), list[Event]()
    ending: list[object] = []
    try:
        for start, stop in pairwise([0, *edges, len(data)]):
            seen += reader.feed(data[start:stop])
            if rests:
                reader.rest()
    except StreamError as error:
        seen += reader.events
        ending = [error.condition]
    told = [(e.raw, write(e.element)) if isinstance(e, Stanza) else e for e in seen]
    return [*told, *ending], reader


def stream(data: bytes) -> str:
    """The same for any split; what passes through means the same in another stream."""
    whole, reader = _read(data, [])
    if len(data) < SPLIT_BYTES:
        assert _read(data, list(range(1, len(data))))[0] == whole
        assert _read(data, list(range(1, len(data))), rests=True)[0] == whole
    assert _read(data, [len(data) // 3, len(data) // 2])[0] == whole
    for event in whole:
        if isinstance(event, tuple):
            raw, written = event
            moved, _ = _read(HEADER.replace(b" xmlns:x='urn:x'", b"") + _portable(raw, reader), [])
            assert isinstance(moved[-1], tuple), moved
            assert moved[-1][1] == written
    return (
        str(whole[-1]) if whole and isinstance(whole[-1], str) else f"{min(len(whole), 5)} events"
    )


def _portable(raw: bytes, reader: StreamReader) -> bytes:
    return portable(raw, reader.prefixes)


def frame(data: bytes) -> str:
    try:
        return type(read_frame(data, LIMITS)).__name__
    except StreamError as error:
        return error.condition


def body(data: bytes) -> str:
    """What stands in it means the same in a stream."""
    reader = BodyReader(data, LIMITS)
    try:
        reader.head()
        found = reader.stanzas(LIMITS)
    except StreamError as error:
        return error.condition
    for stanza in found:
        moved, _ = _read(HEADER.replace(b" xmlns:x='urn:x'", b"") + stanza.raw, [])
        assert isinstance(moved[-1], tuple), moved
        assert moved[-1][1] == write(stanza.element)
    return f"{min(len(found), 3)} stanzas"


def jid(data: bytes) -> str:
    """One canonical form, which stays as it is."""
    with suppress(UnicodeDecodeError, JidMalformed):
        found = parse_jid(data.decode())
        assert parse_jid(str(found)) == found
        return "".join(str(bool(part)) for part in found)
    return "malformed"


def login(data: bytes) -> str:
    """A claim, a next step, or one failure; nobody gets in without the password."""
    said = []
    scram = Scram("SHA-1", False, {}, True, "n")
    for step in (
        lambda: decoded(encoded(data)) == data,
        lambda: bool(read_plain(data).authcid),
        lambda: bool(scram.read_first(data)),
        lambda: scram.read_final(data, [Verifier(b"s" * 20, b"k" * 20)]),
    ):
        try:
            assert step() is True
            said.append("step")
        except SaslFailure as error:
            said.append(f"{error.condition} {error.text}")
    assert said[-1] != "step"
    return ", ".join(said)


def chat_bodies(data: bytes) -> str:
    """What stands in a <message/> is stored, and shown to another client with the same meaning."""
    try:
        whole, reader = _stanzas(HEADER + b"<message to='a@b' type='chat'>" + data + b"</message>")
    except StreamError as error:
        return error.condition
    if len(whole) != 1:
        return f"{len(whole)} stanzas"
    stanza = whole[0]
    found = chat.look(stanza.element)
    inner = chat.inner_of(stanza, reader.prefixes, LIMITS, bool(found.flags & chat.FORGED))
    part = chat.Part("one", "", "chat", "i'<d", "", inner, 0)
    body = chat.pack(found.text, part)
    assert check_body(body, 1 << 20) == body
    back = chat.unpack(body)
    assert back.xmpp == part
    assert back.text == found.text
    kind, id, lang, inside = chat.inside_of(back, 1, str)
    text = message_text("a@b/c'", "d@e", kind, id, lang, inside)
    shown, _ = _stanzas(PLAIN + text.encode())
    assert shown[0].element.get("id") == "i'<d"
    assert shown[0].element.get("from") == "a@b/c'"
    before = _children(read_whole(stanza.raw, reader.prefixes, LIMITS))
    after = _children(read_whole(shown[0].raw, {}, WIDE))
    assert before == after
    return f"{found.flags:x}"


def _children(message: Element) -> list[bytes]:
    forged = (names.SIDS, "stanza-id")
    return [write(each) for each in message.children() if (each.ns, each.name) != forged]


def _stanzas(data: bytes) -> tuple[list[Stanza], StreamReader]:
    reader = StreamReader(WIDE if data.startswith(PLAIN) else LIMITS)
    return [event for event in reader.feed(data) if isinstance(event, Stanza)], reader


class _Edge:
    """Takes what a session tells its actor, and answers what may be answered at once."""

    def __init__(self) -> None:
        self.router = self
        self.numbers: Numbers = self
        self.limits = Limits()
        self.counts: Counter[str] = Counter()
        self.now_s = 1.0
        self.told: list[object] = []
        self.session: XmppSession | None = None

    def open(self, sink: SessionSink) -> int:
        return 1

    def close(self, number: int) -> None: ...
    def tell(self, account: int, message: object) -> bool:
        self.told.append(message)
        return True

    def keep(self, address: str, password: str, /) -> bytes:
        return b""

    def wall_us(self) -> int:
        return 1

    def ready(self) -> bool:
        return True

    def later(self, delay_s: float, call: object) -> None: ...
    def may_log_in(self, address: str, account: int) -> bool:
        return True

    def login_failed(self, address: str, account: int) -> None: ...
    def authenticated(self, session: object) -> None: ...
    def ended(self, session: object) -> None: ...


class _Stream:
    """Keeps what the session writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write_stanza(self, data: bytes) -> None:
        self.written.append(data)

    def flush(self) -> None: ...
    def go_on(self) -> None: ...
    def bound(self, session: object) -> None: ...
    def session_over(self, condition: str) -> None: ...
    def sm_failed(self, condition: str) -> None: ...


def session(data: bytes) -> str:
    """Any stanzas of a client that is logged in: answers that are XML, or one stream error."""
    edge, stream = _Edge(), _Stream()
    features = [feature for feature in ALL if feature.name != "upload"]
    hub = Hub(
        edge, "localhost", XmppSettings(), features, lambda address: b"salt" * 4, lambda: b"end"
    )
    one = XmppSession(hub, stream, "alice", 1 << 21, 1)  # type: ignore[arg-type]
    one.prefixes = {"x": "urn:x"}
    one.deliver(im.Bound("alice", 1, "one", 1, 1))
    one.deliver(im.Started(0))
    ending = ""
    reader = StreamReader(LIMITS)
    try:
        for event in reader.feed(HEADER + data):
            if isinstance(event, Stanza):
                _say(hub, one, event)
                _answer(edge, one)
    except StreamError as error:
        ending = error.condition
    written = b"".join(stream.written)
    shown, _ = _stanzas(PLAIN + written)
    assert len(shown) == len(stream.written), written
    kinds = {type(message).__name__ for message in edge.told}
    return f"{ending} {','.join(sorted(kinds))} {min(len(shown), 3)}"


def _say(hub: Hub, one: XmppSession, stanza: Stanza) -> None:
    if stanza.element.ns == names.CLIENT:
        one.take(stanza)
        return
    call = hub.nonzas.get(stanza.element.ns)
    if call is None:
        raise StreamError("unsupported-stanza-type")
    call(one, stanza.element)


def _answer(edge: _Edge, one: XmppSession) -> None:
    """What the actor would say."""
    told, edge.told = edge.told, []
    for message in told:
        tag = getattr(message, "tag", 0)
        if isinstance(message, m.Submit):
            one.deliver(a.Stored(message.c, message.c))
            item = a.Item(message.c - 1, message.c, MESSAGE, "bob", message.c, 1, 1, 0, "", None)
            one.deliver(replace(item, body=message.body))
        elif isinstance(message, im.RosterGet):
            one.deliver(im.RosterGot(tag, (im.RosterItem("bob", "<&", ("'",), 32),)))
        elif isinstance(message, im.DocumentGet | im.PeerDocument):
            one.deliver(im.DocumentGot(tag, b"<x xmlns='urn:x'/>"))
        elif isinstance(message, im.ArchiveGet):
            one.deliver(im.ArchiveGot(tag, ((1, "bob", True, b"\x80"),), 1, False))
        elif isinstance(message, im.BlockedGet):
            one.deliver(im.BlockedGot(tag, ("bob", "x@elsewhere")))
        elif tag:
            one.deliver(im.Done(tag))
        elif isinstance(message, im.Relay):
            one.deliver(im.StanzaShown(im.MESSAGE, message.stanza))
        elif isinstance(message, im.Available) and message.stanza:
            one.deliver(im.PresenceCame("bob", "two", message.stanza))
    edge.told = [*told]


SAID = (
    b"<message to='bob@localhost' type='chat' id='1'><body>x</body>"
    b"<request xmlns='urn:xmpp:receipts'/>"
    b"<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>",
    b"<message to='bob@localhost'>"
    b"<composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    b"<presence><priority>1</priority></presence><presence type='subscribe' to='bob@localhost'/>",
    b"<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"
    b"<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='B'>"
    b"<group>g</group></item></query></iq>",
    b"<iq type='set' id='3'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data'>"
    b"<field var='with'><value>bob@localhost</value></field></x></query></iq>",
    b"<iq type='get' id='4' to='localhost'>"
    b"<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    b"<iq type='set' id='5'><vCard xmlns='vcard-temp'/></iq>",
    b"<iq type='set' id='6'><block xmlns='urn:xmpp:blocking'><item jid='b@localhost'/></block></iq>"
    b"<enable xmlns='urn:xmpp:sm:3' resume='1'/><r xmlns='urn:xmpp:sm:3'/>"
    b"<a xmlns='urn:xmpp:sm:3' h='1'/>",
)
TARGETS = (
    Target(
        "XMPP chat",
        "stored, and shown elsewhere with the same meaning",
        chat_bodies,
        (
            b"<body>hi &amp; &lt;</body><x:y x:z='1'/><thread/>",
            b"<stanza-id xmlns='urn:xmpp:sid:0' id='1'/><body xml:lang='de'>\xc3\xbc</body>",
            b"<a stream:b='1'/>",
        ),
        WORDS,
    ),
    Target(
        "XMPP session", "answers that are XML, or one stream error", session, SAID, (*WORDS, *SAID)
    ),
    Target(
        "XMPP stream",
        "the same for any split, and in another stream",
        stream,
        tuple(HEADER + stanza for stanza in STANZAS),
        WORDS,
    ),
    Target("XMPP frame", "one element, or a stream error", frame, STANZAS, WORDS),
    Target(
        "XMPP body",
        "stanzas that mean the same in a stream, or a stream error",
        body,
        tuple(
            b"<body xmlns='http://jabber.org/protocol/httpbind' rid='1' xmlns:x='urn:x'>"
            + stanza.replace(b" ", b" xmlns='jabber:client' ", 1)
            + b"</body>"
            for stanza in (STANZAS[0], STANZAS[1])
        ),
        WORDS,
    ),
    Target(
        "JID",
        "canonical, or malformed",
        jid,
        (b"alice@example.org/phone", "\u00e4\u00df@m\u00fcnchen.example/\u265a".encode()),
        (b"@", b"/", b"xn--", b"[::1]", b".", "\u0345\u200d".encode()),
    ),
    Target(
        "XMPP login",
        "a step, or one failure",
        login,
        (b"\0alice\0secret", b"n,,n=alice,r=abc", b"c=biws,r=abcn,p=AAAA"),
        (b"\0", b",", b"=2C", b"a=", b"p=", b"r=", b"\xff", "\u2168".encode()),
    ),
)
