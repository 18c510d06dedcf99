"""SASL2, Bind 2 and FAST: all in one round trip, and a token instead of the key next time."""

import base64
import hmac
from xml.etree.ElementTree import Element

import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import Talker

SASL2, BIND2 = "urn:xmpp:sasl:2", "urn:xmpp:bind:0"
FAST, SM = "urn:xmpp:fast:0", "urn:xmpp:sm:3"
AGENT = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>t</software></user-agent>"


def b64(data: str | bytes) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


WANTED = f"<request-token xmlns='{FAST}' mechanism='HT-SHA-256-NONE'/>"
OTHER = AGENT.replace("d4565fa7", "00000000")
IN, OUT = f"{{{SASL2}}}success", f"{{{SASL2}}}failure"


async def authenticate(
    stranger: Talker, mechanism: str, first: str | bytes, inline: str = "", agent: str = AGENT
) -> Element:
    await stranger.say(
        f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>"
        f"<initial-response>{b64(first)}</initial-response>{agent}{inline}</authenticate>"
    )
    return await stranger.next()


def part(success: Element, ns: str, name: str) -> Element:
    found = success.find(f".//{{{ns}}}{name}")
    assert found is not None, name
    return found


async def test_one_round_trip_logs_in_binds_and_turns_on_what_is_wanted(home: House) -> None:
    key = await home.account("alice")
    stranger = await home.stranger()
    inline = (
        f"<bind xmlns='{BIND2}'><tag>Bird</tag><enable xmlns='urn:xmpp:carbons:2'/>"
        f"<enable xmlns='{SM}' resume='true'/></bind>"
    )
    success = await authenticate(stranger, "PLAIN", f"\0alice\0{key}", inline)
    assert success.tag == f"{{{SASL2}}}success"
    stranger.jid = part(success, SASL2, "authorization-identifier").text or ""
    assert stranger.jid.startswith("alice@localhost/Bird~")
    token = part(success, SM, "enabled").get("id")
    features = await stranger.next()
    offered = {child.tag.rpartition("}")[2] for child in features}
    assert "csi" in offered
    assert not offered & {"bind", "session", "sm"}  # some clients would do it again
    await stranger.say("<presence/>")
    await stranger.hear("presence")
    bob = await home.talker("bob", "b")
    await bob.say("<message to='alice@localhost' type='chat'><body>hi</body></message>")
    assert (await stranger.message())[1] == "hi"
    again = await home.stranger()
    resume = f"<resume xmlns='{SM}' previd='{token}' h='1'/>"
    success = await authenticate(again, "PLAIN", f"\0alice\0{key}", resume)
    assert part(success, SM, "resumed").get("previd") == token
    assert (await again.message())[1] == "hi"


async def test_scram_without_bind_and_a_bind_later(home: House) -> None:
    key = await home.account("alice")
    stranger = await home.stranger()
    success = await authenticate(stranger, "PLAIN", f"\0alice\0{key}")
    assert part(success, SASL2, "authorization-identifier").text == "alice@localhost"
    await stranger.next()
    assert await stranger.bind("x") == "alice@localhost/x"


async def test_a_resume_that_fails_goes_on_to_bind(home: House) -> None:
    key = await home.account("alice")
    stranger = await home.stranger()
    inline = f"<resume xmlns='{SM}' previd='none' h='0'/><bind xmlns='{BIND2}'/>"
    success = await authenticate(stranger, "PLAIN", f"\0alice\0{key}", inline)
    part(success, SM, "failed")
    part(success, BIND2, "bound")


async def test_what_is_wrong_is_told_and_may_be_tried_again(home: House) -> None:
    key = await home.account("alice")
    stranger = await home.stranger()
    failure = await authenticate(stranger, "PLAIN", "\0alice\0wrong")
    assert failure.tag == f"{{{SASL2}}}failure"
    assert failure[0].tag.endswith("}not-authorized")
    success = await authenticate(stranger, "PLAIN", f"\0alice\0{key}", f"<bind xmlns='{BIND2}'/>")
    assert success.tag == f"{{{SASL2}}}success"


async def token_of(home: House, key: str, agent: str = AGENT) -> str:
    stranger = await home.stranger()
    success = await authenticate(
        stranger, "PLAIN", f"\0alice\0{key}", f"{WANTED}<bind xmlns='{BIND2}'/>", agent
    )
    return part(success, FAST, "token").get("token", "")


async def by_token(
    home: House, token: str, inline: str = f"<fast xmlns='{FAST}'/>", agent: str = AGENT
) -> Element:
    """A new connection that shows this token."""
    stranger = await home.stranger()
    return await authenticate(stranger, "HT-SHA-256-NONE", proof(token), inline, agent)


def proof(token: str, bound: bytes = b"") -> bytes:
    return b"alice\0" + hmac.digest(token.encode(), b"Initiator" + bound, "sha256")


@pytest.mark.parametrize("mechanism", ["HT-SHA-256-NONE", "HT-SHA-256-ENDP"])
async def test_a_token_logs_in_and_the_server_proves_itself(home: House, mechanism: str) -> None:
    token = await token_of(home, await home.account("alice"))
    bound = home.node.certificate.end_point if mechanism.endswith("ENDP") else b""
    stranger = await home.stranger()
    inline = f"<fast xmlns='{FAST}' count='1'/><bind xmlns='{BIND2}'/>"
    success = await authenticate(stranger, mechanism, proof(token, bound), inline)
    assert success.tag == f"{{{SASL2}}}success"
    answer = base64.b64decode(part(success, SASL2, "additional-data").text or "")
    assert answer == hmac.digest(token.encode(), b"Responder" + bound, "sha256")


async def test_a_token_dies_with_the_key_and_is_of_one_client_only(home: House) -> None:
    token = await token_of(home, await home.account("alice"))
    stranger = await home.stranger()
    other = AGENT.replace("d4565fa7", "00000000")
    await stranger.say(
        f"<authenticate xmlns='{SASL2}' mechanism='HT-SHA-256-NONE'>"
        f"<initial-response>{b64(proof(token))}</initial-response>{other}</authenticate>"
    )
    assert (await stranger.next()).tag == f"{{{SASL2}}}failure"
    await home.account("alice")
    failure = await authenticate(stranger, "HT-SHA-256-NONE", proof(token))
    assert failure.tag == f"{{{SASL2}}}failure"


async def test_a_new_token_ends_the_old_one_when_it_is_used(home: House) -> None:
    """Until then both open: the answer that told of the new one may have been lost."""
    old = await token_of(home, await home.account("alice"))
    for _ in range(2):
        success = await by_token(home, old, WANTED)
        new = part(success, FAST, "token").get("token", "")
        assert new != old
    assert (await by_token(home, new)).tag == IN
    assert (await by_token(home, old)).tag == OUT
    assert (await by_token(home, new)).tag == IN


async def test_a_count_that_does_not_rise_is_a_replay(home: House) -> None:
    token = await token_of(home, await home.account("alice"))
    for count, answer in ((3, IN), (3, OUT), (2, OUT), (4, IN)):
        said = f"<fast xmlns='{FAST}' count='{count}'/>"
        assert (await by_token(home, token, said)).tag == answer
    assert (await by_token(home, token, f"<fast xmlns='{FAST}' count='x'/>")).tag == OUT


async def test_tokens_are_revoked_one_by_one(home: House) -> None:
    key = await home.account("alice")
    mine, others = await token_of(home, key), await token_of(home, key, OTHER)
    gone = f"<fast xmlns='{FAST}' invalidate='true'/>"
    assert (await by_token(home, mine, gone)).tag == IN
    assert (await by_token(home, mine)).tag == OUT
    assert (await by_token(home, others, agent=OTHER)).tag == IN
    assert (await by_token(home, await token_of(home, key))).tag == IN


async def test_a_client_that_handles_nothing_is_not_asked_without_end(home: House) -> None:
    bob = await home.talker("bob", "b")
    await bob.enable()
    alice = await home.talker("alice", "a")
    await alice.say("<message to='bob@localhost' type='chat'><body>x</body></message>")
    await bob.hear("r")
    session = next(each for each in home.node.hub.sessions.values() if each.address == "bob")
    await bob.say("<a xmlns='urn:xmpp:sm:3' h='0'/>")
    await home.until(lambda: not session.has_asked, "the answer is read")
    assert session.waiting
    assert not session.asks_soon
