"""Addresses: the examples of RFC 7622, and that anything is an address or jid-malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.protocol.xmpp.jid import Jid, JidMalformed, parse_jid

GOOD = {
    "juliet@example.com": Jid("juliet", "example.com"),
    "juliet@example.com/foo": Jid("juliet", "example.com", "foo"),
    "juliet@example.com/foo bar": Jid("juliet", "example.com", "foo bar"),
    "juliet@example.com/foo@bar": Jid("juliet", "example.com", "foo@bar"),
    "foo\\20bar@example.com": Jid("foo\\20bar", "example.com"),
    "fussball@example.com": Jid("fussball", "example.com"),
    "fu\u00dfball@example.com": Jid("fu\u00dfball", "example.com"),
    "\u03c0@example.com": Jid("\u03c0", "example.com"),
    "\u03a3@example.com/foo": Jid("\u03c3", "example.com", "foo"),
    "king@example.com/\u265a": Jid("king", "example.com", "\u265a"),
    "example.com": Jid("", "example.com"),
    "example.com/foobar": Jid("", "example.com", "foobar"),
    "a.example.com/b@example.net": Jid("", "a.example.com", "b@example.net"),
    "Juliet@Example.COM./Balcony": Jid("juliet", "example.com", "Balcony"),
    "+4915112345678@localhost": Jid("+4915112345678", "localhost"),
    "a@[::1]/r": Jid("a", "[::1]", "r"),
    "a@127.0.0.1": Jid("a", "127.0.0.1"),
    "a@m\u00fcnchen.example": Jid("a", "m\u00fcnchen.example"),
    "a@xn--mnchen-3ya.example": Jid("a", "m\u00fcnchen.example"),
}
BAD = (
    '"juliet"@example.com',
    "foo bar@example.com",
    "juliet@example.com/",
    "@example.com",
    "@",
    "",
    "/",
    "a@",
    "henry\u2163@example.com",
    "\u265a@example.com",
    "juliet@",
    "/foobar",
    "a@b@c",
    "a@exa mple",
    "a@-",
    "a@[::zz]",
    "a@[::1",
    "a<b@example.com",
    "a@example..com",
    "a@c.Yone..",
    "a" * 1_024 + "@example.com",
    "a@example.com/" + "r" * 1_024,
    "a@example.com/\u0000",
)


@pytest.mark.parametrize("text", GOOD)
def test_good_ones_have_one_form(text: str) -> None:
    assert parse_jid(text) == GOOD[text]
    assert parse_jid(str(GOOD[text])) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_bad_ones_are_malformed(text: str) -> None:
    with pytest.raises(JidMalformed):
        parse_jid(text)


@given(st.text(max_size=20) | st.from_regex(r"[a-zA-Z@/.+\[\]:-]{1,12}"))
def test_anything_is_an_address_or_malformed(text: str) -> None:
    try:
        jid = parse_jid(text)
    except JidMalformed:
        return
    assert parse_jid(str(jid)) == jid


@given(st.text(max_size=6), st.text(max_size=6))
def test_the_canonical_form_of_any_two_parts_stays_as_it_is(local: str, resource: str) -> None:
    text = f"{local}@example.com/{resource}"
    try:
        jid = parse_jid(text)
    except JidMalformed:
        return
    assert parse_jid(str(jid)) == jid


def test_bare_drops_the_resource() -> None:
    assert str(parse_jid("a@b/c").bare) == "a@b"
    assert str(parse_jid("b").bare) == "b"
