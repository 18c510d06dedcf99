"""Plain stanzas: what is read without a parser is what the parser would have told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.xmpp.test_stream import HEADER, LIMITS, read
from whimbrel.protocol.xmpp.names import CLIENT
from whimbrel.protocol.xmpp.plain import read_plain
from whimbrel.protocol.xmpp.stream import Stanza, StreamReader

PLAIN = [
    "<message to='bob@localhost' type='chat' id='1'><body>hi \u00e4 \U0001f600</body></message>",
    "<message to=\"b@c\" xml:lang='de'><body>a 'b' ]]</body><x xmlns='urn:x' a='>'/></message>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    '<message to="b@c"><body /><active xmlns="http://jabber.org/protocol/chatstates" /></message>',
    "<a xmlns='urn:xmpp:sm:3' h='12'/>",
    "<presence><show>away</show><priority>1</priority></presence>",
    "<presence></presence>",
    "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>",
    " \n<message\n/>",
]
NOT_PLAIN = [
    "<message><body>a &amp; b</body></message>",
    "<message><body>a\r\nb</body></message>",
    "<message><body>]]></body></message>",
    "<message><body>\ufffe</body></message>",
    "<message a='1' a='2'/>",
    "<message><body a='1' a='2'/></message>",
    "<message a='\t'/>",
    "<message><body>a</bodx></message>",
    "<message><a><b/></a></message>",
    "<message><a/> <b/></message>",
    "<message>text<a/></message>",
    "<x:message/>",
    "<message xmlns:x='urn:x'/>",
    "<message><a xmlns=''/></message>",
    "<message xmlns=''/>",
    "<message><a xmlns='http://www.w3.org/2000/xmlns/'/></message>",
    "<message xml:space='preserve'/>",
    "<message><![CDATA[a]]></message>",
    "<message " + " ".join(f"a{n}='1'" for n in range(9)) + "/>",
    "<message>" + "<a/>" * 40 + "</message>",
    "<message><body>" + "a" * 2_000 + "</body></message>",
]
WORDS = [
    "<",
    ">",
    "/>",
    "</",
    "'",
    '"',
    "=",
    " ",
    "\n",
    "message",
    "body",
    "a",
    "xmlns",
    "xml:lang",
]
WORDS += ["urn:x", "&amp;", "]]>", "]", "\u00e4", "\ufffe", "\x00", "1", ":", "<a/>", "<!-- -->"]


def both_ways(text: str) -> None:
    """At once, which plain.py may read; and byte by byte, which only the parser does."""
    data = HEADER + text.encode()
    assert read(data) == read(data, *range(len(HEADER), len(data)))


@pytest.mark.parametrize("text", PLAIN + NOT_PLAIN)
def test_it_is_read_as_by_the_parser(text: str) -> None:
    both_ways(text)
    both_ways(f"{text}<presence/>")
    both_ways(f"<presence/>{text}{PLAIN[0]}")


@pytest.mark.parametrize("text", PLAIN[:-1])
def test_plain_ones_need_no_parser(text: str) -> None:
    reader = StreamReader(LIMITS)
    reader.feed(HEADER)
    reader.rest()
    (stanza,) = reader.feed(text.encode() + b"\n")
    assert isinstance(stanza, Stanza)
    assert stanza.raw == text.encode()
    assert stanza.inner is not None
    assert reader._parser is None


@pytest.mark.parametrize("text", NOT_PLAIN[:-1])
def test_others_are_left_to_it(text: str) -> None:
    assert read_plain(text, 0, LIMITS.attributes_max, LIMITS.children_max) is None


def test_without_a_declared_namespace_nothing_is_plain() -> None:
    header = HEADER.replace(b"xmlns='jabber:client' ", b"")
    assert header != HEADER
    assert read(header + b"<message/>")[-1] == "invalid-namespace"


@given(
    st.sampled_from(PLAIN + NOT_PLAIN),
    st.lists(st.tuples(st.integers(0, 80), st.sampled_from(WORDS)), max_size=3),
)
def test_changed_ones_too(text: str, changes: list[tuple[int, str]]) -> None:
    for at, word in changes:
        text = text[:at] + word + text[at:]
    both_ways(text)


@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_and_words_in_any_order(words: list[str]) -> None:
    both_ways("<message" + "".join(words))
    both_ways("".join(words) + "</message>")


def test_a_message_that_is_plain_gives_its_inside() -> None:
    found = read_plain(PLAIN[0], 0, 8, 8)
    assert found is not None
    assert found.inner == "<body>hi \u00e4 \U0001f600</body>"
    assert found.element.child_text(CLIENT, "body") == "hi \u00e4 \U0001f600"
