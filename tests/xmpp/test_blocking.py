"""Blocking (XEP-0191): what the blocked see and hear, what the blocker is told, and whom one may
block. Dialogues: blocked.txt.
"""

import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import Talker, shown

BLOCKING = "urn:xmpp:blocking"


async def change(who: Talker, name: str, jid: str = "bob@localhost") -> str:
    item = f"<item jid='{jid}'/>" if jid else ""
    answer = await who.ask("set", f"<{name} xmlns='{BLOCKING}'>{item}</{name}>")
    return answer.get("type") or ""


async def friends(home: House) -> tuple[Talker, Talker, Talker]:
    """Bob sees Alice, who has two clients."""
    alice, other = await home.talker("alice", "a"), await home.talker("alice", "other")
    bob = await home.talker("bob", "b")
    await bob.say("<presence to='alice@localhost' type='subscribe'/>")
    await alice.hear("presence", type="subscribe")
    await alice.say("<presence to='bob@localhost' type='subscribed'/>")
    for jid in (alice.jid, other.jid):
        await bob.hear("presence", from_=jid)
    return alice, other, bob


async def test_who_is_blocked_sees_all_clients_go_and_come_back(home: House) -> None:
    alice, other, bob = await friends(home)
    await change(alice, "block")
    for jid in (alice.jid, other.jid):
        assert (await bob.hear("presence", from_=jid)).get("type") == "unavailable"
    await alice.say("<presence><status>unseen</status></presence>")
    await alice.quiet()
    await bob.quiet()
    assert not any("unseen" in shown(each) for each in bob.heard)
    await change(alice, "unblock")
    back = await bob.hear("presence", from_=alice.jid)
    assert back.get("type") is None
    assert "unseen" in shown(back)
    assert (await bob.hear("presence", from_=other.jid)).get("type") is None


@pytest.mark.parametrize("everybody", [True, False])
async def test_every_client_that_asked_for_the_list_is_pushed(home: House, everybody: bool) -> None:
    alice, other = await home.talker("alice", "a"), await home.talker("alice", "other")
    for who in (alice, other):
        await who.ask("get", f"<blocklist xmlns='{BLOCKING}'/>")
    assert await change(alice, "block") == "result"
    for who in (alice, other):
        push = await who.hear("iq", type="set")
        assert push[0].tag == f"{{{BLOCKING}}}block"
        assert push[0][0].get("jid") == "bob@localhost"
    await change(alice, "unblock", "" if everybody else "bob@localhost")
    for who in (alice, other):
        assert (await who.hear("iq", type="set"))[0].tag == f"{{{BLOCKING}}}unblock"


async def test_who_is_blocked_gets_no_answer_that_tells(home: House) -> None:
    alice, _, bob = await friends(home)
    await change(alice, "block")
    answer = await bob.ask("get", "<ping xmlns='urn:xmpp:ping'/>", alice.jid)
    assert "service-unavailable" in shown(answer)
    await bob.say("<presence to='alice@localhost/a'/>")
    await bob.say("<message to='alice@localhost' type='headline'><body>x</body></message>")
    await bob.quiet()
    await alice.quiet()
    assert not any("bob@localhost" in (each.get("from") or "") for each in alice.heard)
    assert not any(each.get("type") == "error" for each in bob.heard)


@pytest.mark.parametrize(
    "stanza",
    [
        "<message to='bob@localhost' type='chat' id='x'><body>x</body></message>",
        "<message to='bob@localhost' type='headline' id='x'><body>x</body></message>",
        "<message to='bob@localhost' type='chat' id='x'>"
        "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        "<iq to='bob@localhost/b' type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<presence to='bob@localhost/b' id='x'/>",
    ],
)
async def test_the_blocker_is_told_why_nothing_goes_out(home: House, stanza: str) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await change(alice, "block")
    await alice.say(stanza)
    kind = stanza[1:].partition(" ")[0]
    refused = await alice.hear(kind, type="error")
    assert refused.get("id") == "x"
    error = refused.find("{jabber:client}error")
    assert error is not None
    assert error.get("type") == "cancel"
    assert [each.tag.rpartition("}")[2] for each in error] == ["not-acceptable", "blocked"]
    await bob.quiet()
    assert not any("alice" in (each.get("from") or "") for each in bob.heard)


@pytest.mark.parametrize(
    ("jid", "answer"),
    [
        ("evil.example", "result"),
        ("mallory@evil.example", "result"),
        ("bob@localhost/b", "error"),
        ("localhost", "error"),
        ("@@", "error"),
    ],
)
async def test_whom_one_may_block(home: House, jid: str, answer: str) -> None:
    alice = await home.talker("alice", "a")
    assert await change(alice, "block", jid) == answer
    listed = await alice.ask("get", f"<blocklist xmlns='{BLOCKING}'/>")
    assert [each.get("jid") for each in listed[0]] == ([jid] if answer == "result" else [])
