"""SCRAM: the dialogues of the RFCs, an independent client, and what must not get in."""

import base64
import re
from contextlib import suppress

import pytest
import scramp
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.sasl.scram import HASHES, Scram, Verifier, derive

SALT = b"0123456789abcdef"
PASSWORD = "pencil"
BINDINGS = {"tls-unique": b"finished", "tls-server-end-point": b"end point"}

# client-first, our part of the nonce, salt, server-first, client-final, server-final
RFC_5802 = (
    "SHA-1",
    "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    "3rfcNHYJY1ZVvWVs7j",
    "QSXCR+Q6sek8bf92",
    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)
RFC_7677 = (
    "SHA-256",
    "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    "W22ZaJ0SNY7soEsUEjb6gQ==",
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)


@pytest.mark.parametrize("dialogue", [RFC_5802, RFC_7677], ids=lambda dialogue: dialogue[0])
def test_the_dialogue_of_the_rfc(dialogue: tuple[str, ...]) -> None:
    hash, first, nonce, salt, challenge, final, done = dialogue
    scram = Scram(hash, False, {}, False, nonce)
    assert scram.read_first(first.encode()) == "user"
    raw = base64.b64decode(salt)
    assert scram.challenge(raw, 4_096).decode() == challenge
    verifier = derive(PASSWORD, raw, 4_096, hash)
    assert scram.read_final(final.encode(), [verifier]) == (0, done.encode())


def attempt(
    hash: str,
    name: str = "alice",
    password: str = PASSWORD,
    binding: str = "",
    verifiers: list[Verifier] | None = None,
) -> tuple[int, bytes]:
    """A login by scramp, which we did not write."""
    plus = "-PLUS" if binding else ""
    channel = (binding, BINDINGS[binding]) if binding else None
    client = scramp.ScramClient([f"SCRAM-{hash}{plus}"], name, password, channel_binding=channel)
    scram = Scram(hash, bool(plus), BINDINGS if plus else {}, bool(plus), "server-nonce")
    assert scram.read_first(client.get_client_first().encode()) == name
    client.set_server_first(scram.challenge(SALT, 4_096).decode())
    known = [derive(PASSWORD, SALT, 4_096, hash)] if verifiers is None else verifiers
    at, done = scram.read_final(client.get_client_final().encode(), known)
    client.set_server_final(done.decode())
    return at, done


@pytest.mark.parametrize("hash", HASHES)
@pytest.mark.parametrize("binding", ["", *BINDINGS])
def test_an_independent_client_gets_in(hash: str, binding: str) -> None:
    attempt(hash, binding=binding)


@pytest.mark.parametrize("hash", HASHES)
def test_a_wrong_password_does_not(hash: str) -> None:
    with pytest.raises(SaslFailure, match="not-authorized"):
        attempt(hash, password="pencils")
    with pytest.raises(SaslFailure, match="not-authorized"):
        attempt(hash, verifiers=[])


def test_each_of_the_accounts_keys_opens_and_it_is_told_which() -> None:
    known = [derive(password, SALT, 4_096, "SHA-256") for password in ("one", "two", "three")]
    assert attempt("SHA-256", password="three", verifiers=known)[0] == 2


def test_names_and_passwords_are_prepared() -> None:
    known = [derive("\u2168 pass\u00a0word", SALT, 4_096, "SHA-256")]  # IX, a non-ASCII space
    assert attempt("SHA-256", name="a,b=c", password="IX pass word", verifiers=known)[0] == 0


FIRST = "n=user,r=abc"


@pytest.mark.parametrize(
    ("plus", "offers_plus", "first", "condition"),
    [
        (False, False, f"n,,{FIRST}", ""),
        (False, False, f"y,,{FIRST}", ""),
        (False, True, f"n,,{FIRST}", ""),
        (False, True, f"y,,{FIRST}", "not-authorized"),
        (True, True, f"p=tls-unique,,{FIRST}", ""),
        (True, True, f"p=tls-exporter,,{FIRST}", "malformed-request"),
        (True, True, f"n,,{FIRST}", "malformed-request"),
        (False, True, f"p=tls-unique,,{FIRST}", "malformed-request"),
        (False, False, f"n,a=other,{FIRST}", ""),
        (False, False, f"n,a=,{FIRST}", "malformed-request"),
        (False, False, f"n,,m=x,{FIRST}", "malformed-request"),
        (False, False, "n,,n=,r=abc", "malformed-request"),
        (False, False, "n,,n=user,r=", "malformed-request"),
        (False, False, "n,,n=us=er,r=a", "malformed-request"),
        (False, False, "n,,n=user,r=a b", "malformed-request"),
        (False, False, "x,,n=user,r=a", "malformed-request"),
        (False, False, "n,,r=a,n=user", "malformed-request"),
        (False, False, "n,,n=user,r=a,x=more", ""),
        (False, False, "n,,n=\u0221,r=a", "malformed-request"),
        (False, False, "", "malformed-request"),
    ],
)
def test_first_messages(plus: bool, offers_plus: bool, first: str, condition: str) -> None:
    scram = Scram("SHA-1", plus, BINDINGS, offers_plus, "n")
    if not condition:
        assert scram.read_first(first.encode()) == "user"
        return
    with pytest.raises(SaslFailure, match=re.escape(condition)):
        scram.read_first(first.encode())


@pytest.mark.parametrize(
    "final",
    ["", "c=biws", "c=biws,r=abcn", "c=biws,r=other,p=AAAA", "c=eSws,r=abcn,p=AAAA",
     "r=abcn,c=biws,p=AAAA", "c=!!,r=abcn,p=AAAA", "c=biws,r=abcn,p=!!", "c=biws,r=abcn,p=AAAA",
     "c=biws,r=abcn,p="],
)  # fmt: skip
def test_final_messages_that_prove_nothing(final: str) -> None:
    scram = Scram("SHA-1", False, {}, False, "n")
    scram.read_first(b"n,,n=user,r=abc")
    scram.challenge(SALT, 4_096)
    with pytest.raises(SaslFailure, match=r"not-authorized|malformed-request"):
        scram.read_final(final.encode(), [derive(PASSWORD, SALT, 4_096, "SHA-1")])


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.booleans())
def test_any_first_message_is_a_step_or_a_failure(data: bytes, plus: bool) -> None:
    with suppress(SaslFailure):
        assert Scram("SHA-256", plus, BINDINGS, plus, "nonce").read_first(data)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_final_message_is_a_failure_without_the_password(data: bytes) -> None:
    scram = Scram("SHA-256", False, {}, False, "n")
    scram.read_first(b"n,,n=user,r=abc")
    scram.challenge(SALT, 4_096)
    with pytest.raises(SaslFailure):
        scram.read_final(data, [Verifier(b"s" * 32, b"k" * 32)])
