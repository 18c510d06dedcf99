"""What is fuzzed of XMPP: streams, WebSocket frames, addresses, and what people log in with."""

from contextlib import suppress
from itertools import pairwise

from tests.fuzz.guided import Target
from whimbrel.protocol.sasl.failures import SaslFailure, decoded, encoded
from whimbrel.protocol.sasl.plain import read_plain
from whimbrel.protocol.sasl.scram import Scram, Verifier
from whimbrel.protocol.xmpp.element import write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.jid import JidMalformed, parse_jid
from whimbrel.protocol.xmpp.stream import (
    Event,
    Stanza,
    StreamReader,
    XmlLimits,
    portable,
    read_frame,
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


def _read(data: bytes, edges: list[int]) -> tuple[list[object], StreamReader]:
    reader, seen = StreamReader(LIMITS), list[Event]()
    ending: list[object] = []
    try:
        for start, stop in pairwise([0, *edges, len(data)]):
            seen += reader.feed(data[start:stop])
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


TARGETS = (
    Target(
        "XMPP stream",
        "the same for any split, and in another stream",
        stream,
        tuple(HEADER + stanza for stanza in STANZAS),
        WORDS,
    ),
    Target("XMPP frame", "one element, or a stream error", frame, STANZAS, WORDS),
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
