"""Streams: every error of RFC 6120 section 4.9.3 that a client can provoke, by its name; logins
that fail; and nobody else is harmed."""

import asyncio
import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from tests.xmpp.house import House, house
from tests.xmpp.talk import SASL, Ended, LoginRefused, Talker, Tcp, connected
from whimbrel.domain.limits import Limits

STREAM = "http://etherx.jabber.org/streams"


def header(**changes: str) -> str:
    about = {"to": "localhost", "version": "1.0", **changes}
    shown = " ".join(f"{name}='{value}'" for name, value in about.items() if value)
    return f"<stream:stream xmlns='jabber:client' xmlns:stream='{STREAM}' {shown}>"


async def error_of(home: House, text: str, transport: str = "tls") -> str:
    """The condition with which the server ends a stream that begins so."""
    wire = await connected(home.ports, transport)
    await wire.send(text)
    while True:
        element = await wire.next()
        if element.tag == f"{{{STREAM}}}error":
            assert (await wire.next()).tag == "closed"
            with pytest.raises(Ended):
                await wire.next()
            return element[0].tag.rpartition("}")[2]


LOGGED_OUT = [
    ("<a/>", "invalid-namespace"),
    ("<stream:stream xmlns='jabber:client'>", "bad-namespace-prefix"),
    (header(to="elsewhere.example"), "host-unknown"),
    (header(version="0.9"), "unsupported-version"),
    (header(version=""), "unsupported-version"),
    (header(version="nonsense"), "unsupported-version"),
    (header().replace("jabber:client", "jabber:server"), "invalid-namespace"),
    (header().replace(STREAM, "urn:other"), "invalid-namespace"),
    (header().replace("stream:stream", "stream:flow"), "bad-format"),
    ("<?xml version='1.0' encoding='latin-1'?>" + header(), "unsupported-encoding"),
    ("<!DOCTYPE x>" + header(), "restricted-xml"),
    (header() + "<!-- a comment -->", "restricted-xml"),
    (header() + "<?php ?>", "restricted-xml"),
    (header() + "&unknown;", "restricted-xml"),
    (header() + "text", "bad-format"),
    (header() + "<a", ""),
    (header() + "</b>", "not-well-formed"),
    (header() + "<x:y/>", "bad-namespace-prefix"),
    (header() + "<message><body>x</body></message>", "not-authorized"),
    (header() + "<unknown xmlns='urn:x'/>", "unsupported-stanza-type"),
    (header() + f"<auth xmlns='{SASL}'>{'x' * 20_000}</auth>", "policy-violation"),
    (header() + "<a xmlns='urn:x'>" + "<a>" * 100, "policy-violation"),
]


@pytest.mark.parametrize(("text", "condition"), [case for case in LOGGED_OUT if case[1]])
async def test_before_the_login(home: House, text: str, condition: str) -> None:
    assert await error_of(home, text) == condition


async def test_text_that_is_not_utf8(home: House) -> None:
    wire = await connected(home.ports, "tls")
    assert isinstance(wire, Tcp)
    wire.writer.write(header().encode() + b"<message>\xff")
    while (element := await wire.next()).tag != f"{{{STREAM}}}error":
        pass
    assert element[0].tag.endswith("}not-well-formed")


LOGGED_IN = [
    ("<message from='bob@localhost/x' to='bob@localhost'/>", "invalid-from"),
    ("<message from='@@' to='bob@localhost'/>", "invalid-from"),
    ("<letter/>", "unsupported-stanza-type"),
    ("<x xmlns='urn:unknown'/>", "unsupported-stanza-type"),
    ("<presence><!-- x --></presence>", "restricted-xml"),
    ("<message>" + "<a>" * 5_000 + "</a>" * 5_000 + "</message>", "policy-violation"),
    ("<message><body>" + "x" * 300_000 + "</body></message>", "policy-violation"),
    (
        "<message " + " ".join(f"a{n}='1'" for n in range(100)) + "/>",
        "policy-violation",
    ),
    ("<message><body>&x;</body></message>", "restricted-xml"),
]


@pytest.mark.parametrize(("text", "condition"), LOGGED_IN)
async def test_after_the_login_and_others_are_not_harmed(
    home: House, text: str, condition: str
) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await alice.say(text)
    error = await alice.hear("error")
    assert error[0].tag.rpartition("}")[2] == condition
    carl = await home.talker("carl", "c")
    await carl.say("<message to='bob@localhost' type='chat'><body>still here</body></message>")
    assert (await bob.message())[1] == "still here"


async def test_silence_before_the_login_ends_in_a_timeout(tmp_path: Path) -> None:
    async with house(tmp_path / "data", limits=Limits(hello_timeout_s=0.3)) as home:
        stranger = await home.stranger()
        error = await stranger.hear("error")
        assert error[0].tag.endswith("}connection-timeout")


async def test_too_many_strangers_the_oldest_makes_room(tmp_path: Path) -> None:
    async with house(tmp_path / "data", limits=Limits(unauthenticated_max=2)) as home:
        first = await home.stranger()
        for _ in range(2):
            await home.stranger()
        error = await first.hear("error")
        assert error[0].tag.endswith("}resource-constraint")


async def test_the_server_goes_down_politely(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as home:
        alice = await home.talker("alice", "a")
        stopping = asyncio.create_task(home.node.stop())
        error = await alice.hear("error")
        assert error[0].tag.endswith("}system-shutdown")
        await stopping
        home.node.stop = _done  # type: ignore[method-assign]


async def _done() -> None:
    """It has stopped."""


# ---- TLS --------------------------------------------------------------------------------


async def test_nothing_but_tls_is_offered_before_tls(home: House) -> None:
    wire = await connected(home.ports, "tcp")
    features = await wire.open("localhost")
    assert [each.tag for each in features] == ["{urn:ietf:params:xml:ns:xmpp-tls}starttls"]
    assert len(features[0]) == 1
    await wire.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>")
    error = await wire.next()
    assert error[0].tag.endswith("}policy-violation")


async def test_what_is_smuggled_in_before_tls_is_refused(home: House) -> None:
    """The injection of CVE-2011-0411: plain bytes must not count as if TLS had protected them."""
    wire = await connected(home.ports, "tcp")
    await wire.open("localhost")
    await wire.send(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
        f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>"
    )
    error = await wire.next()
    assert error[0].tag.endswith("}policy-violation")


# ---- logging in -------------------------------------------------------------------------


async def refused(stranger: Talker, mechanism: str, text: str) -> str:
    await stranger.say(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")
    answer = await stranger.next()
    assert answer.tag == f"{{{SASL}}}failure", answer.tag
    return answer[0].tag.rpartition("}")[2]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("mechanism", "text", "condition"),
    [
        ("NONSENSE", "", "invalid-mechanism"),
        ("PLAIN", "???", "incorrect-encoding"),
        ("PLAIN", b64("x"), "malformed-request"),
        ("PLAIN", b64("\0alice\0wrong"), "not-authorized"),
        ("PLAIN", b64("\0nobody\0wrong"), "not-authorized"),
        ("PLAIN", b64("bob@localhost\0alice\0wrong"), "invalid-authzid"),
        ("SCRAM-SHA-256", b64("nonsense"), "malformed-request"),
        ("SCRAM-SHA-256", b64("p=tls-unique,,n=alice,r=abc"), "malformed-request"),
        ("SCRAM-SHA-256", b64("y,,n=alice,r=abc"), "not-authorized"),
    ],
)
async def test_a_login_that_fails_says_why_and_may_be_tried_again(
    home: House, mechanism: str, text: str, condition: str
) -> None:
    key = await home.account("alice")
    stranger = await home.stranger()
    assert await refused(stranger, mechanism, text) == condition
    stranger.name = "alice"
    await stranger.login(key)
    assert await stranger.bind("x") == "alice@localhost/x"


async def test_plain_with_the_key_and_with_the_whole_jid(home: House) -> None:
    key = await home.account("alice")
    for name in ("alice", "alice@localhost", "Alice"):
        stranger = await home.stranger()
        await stranger.say(
            f"<auth xmlns='{SASL}' mechanism='PLAIN'>{b64(f'{chr(0)}{name}{chr(0)}{key}')}</auth>"
        )
        assert (await stranger.next()).tag == f"{{{SASL}}}success"


async def test_three_wrong_logins_end_the_stream(home: House) -> None:
    await home.account("alice")
    stranger = await home.stranger()
    for _ in range(3):
        assert await refused(stranger, "PLAIN", b64("\0alice\0wrong")) == "not-authorized"
    error = await stranger.hear("error")
    assert error[0].tag.endswith("}policy-violation")


async def test_scram_tells_nobody_whether_an_account_exists(home: House) -> None:
    await home.account("alice")
    heard = []
    for name in ("alice", "nobody", "alice", "nobody"):
        stranger = await home.stranger()
        first = b64(f"n,,n={name},r=abc")
        await stranger.say(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>")
        said = base64.b64decode((await stranger.next()).text or "").decode()
        heard.append(dict(part.split("=", 1) for part in said.split(",")))
    assert heard[0]["s"] == heard[2]["s"]
    assert heard[1]["s"] == heard[3]["s"] != heard[0]["s"]
    assert {each["i"] for each in heard} == {"4096"}


async def test_a_key_that_was_replaced_logs_nobody_in_and_ends_the_session(home: House) -> None:
    alice = await home.talker("alice", "a")
    old = home.keys["alice"]
    await home.account("alice")
    error = await alice.hear("error")
    assert error[0].tag.endswith("}not-authorized")
    home.keys["alice"] = old
    with pytest.raises(LoginRefused):
        await home.unbound("alice")


async def test_too_many_clients_of_one_account(tmp_path: Path) -> None:
    async with house(tmp_path / "data", limits=Limits(resources_max=2)) as home:
        for n in range(2):
            await home.talker("alice", f"r{n}")
        third = await home.unbound("alice")
        answer = await third.ask("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        assert answer.get("type") == "error"
        assert "resource-constraint" in answer[0][0].tag


async def test_a_new_secret_of_the_server_keeps_the_keys_good(tmp_path: Path) -> None:
    """After a theft the operator removes it."""
    async with house(tmp_path / "data") as home:
        key = await home.account("alice")
    (tmp_path / "data" / "scram.secret").unlink()
    async with house(tmp_path / "data") as home:
        home.keys["alice"] = key
        assert await (await home.unbound("alice")).bind("x") == "alice@localhost/x"


@pytest.mark.parametrize("same", [True, False])
async def test_a_login_may_be_bound_to_the_connection(home: House, same: bool) -> None:
    """SCRAM-SHA-256-PLUS with tls-server-end-point: another certificate's hash opens nothing."""
    key = await home.account("alice")
    stranger = await home.stranger()
    assert isinstance(stranger.wire, Tcp)
    certificate = stranger.wire.writer.get_extra_info("ssl_object").getpeercert(True)
    bound = hashlib.sha256(certificate if same else certificate + b"x").digest()
    header, bare = "p=tls-server-end-point,,", "n=alice,r=abc"
    await stranger.say(
        f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256-PLUS'>{b64(header + bare)}</auth>"
    )
    first = base64.b64decode((await stranger.next()).text or "").decode()
    said = dict(part.split("=", 1) for part in first.split(","))
    salt, rounds = base64.b64decode(said["s"]), int(said["i"])
    client_key = hmac.digest(
        hashlib.pbkdf2_hmac("sha256", key.encode(), salt, rounds), b"Client Key", "sha256"
    )
    last = f"c={base64.b64encode(header.encode() + bound).decode()},r={said['r']}"
    signed = f"{bare},{first},{last}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    final = b64(f"{last},p={base64.b64encode(proof).decode()}")
    await stranger.say(f"<response xmlns='{SASL}'>{final}</response>")
    answer = await stranger.next()
    assert answer.tag == f"{{{SASL}}}{'success' if same else 'failure'}"
