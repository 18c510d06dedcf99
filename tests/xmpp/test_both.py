"""XMPP and the own protocol together: the same accounts, texts, marks, typing, presence, files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.xmpp.house import House
from tests.xmpp.talk import CLIENT, Talker, shown
from whimbrel.client import Client
from whimbrel.client.trust import Pinned
from whimbrel.client.words import Presence, Typing
from whimbrel.protocol.wire import Content, Media

RECEIPTS, MARKERS = "urn:xmpp:receipts", "urn:xmpp:chat-markers:0"


@asynccontextmanager
async def native(home: House, name: str) -> AsyncIterator[Client]:
    key = home.keys.get(name) or await home.account(name)
    trust = Pinned(home.node.certificate.fingerprint)
    port = home.ports["native"]
    async with Client(name, home.devices[name], key, "127.0.0.1", port, trust=trust) as client:
        yield client


async def marks(who: Talker, kind: str, ns: str) -> str:
    while True:
        element = await who.hear("message")
        found = element.find(f"{{{ns}}}{kind}")
        if found is not None:
            return found.get("id", "")


async def test_texts_and_marks_cross_both_ways(home: House) -> None:
    bob = await home.talker("bob", "b")
    async with native(home, "alice") as alice:
        sent = await alice.send("bob", "from <our> own protocol")
        message = await bob.hear("message")
        assert message.findtext(f"{{{CLIENT}}}body") == "from <our> own protocol"
        async with asyncio.timeout(20):
            await asyncio.gather(bob.asked(), sent.delivered)
        await bob.say(
            f"<message to='alice@localhost' type='chat'><displayed xmlns='{MARKERS}'"
            f" id='{message.get('id')}'/></message>"
        )
        async with asyncio.timeout(20):
            await sent.read
        await bob.say(
            "<message to='alice@localhost' type='chat' id='x1'><body>from XMPP</body>"
            f"<request xmlns='{RECEIPTS}'/><markable xmlns='{MARKERS}'/></message>"
        )
        async with asyncio.timeout(20):
            messages = aiter(alice.messages())
            got = await anext(messages)
            assert got.text == "from XMPP"
            wanted = asyncio.create_task(anext(messages))  # asking for the next confirms it
            assert await marks(bob, "received", RECEIPTS) == "x1"
            alice.read("bob", got.id)
            assert await marks(bob, "displayed", MARKERS) == "x1"
            wanted.cancel()


async def test_the_same_account_on_both_shows_everything_on_both(home: House) -> None:
    """A phone of the own protocol and an XMPP client with a key of their own each."""
    carl = await home.talker("carl", "c")
    async with native(home, "alice") as phone:
        await phone.online()
        device, key = await phone.link("XMPP")
        phone_key = home.keys["alice"]
        home.keys["alice"] = key
        desk = await home.talker("alice", "desk")
        home.keys["alice"] = phone_key
        await desk.ask("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
        await carl.say("<message to='alice@localhost' type='chat'><body>both</body></message>")
        assert (await desk.message())[1] == "both"
        async with asyncio.timeout(20):
            assert (await anext(aiter(phone.messages()))).text == "both"
        await phone.send("carl", "from the phone")
        assert (await carl.message())[1] == "from the phone"
        copy = await desk.hear("message")
        assert "from the phone" in shown(copy)
        assert copy.find("{urn:xmpp:carbons:2}sent") is not None
        assert device > 1


async def test_typing_and_presence_cross_both_ways(home: House) -> None:
    bob = await home.talker("bob", "b")
    async with native(home, "alice") as alice:
        await alice.online()
        events = alice.events()
        await (await alice.send("bob", "hello")).stored
        await bob.message()
        await bob.say("<message to='alice@localhost' type='chat'><body>hello</body></message>")
        states = "http://jabber.org/protocol/chatstates"
        await bob.say(
            f"<message to='alice@localhost' type='chat'><composing xmlns='{states}'/></message>"
        )
        async with asyncio.timeout(20):
            async for event in events:
                if isinstance(event, Typing) and event.on:
                    break
        alice.typing("bob", True)
        seen = await bob.hear("message")
        assert seen.find(f"{{{states}}}composing") is not None
        # She has written to him, and has no XMPP client that could answer: it is granted.
        await bob.say("<presence to='alice@localhost' type='subscribe'/>")
        await bob.hear("presence", type="subscribed", from_="alice@localhost")
        await bob.hear("presence", from_="alice@localhost/whimbrel")
        alice.watch("bob")
        async with asyncio.timeout(20):
            async for event in events:
                if isinstance(event, Presence) and event.online:
                    break
    await bob.hear("presence", type="unavailable", from_="alice@localhost/whimbrel")


async def test_a_file_of_the_own_protocol_is_a_link_with_a_thumbnail(home: House) -> None:
    bob = await home.talker("bob", "b")
    media = Media(
        link="/m/abc/picture.jpg",
        size=1234,
        type="image/jpeg",
        name="picture.jpg",
        width=640,
        height=480,
        thumbnail="/9j/4AAQ",
    )
    async with native(home, "alice") as alice:
        await alice.send("bob", "look", Content(text="look", media=media))
        message = await bob.hear("message")
    url = f"https://localhost:{home.ports['https']}/m/abc/picture.jpg"
    assert message.findtext(f"{{{CLIENT}}}body") == f"look\n{url}"
    assert message.findtext("{jabber:x:oob}x/{jabber:x:oob}url") == url
    text = shown(message)
    assert "data:image/jpeg;base64,/9j/4AAQ" in text
    assert "640" in text


async def test_a_key_used_by_both_becomes_two_devices(home: House) -> None:
    """First by an XMPP client, then by one of our own: neither takes the other's messages."""
    carl = await home.talker("carl", "c")
    desk = await home.talker("alice", "desk")
    await desk.leave()
    async with native(home, "alice") as phone:
        await phone.online()
        await carl.say("<message to='alice@localhost' type='chat'><body>one</body></message>")
        async with asyncio.timeout(20):
            messages = aiter(phone.messages())
            assert (await anext(messages)).text == "one"
            asking = asyncio.create_task(anext(messages))
            desk = await home.talker("alice", "desk")
            assert (await desk.message())[1] == "one"
            asking.cancel()
