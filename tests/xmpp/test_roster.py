"""Roster, subscriptions, presence: RFC 6121 sections 2 to 4 as clients see them."""

from xml.etree.ElementTree import Element

import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import Talker

ROSTER = "jabber:iq:roster"


async def roster(who: Talker) -> dict[str, tuple[str, str]]:
    answer = await who.ask("get", f"<query xmlns='{ROSTER}'/>")
    return {
        item.get("jid", ""): (item.get("subscription", ""), item.get("ask", ""))
        for item in answer.findall(f".//{{{ROSTER}}}item")
    }


async def friends(alice: Talker, bob: Talker) -> None:
    """Both see each other."""
    await alice.say("<presence to='bob@localhost' type='subscribe'/>")
    await bob.hear("presence", type="subscribe", from_="alice@localhost")
    await bob.say("<presence to='alice@localhost' type='subscribed'/>")
    await alice.hear("presence", type="subscribed", from_="bob@localhost")
    await alice.hear("presence", from_=bob.jid)
    await bob.say("<presence to='alice@localhost' type='subscribe'/>")
    await alice.hear("presence", type="subscribe", from_="bob@localhost")
    await alice.say("<presence to='bob@localhost' type='subscribed'/>")
    await bob.hear("presence", from_=alice.jid)


async def test_asking_granting_and_seeing(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    assert await roster(alice) == {}
    await alice.say("<presence to='bob@localhost' type='subscribe'/>")
    push = await alice.hear("iq", type="set")
    assert push[0][0].attrib == {"jid": "bob@localhost", "subscription": "none", "ask": "subscribe"}
    asked = await bob.hear("presence", type="subscribe")
    assert asked.get("from") == "alice@localhost"
    assert await roster(bob) == {}
    await bob.say("<presence to='alice@localhost' type='subscribed'/>")
    await alice.hear("presence", type="subscribed")
    seen = await alice.hear("presence", from_="bob@localhost/b")
    assert seen.get("type") is None
    assert await roster(alice) == {"bob@localhost": ("to", "")}
    assert await roster(bob) == {"alice@localhost": ("from", "")}


async def test_presence_comes_changes_and_goes(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await friends(alice, bob)
    await bob.say("<presence><show>away</show><status>tea</status></presence>")
    away = await alice.hear("presence", from_="bob@localhost/b")
    assert away.findtext("{jabber:client}show") == "away"
    await bob.leave()
    gone = await alice.hear("presence", from_="bob@localhost/b", type="unavailable")
    assert gone.get("to") == alice.jid
    bob = await home.talker("bob", "b2")
    await alice.hear("presence", from_="bob@localhost/b2")
    await bob.hear("presence", from_="alice@localhost/a")


async def test_a_connection_that_breaks_is_seen_to_go(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await friends(alice, bob)
    bob.wire.abort()
    await alice.hear("presence", from_="bob@localhost/b", type="unavailable")


async def test_who_is_asked_while_away_hears_it_at_every_login_until_it_is_answered(
    home: House,
) -> None:
    await home.account("bob")
    alice = await home.talker("alice", "a")
    bob = await home.talker("bob", "b")  # an XMPP user, so that nothing is granted for him
    await bob.leave()
    await alice.say("<presence to='bob@localhost' type='subscribe'><status>hi</status></presence>")
    await alice.quiet()
    for _ in range(2):
        bob = await home.talker("bob", "b")
        asked = await bob.hear("presence", type="subscribe", from_="alice@localhost")
        assert asked.findtext("{jabber:client}status") == "hi"
        await bob.leave()
    bob = await home.talker("bob", "b")
    await bob.say("<presence to='alice@localhost' type='unsubscribed'/>")
    await alice.hear("presence", type="unsubscribed", from_="bob@localhost")
    assert await roster(alice) == {"bob@localhost": ("none", "")}
    await bob.leave()
    bob = await home.talker("bob", "b")
    await bob.quiet()
    assert [e for e in bob.heard if e.get("type") == "subscribe"] == []


async def test_granted_before_it_is_asked_for(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await bob.say("<presence to='alice@localhost' type='subscribed'/>")
    await bob.quiet()
    await alice.say("<presence to='bob@localhost' type='subscribe'/>")
    await alice.hear("presence", type="subscribed", from_="bob@localhost")
    await alice.hear("presence", from_="bob@localhost/b")
    await bob.quiet()
    assert [e for e in bob.heard if e.get("type") == "subscribe"] == []


@pytest.mark.parametrize("who", ["unsubscribe", "unsubscribed", "remove"])
async def test_ending_it(home: House, who: str) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await friends(alice, bob)
    await alice.quiet()
    if who == "remove":
        answer = await alice.ask(
            "set",
            f"<query xmlns='{ROSTER}'><item jid='bob@localhost' subscription='remove'/></query>",
        )
        assert answer.get("type") == "result"
        await bob.hear("presence", type="unsubscribe")
        await bob.hear("presence", type="unsubscribed")
        await bob.hear("presence", from_="alice@localhost/a", type="unavailable")
        assert await roster(alice) == {}
        assert await roster(bob) == {"alice@localhost": ("none", "")}
        return
    await alice.say(f"<presence to='bob@localhost' type='{who}'/>")
    await bob.hear("presence", type=who)
    if who == "unsubscribe":
        await alice.hear("presence", from_="bob@localhost/b", type="unavailable")
        assert await roster(alice) == {"bob@localhost": ("from", "")}
        assert await roster(bob) == {"alice@localhost": ("to", "")}
    else:
        await bob.hear("presence", from_="alice@localhost/a", type="unavailable")
        assert await roster(alice) == {"bob@localhost": ("to", "")}
        assert await roster(bob) == {"alice@localhost": ("from", "")}


async def test_names_and_groups_and_the_version(home: House) -> None:
    alice = await home.talker("alice", "a")
    other = await home.talker("alice", "other")
    await roster(other)
    answer = await alice.ask(
        "set",
        f"<query xmlns='{ROSTER}'><item jid='Bob@localhost' name='Bobby'><group>Birds</group>"
        "<group>Sea</group></item></query>",
    )
    assert answer.get("type") == "result"
    push = await other.hear("iq", type="set")
    assert push[0][0].get("name") == "Bobby"
    got = await alice.ask("get", f"<query xmlns='{ROSTER}' ver=''/>")
    item = got[0][0]
    assert item.get("jid") == "bob@localhost"
    assert [group.text for group in item] == ["Birds", "Sea"]
    again = await alice.ask("get", f"<query xmlns='{ROSTER}' ver='{got[0].get('ver')}'/>")
    assert len(again) == 0


@pytest.mark.parametrize(
    ("item", "condition"),
    [
        ("<item/>", "bad-request"),
        ("<item jid='bob@localhost/x'/>", "bad-request"),
        ("<item jid='@'/>", "jid-malformed"),
        ("<item jid='bob@localhost'><group>x</group><group>x</group></item>", "bad-request"),
        ("<item jid='bob@localhost'><group/></item>", "not-acceptable"),
        (f"<item jid='bob@localhost' name='{'x' * 2000}'/>", "not-acceptable"),
        ("<item jid='bob@localhost' subscription='remove'/>", "item-not-found"),
        ("<item jid='bob@localhost'/><item jid='carl@localhost'/>", "bad-request"),
        ("<item jid='alice@localhost'/>", "not-allowed"),
    ],
)
async def test_what_is_no_contact_is_refused_by_name(
    home: House, item: str, condition: str
) -> None:
    alice = await home.talker("alice", "a")
    answer = await alice.ask("set", f"<query xmlns='{ROSTER}'>{item}</query>")
    assert conditions(answer) == condition


def conditions(answer: Element) -> str:
    assert answer.get("type") == "error"
    error = answer.find("{jabber:client}error")
    assert error is not None
    return error[0].tag.rpartition("}")[2]


async def test_directed_presence_is_taken_back_at_the_end(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await alice.say("<presence to='bob@localhost/b'><status>just you</status></presence>")
    seen = await bob.hear("presence", from_="alice@localhost/a")
    assert seen.findtext("{jabber:client}status") == "just you"
    alice.wire.abort()
    await bob.hear("presence", from_="alice@localhost/a", type="unavailable")


async def test_a_negative_priority_takes_no_messages(home: House) -> None:
    robot = await home.talker(
        "bob", "robot", presence="<presence><priority>-1</priority></presence>"
    )
    alice = await home.talker("alice", "a")
    await alice.say("<message to='bob@localhost' type='chat'><body>x</body></message>")
    await alice.quiet()
    await robot.quiet()
    assert [e for e in robot.heard if e.tag.endswith("}message")] == []
    phone = await home.talker("bob", "phone")
    assert (await phone.message())[1] == "x"


async def test_two_clients_of_one_account_see_each_other_and_the_same(home: House) -> None:
    one, two = await home.talker("bob", "one"), await home.talker("bob", "two")
    await one.hear("presence", from_="bob@localhost/two")
    await two.hear("presence", from_="bob@localhost/one")
    alice = await home.talker("alice", "a")
    await alice.say("<message to='bob@localhost' type='chat'><body>both</body></message>")
    assert (await one.message())[1] == (await two.message())[1] == "both"


async def test_the_same_resource_again_replaces_the_older_client(home: House) -> None:
    one = await home.talker("bob", "same")
    two = await home.talker("bob", "same")
    error = await one.hear("error")
    assert error[0].tag.endswith("}conflict")
    alice = await home.talker("alice", "a")
    await alice.say("<message to='bob@localhost' type='chat'><body>x</body></message>")
    assert (await two.message())[1] == "x"
