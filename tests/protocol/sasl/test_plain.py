"""PLAIN and the Base64 around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.protocol.sasl.failures import SaslFailure, decoded, encoded
from whimbrel.protocol.sasl.plain import read_plain
from whimbrel.protocol.sasl.prepare import saslprep


def test_three_parts() -> None:
    claim = read_plain(b"\0alice\0secret word")
    assert claim == ("", "alice", "secret word")
    assert read_plain(b"other\0alice\0s").authzid == "other"
    assert "secret" not in repr(claim)


@pytest.mark.parametrize(
    "message", [b"", b"alice", b"\0alice", b"\0\0s", b"\0alice\0", b"\0a\0b\0c", b"\0\xff\0s",
                b"\0" + b"a" * 1_024 + b"\0s"],
)  # fmt: skip
def test_what_is_no_claim(message: bytes) -> None:
    with pytest.raises(SaslFailure, match="malformed-request"):
        read_plain(message)


# RFC 4013 section 3
@pytest.mark.parametrize(
    ("given_", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX")],
)
def test_the_examples_of_saslprep(given_: str, prepared: str) -> None:
    assert saslprep(given_) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "\u0221", "\ufffd", "a\u0000"])
def test_what_saslprep_refuses(text: str) -> None:
    with pytest.raises(SaslFailure, match="malformed-request"):
        saslprep(text)


@given(st.binary(max_size=30))
def test_base64_there_and_back(data: bytes) -> None:
    assert decoded(encoded(data)) == data


@pytest.mark.parametrize("text", ["a", "AA", "AA=A", "A A=", "AAAA\n", "\u00e4", "===="])
def test_anything_else_is_an_incorrect_encoding(text: str) -> None:
    with pytest.raises(SaslFailure, match="incorrect-encoding"):
        decoded(text)


@given(st.binary(max_size=30) | st.text(max_size=12).map(str.encode))
def test_any_bytes_are_a_claim_or_a_failure(data: bytes) -> None:
    try:
        claim = read_plain(data)
    except SaslFailure:
        return
    assert claim.authcid
