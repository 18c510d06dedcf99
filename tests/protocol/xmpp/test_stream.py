"""Streams: the same events or one named refusal, whatever the bytes and however they are split."""

import re
from contextlib import suppress
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.protocol.xmpp.element import LANG, Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.names import CLIENT, STREAMS
from whimbrel.protocol.xmpp.stream import (
    Closed,
    Event,
    Opened,
    Stanza,
    StreamReader,
    XmlLimits,
    portable,
    read_frame,
)

LIMITS = XmlLimits(stanza_bytes_max=2_000, depth_max=10, attributes_max=8, children_max=40)
HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='localhost' version='1.0'"
    b" xmlns:stream='http://etherx.jabber.org/streams' xml:lang='de'>"
)
MESSAGE = (
    b"<message to='bob@localhost' id='1'><body>a &lt;b&gt; \xc3\xa4</body>"
    b"<deep xmlns='urn:x'><er a='>'/></deep></message>"
)
ROSTER = b"<iq type='get' id='2'><query xmlns='jabber:iq:roster'><item jid='a'/></query></iq>"
WHOLE = HEADER + b" " + MESSAGE + b"\n" + ROSTER + b"<presence/></stream:stream>"


def told(event: Event) -> object:
    return (event.element, event.raw) if isinstance(event, Stanza) else event


def read(data: bytes, *cuts: int, limits: XmlLimits = LIMITS) -> list[object]:
    """The events, then the condition of a refusal."""
    reader, found = StreamReader(limits), list[Event]()
    edges = [0, *sorted(cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            found += reader.feed(data[start:end])
    except StreamError as error:
        return [*map(told, found + reader.events), error.condition]
    return list(map(told, found))


def refused(inside: bytes, limits: XmlLimits = LIMITS) -> object:
    return read(HEADER + inside, limits=limits)[-1]


def test_a_stream_opens_carries_stanzas_and_ends() -> None:
    opened, message, roster, presence, closed = read(WHOLE)
    assert opened == Opened({"to": "localhost", "version": "1.0", LANG: "de"})
    assert isinstance(message, tuple)
    assert message[1] == MESSAGE
    assert message[0].child_text(CLIENT, "body") == "a <b> \u00e4"
    assert [child.name for child in message[0].children()] == ["body", "deep"]
    assert message[0].find("urn:x", "deep").nodes == [], "messages are read two levels deep"
    query = Element(
        "jabber:iq:roster", "query", {}, Element("jabber:iq:roster", "item", {"jid": "a"})
    )
    assert roster == (Element(CLIENT, "iq", {"type": "get", "id": "2"}, query), ROSTER)
    assert presence == (Element(CLIENT, "presence"), b"<presence/>")
    assert closed == Closed()


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_a_split_changes_nothing(cuts: list[int]) -> None:
    assert read(WHOLE, *cuts) == read(WHOLE)


def test_byte_by_byte_changes_nothing() -> None:
    assert read(WHOLE, *range(len(WHOLE))) == read(WHOLE)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<message><body>a</message>", "not-well-formed"),
        (b"<message a='1' a='2'/>", "not-well-formed"),
        (b"<message>\xff</message>", "not-well-formed"),
        (b"<message>\x00</message>", "not-well-formed"),
        (b"<message>&#0;</message>", "not-well-formed"),
        (b"<x:message/>", "bad-namespace-prefix"),
        (b"<message><x:a/></message>", "bad-namespace-prefix"),
        (b"<message>&nbsp;</message>", "restricted-xml"),
        (b"<!-- hush -->", "restricted-xml"),
        (b"<message><!-- hush --></message>", "restricted-xml"),
        (b"<?php echo ?>", "restricted-xml"),
        (b"<message><?php echo ?></message>", "restricted-xml"),
        (b"<!DOCTYPE a>", "not-well-formed"),
        (b"text", "bad-format"),
        (b"<message>" + b"<a>" * 5_000, "policy-violation"),
        (b"<message " + b" ".join(b"a%d='1'" % n for n in range(9)) + b"/>", "policy-violation"),
        (b"<message>" + b"<a/>" * 50 + b"</message>", "policy-violation"),
        (b"<message><body>" + b"a" * 3_000, "policy-violation"),
        (b"<message a='" + b"a" * 3_000, "policy-violation"),
    ],
)
def test_what_has_no_place_in_a_stream_is_refused_by_name(data: bytes, condition: str) -> None:
    assert refused(data) == condition


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "restricted-xml"),
        (b"<?xml version='1.0' encoding='UTF-16'?><a/>", "unsupported-encoding"),
        (b"<?xml version='1.0' encoding='latin-1'?><a/>", "unsupported-encoding"),
        (b"<?xml version='1.1'?><a/>", "not-well-formed"),
        (b"<stream xmlns='jabber:client'>", "invalid-namespace"),
        (b"<stream:stream xmlns:stream='urn:other'>", "invalid-namespace"),
        (HEADER.replace(b"jabber:client", b"jabber:server"), "invalid-namespace"),
        (HEADER.replace(b"stream:stream", b"stream:flood"), "bad-format"),
        (b"<stream:stream>", "bad-namespace-prefix"),
        (b"GET / HTTP/1.1\r\n", "not-well-formed"),
        (b"\x16\x03\x01\x02\x00", "not-well-formed"),
        (b"<stream:stream a='" + b"a" * 3_000, "policy-violation"),
    ],
)
def test_what_is_no_header_is_refused_by_name(data: bytes, condition: str) -> None:
    assert read(data) == [condition]


def test_spaces_between_stanzas_cost_nothing() -> None:
    reader = StreamReader(LIMITS)
    reader.feed(HEADER)
    for _ in range(5_000):
        assert reader.feed(b" \n") == []
    assert reader.pending < 10


def test_stanzas_that_are_whole_before_a_fault_are_told() -> None:
    assert [type(event) for event in read(HEADER + MESSAGE + b"<a></b>")] == [Opened, tuple, str]


def test_many_stanzas_leave_nothing_behind() -> None:
    reader = StreamReader(LIMITS)
    reader.feed(HEADER)
    for _ in range(1_000):
        assert len(reader.feed(MESSAGE[:20])) == 0
        assert len(reader.feed(MESSAGE[20:] + MESSAGE)) == 2
    assert reader.pending == 0


MARKS = b"< > ' / & ; <!-- <?xml ?> ]]> <![CDATA[ xmlns: <a_xmlns=' \xff".split()
PIECES = (HEADER, MESSAGE, ROSTER, b"</stream:stream>", b" ", *MARKS)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=14), st.integers(1, 9))
def test_any_bytes_in_any_split_are_events_or_one_refusal(parts: list[bytes], step: int) -> None:
    data = b"".join(parts)
    assert read(data, *range(0, len(data), step)) == read(data, *range(0, len(data), 1))


def test_a_raw_stanza_means_the_same_in_another_stream() -> None:
    header = HEADER.replace(b" xml:lang", b" xmlns:x='urn:x&amp;y' xmlns:y='urn:y' xml:lang")
    raw = b"<message y:a='1'><x:body>:</x:body><body xmlns:y='urn:z'><y:b/></body></message>"
    reader = StreamReader(LIMITS)
    (stanza,) = reader.feed(header + raw)[1:]
    assert isinstance(stanza, Stanza)
    moved = portable(stanza.raw, reader.prefixes)
    assert moved.startswith(b'<message xmlns:x="urn:x&amp;y" xmlns:y="urn:y" y:a=')
    assert meaning(HEADER + moved + b"</stream:stream>") == meaning(
        header + raw + b"</stream:stream>"
    )
    assert portable(MESSAGE, {"stream": STREAMS}) is MESSAGE


def meaning(stream: bytes) -> str:
    """By an independent reader."""
    (stanza,) = ElementTree.fromstring(stream)
    return ElementTree.canonicalize(ElementTree.tostring(stanza), strip_text=False)


NAMES = st.sampled_from(["a", "body", "x-1", "\u00e4"])
SPACES = st.sampled_from([CLIENT, "urn:x", "urn:a&b\"'<>"])
TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_characters="\x0b\x0c\ufffe\uffff", exclude_categories=["Cs", "Cc"]
    ),
    max_size=12,
) | st.sampled_from(["]]>", "&amp;", "\r\n\t", "<a/>", " "])


def trees() -> st.SearchStrategy[Element]:
    attributes = st.dictionaries(NAMES | st.just(LANG) | st.just("{urn:q}r"), TEXTS, max_size=3)
    leaves = st.builds(Element, SPACES, NAMES, attributes)
    return st.recursive(
        leaves,
        lambda inside: st.builds(
            lambda ns, name, at, nodes: Element(ns, name, at, *nodes),
            SPACES, NAMES, attributes, st.lists(inside | TEXTS, max_size=4),
        ),
        max_leaves=8,
    )  # fmt: skip


@given(trees())
def test_what_was_written_is_read_as_the_same_tree(tree: Element) -> None:
    reader = StreamReader(XmlLimits())
    (stanza,) = reader.feed(HEADER + write(tree))[1:]
    assert isinstance(stanza, Stanza)
    assert stanza.element == tree


@given(trees())
def test_an_independent_reader_sees_the_same(tree: Element) -> None:
    found = ElementTree.fromstring(b"<r xmlns='jabber:client'>" + write(tree) + b"</r>")[0]
    assert same(found, tree)


def same(found: ElementTree.Element, tree: Element) -> bool:
    texts = [found.text or "", *(child.tail or "" for child in found)]
    ours = [""]
    for node in tree.nodes:
        if isinstance(node, str):
            ours[-1] += node
        else:
            ours.append("")
    return (
        found.tag == f"{{{tree.ns}}}{tree.name}"
        and dict(found.attrib) == tree.attributes
        and texts == ours
        and all(map(same, found, tree.children()))
    )


def test_trees_of_any_depth_are_written() -> None:
    tree = Element(CLIENT, "a")
    for _ in range(50_000):
        tree = Element(CLIENT, "a", {}, tree)
    assert write(tree).count(b"<a") == 50_001


# ---- WebSocket --------------------------------------------------------------------------


def test_a_frame_is_one_element() -> None:
    opened = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
    assert read_frame(opened, LIMITS) == Opened({"to": "localhost", "version": "1.0"})
    assert read_frame(b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", LIMITS) == Closed()
    raw = b"<message xmlns='jabber:client'><body>hi</body></message>"
    stanza = read_frame(raw, LIMITS)
    assert isinstance(stanza, Stanza)
    assert stanza.raw == raw
    assert stanza.element.child_text(CLIENT, "body") == "hi"


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b" <a xmlns='u'/>", "bad-format"),
        (b"", "bad-format"),
        (b"<a xmlns='u'/><b/>", "not-well-formed"),
        (b"<a xmlns='u'/>text", "not-well-formed"),
        (b"<a xmlns='u'>", "not-well-formed"),
        (b"<stream xmlns='http://etherx.jabber.org/streams'/>", "invalid-namespace"),
        (b"<a xmlns='u'>" + b"a" * 3_000 + b"</a>", "policy-violation"),
        (b"<!-- --><a/>", "restricted-xml"),
        (b"<message/>", "invalid-namespace"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(data: bytes, condition: str) -> None:
    with pytest.raises(StreamError, match=re.escape(condition)):
        read_frame(data, LIMITS)


@given(
    st.binary(max_size=40) | st.text(max_size=20).map(lambda t: f"<a xmlns='u'>{t}</a>".encode())
)
def test_any_frame_is_one_event_or_one_refusal(data: bytes) -> None:
    with suppress(StreamError):
        assert isinstance(read_frame(data, LIMITS), Opened | Stanza | Closed)


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_a_parser_that_is_put_away_between_stanzas_changes_nothing(step: int) -> None:
    header = (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:x='urn:x'"
        b" xmlns:stream='http://etherx.jabber.org/streams' to='a>b' version='1.0'>"
    )
    stanzas = b"".join(
        b"<message id='%d'><x:y/><body>%d</body></message> \n<presence/>" % (n, n)
        for n in range(20)
    )
    data = header + stanzas + b"</stream:stream>"
    reader, told_of = StreamReader(LIMITS), []
    for at in range(0, len(data), step):
        told_of += [told(event) for event in reader.feed(data[at : at + step])]
        reader.rest()
    assert told_of == read(data)
    assert reader.prefixes["x"] == "urn:x"


def test_a_fault_after_a_rest_has_the_same_name() -> None:
    header = b"<stream:stream xmlns='jabber:client' xmlns:stream='%s'>" % STREAMS.encode()
    for inside, condition in ((b"<!-- -->", "restricted-xml"), (b"x", "bad-format")):
        reader = StreamReader(LIMITS)
        reader.feed(header)
        reader.rest()
        with pytest.raises(StreamError) as raised:
            reader.feed(inside)
        assert raised.value.condition == condition
