"""XMPP over HTTP requests (XEP-0124): numbers, lost answers, silence, and ends."""

import asyncio
import base64
import hashlib
import secrets

import aiohttp
import pytest

from tests.xmpp.house import DOMAIN, House
from tests.xmpp.talk import HTTP_BIND, STREAM, Bosh, Talker


@pytest.fixture
def url(home: House) -> str:
    return f"http://127.0.0.1:{home.ports['http']}/http-bind"


async def begun(url: str, **more: str) -> Bosh:
    wire = Bosh(url)
    about = {"to": DOMAIN, "wait": "5", "hold": "1", "xmpp__version": "1.0", **more}
    answer = await wire.post("", **about)
    wire.tag = dict(answer.attrib)
    wire.sid = wire.tag.get("sid", "")
    return wire


async def test_the_first_answer_says_what_was_agreed_on(home: House, url: str) -> None:
    wire = await begun(url, ack="1")
    assert wire.tag["requests"] == "2"
    assert wire.tag["hold"] == "1"
    assert wire.tag["wait"] == "5"
    assert wire.tag["from"] == DOMAIN
    assert wire.tag["{urn:xmpp:xbosh}restartlogic"] == "true"
    assert wire.tag["ack"] == str(wire.rid)
    await wire.hang_up()


async def talker(home: House, name: str) -> tuple[Talker, Bosh]:
    """Logged in and available, with no request of its own under way."""
    one = await home.talker(name, "b", "bosh")
    assert isinstance(one.wire, Bosh)
    return one, one.wire


async def test_requests_count_in_the_order_of_their_numbers(home: House, url: str) -> None:
    bob = await home.talker("bob", "b")
    await home.account("alice")
    alice = await raw_login(home, url, "alice")
    text = "<message xmlns='jabber:client' to='bob@localhost' type='chat'><body>{}</body></message>"
    first, second = alice.rid + 1, alice.rid + 2
    alice.rid += 2
    late = asyncio.ensure_future(alice.repeat(second, text.format("two")))
    await asyncio.wait([late], timeout=0.05)
    early = asyncio.ensure_future(alice.repeat(first, text.format("one")))
    assert [(await bob.message())[1] for _ in range(2)] == ["one", "two"]
    await early
    late.cancel()
    await alice.hang_up()


async def raw_login(home: House, url: str, name: str) -> Bosh:
    """Over requests that are made by hand; bound, and not available."""
    wire = await begun(url)
    plain = base64.b64encode(f"\0{name}\0{home.keys[name]}".encode()).decode()
    ns = "urn:ietf:params:xml:ns:xmpp-sasl"
    answer = await wire.post(f"<auth xmlns='{ns}' mechanism='PLAIN'>{plain}</auth>")
    assert answer[0].tag == f"{{{ns}}}success"
    answer = await wire.post("", xmpp__restart="true")
    assert answer[0].tag == f"{{{STREAM}}}features"
    bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    answer = await wire.post(f"<iq xmlns='jabber:client' type='set' id='b'>{bind}</iq>")
    assert answer[0].get("type") == "result"
    return wire


async def test_a_lost_answer_is_given_again_and_its_request_counts_once(
    home: House, url: str
) -> None:
    await home.account("alice")
    alice = await raw_login(home, url, "alice")
    ping = "<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
    first = await alice.post(ping)
    again = await alice.repeat(alice.rid, ping)
    assert first[0].get("id") == again[0].get("id") == "p"
    assert len(again) == 1
    await alice.hang_up()


async def test_a_number_that_cannot_be_ends_the_session(home: House, url: str) -> None:
    await home.account("alice")
    alice = await raw_login(home, url, "alice")
    answer = await alice.repeat(alice.rid + 50, "")
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "item-not-found")
    answer = await alice.post("")
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "item-not-found")
    await home.until(lambda: not home.node.hub.sessions, "the session has ended")
    await alice.hang_up()


async def test_a_client_says_that_it_ends(home: House, url: str) -> None:
    await home.account("alice")
    alice = await raw_login(home, url, "alice")
    answer = await alice.post(
        "<presence xmlns='jabber:client' type='unavailable'/>", type="terminate"
    )
    assert (answer.tag, answer.get("type")) == (f"{{{HTTP_BIND}}}body", "terminate")
    assert answer.get("condition") is None
    await home.until(lambda: not home.node.hub.sessions, "the session has ended")
    await alice.hang_up()


async def test_each_key_must_be_the_origin_of_the_one_before(home: House, url: str) -> None:
    keys = [secrets.token_hex(20)]
    for _ in range(3):
        keys.append(hashlib.sha1(keys[-1].encode()).hexdigest())
    wire = await begun(url, newkey=keys.pop())
    ns = "urn:ietf:params:xml:ns:xmpp-sasl"
    answer = await wire.post(f"<auth xmlns='{ns}' mechanism='NO'/>", key=keys.pop())
    assert answer[0].tag == f"{{{ns}}}failure"
    answer = await wire.post("", key="somebody else")
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "item-not-found")
    await wire.hang_up()


@pytest.mark.parametrize(
    ("inside", "more", "condition"),
    [
        ("", {"to": "elsewhere.example"}, "host-unknown"),
        ("<message xmlns='jabber:client'/>", {}, "remote-stream-error"),
        ("<message>", {}, "remote-stream-error"),
        ("<message/>", {}, "remote-stream-error"),
        ("<a xmlns='urn:x'>" + "<a>" * 100, {}, "policy-violation"),
        ("<!-- x -->", {}, "remote-stream-error"),
        ("&x;", {}, "remote-stream-error"),
        ("text", {}, "remote-stream-error"),
    ],
)
async def test_stream_errors_have_a_name(
    home: House, url: str, inside: str, more: dict[str, str], condition: str
) -> None:
    wire = Bosh(url)
    answer = await wire.post(inside, **{"to": DOMAIN, "xmpp__version": "1.0", **more})
    assert answer.get("type") == "terminate", answer.attrib
    assert answer.get("condition") == condition
    assert answer[-1].tag == f"{{{STREAM}}}error"
    await wire.hang_up()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"<body/>", 400),
        (b"no xml", 400),
        (b"<!DOCTYPE a><body xmlns='http://jabber.org/protocol/httpbind'/>", 400),
        (b"<body xmlns='http://jabber.org/protocol/httpbind' rid='1'", 400),
        (b"<body " + b"x" * 1_000_000, 413),
    ],
)
async def test_what_is_no_body_is_refused_as_http(
    home: House, url: str, data: bytes, status: int
) -> None:
    async with aiohttp.ClientSession() as http, http.post(url, data=data) as answer:
        assert answer.status == status


@pytest.mark.parametrize("rid", ["", "0", "-1", "x", "9007199254740992"])
async def test_a_number_that_is_none(home: House, url: str, rid: str) -> None:
    wire = Bosh(url)
    text = f"<body xmlns='{HTTP_BIND}' rid='{rid}'/>"
    async with wire.http.post(url, data=text) as answer:
        assert "bad-request" in await answer.text()
    await wire.hang_up()


async def test_pages_of_other_sites_may_not(home: House, url: str) -> None:
    headers = {"Origin": "https://evil.example"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(url, data=b"<body/>") as answer:
            assert answer.status == 403
        async with http.options(url) as answer:
            assert answer.status == 403


async def test_silence_ends_the_session_and_what_was_sent_meanwhile_waits(home: House) -> None:
    bob, wire = await talker(home, "bob")
    wire.abort()
    stream = next(iter(home.node.bosh._streams.values()))
    stream._wait_s = 0
    stream._inactive_s = 0.0
    alice = await home.talker("alice", "a")
    await alice.say("<message to='bob@localhost' type='chat'><body>one</body></message>")
    await home.until(lambda: len(home.node.hub.sessions) == 1, "bob's session has ended")
    again = await home.talker("bob", "c", "bosh")
    assert (await again.message())[1] == "one"
    assert bob.jid != again.jid
