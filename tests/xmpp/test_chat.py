"""Two people chat by XMPP, over every transport; what is away waits; marks go both ways."""

import asyncio

import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import TRANSPORTS


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_people_chat(home: House, transport: str) -> None:
    alice = await home.talker("alice", "a", transport)
    bob = await home.talker("bob", "b", transport)
    for n in range(20):
        await alice.say(
            f"<message to='bob@localhost' type='chat' id='m{n}'>"
            f"<body>{n} &lt;&amp; ü 🐦</body></message>"
        )
    for n in range(20):
        assert await bob.message() == ("alice@localhost/a", f"{n} <& ü 🐦")
    await bob.say("<message to='alice@localhost/a' type='chat'><body>yes</body></message>")
    assert await alice.message() == ("bob@localhost/b", "yes")


async def test_what_was_sent_meanwhile_comes_once_in_order_with_its_time(home: House) -> None:
    bob = await home.talker("bob", "b")
    await bob.leave()
    alice = await home.talker("alice", "a")
    await asyncio.sleep(0)
    for n in range(300):
        await alice.say(f"<message to='bob@localhost' type='chat'><body>{n}</body></message>")
    await alice.quiet()
    bob = await home.talker("bob", "b2")
    assert [(await bob.message())[1] for _ in range(300)] == [str(n) for n in range(300)]
    await bob.leave()
    await home.until(lambda: len(home.node.hub.sessions) == 1, "bob's session ended")
    bob = await home.talker("bob", "b3")
    await bob.quiet()
    assert [each for each in bob.heard if each.tag.endswith("message")] == []


async def test_what_a_client_without_acknowledgements_left_unanswered_comes_again(
    home: House,
) -> None:
    """Never lost: it may have been shown, but nobody said so."""
    bob = await home.talker("bob", "b")
    bob.answers_pings = False
    alice = await home.talker("alice", "a")
    await alice.say("<message to='bob@localhost' type='chat'><body>one</body></message>")
    assert (await bob.message())[1] == "one"
    bob.wire.abort()
    await home.until(lambda: len(home.node.hub.sessions) == 1, "bob's session ended")
    await alice.say("<message to='bob@localhost' type='chat'><body>two</body></message>")
    bob = await home.talker("bob", "b")
    assert [(await bob.message())[1] for _ in range(2)] == ["one", "two"]
