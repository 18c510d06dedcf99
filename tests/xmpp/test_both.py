"""XMPP and the own protocol together: the same accounts, texts, marks, typing, presence, files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.xmpp.house import House
from tests.xmpp.talk import CLIENT, Talker, shown
from whimbrel.client import Client
from whimbrel.client.trust import Pinned

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
        sent = await alice.send("bob", "from our own protocol")
        message = await bob.hear("message")
        assert message.findtext(f"{{{CLIENT}}}body") == "from our own protocol"
        await bob.quiet()
        await _until_marked(alice, sent, "delivered")
        await bob.say(
            f"<message to='alice@localhost' type='chat'><displayed xmlns='{MARKERS}'"
            f" id='{message.get('id')}'/></message>"
        )
        await _until_marked(alice, sent, "read")
        await bob.say(
            "<message to='alice@localhost' type='chat' id='x1'><body>from XMPP</body>"
            f"<request xmlns='{RECEIPTS}'/><markable xmlns='{MARKERS}'/></message>"
        )
        got = await _next_text(alice)
        assert got == "from XMPP"
        assert await marks(bob, "received", RECEIPTS) == "x1"
        await alice.mark_read("bob")
        assert await marks(bob, "displayed", MARKERS) == "x1"
