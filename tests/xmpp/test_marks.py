"""Receipts (XEP-0184) and markers (XEP-0333) for messages of an earlier session, on either side.

A session knows the messages that it has shown and sent; of older ones only the ledger of their
sender knows which name its client gave them.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import Talker
from tests.xmpp.test_both import MARKERS, RECEIPTS, native
from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.rows import MESSAGE, RECEIPT
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import chat

ASKS = f"<request xmlns='{RECEIPTS}'/><markable xmlns='{MARKERS}'/>"


async def mark_of(talker: Talker, name: str) -> str:
    """The id in the next message that holds such a mark."""
    while True:
        message: Element = await talker.hear("message")
        for child in message:
            if child.tag.endswith(f"}}{name}"):
                return child.get("id", "")


async def say(talker: Talker, to: str, id: str) -> None:
    await talker.say(
        f"<message to='{to}@localhost' type='chat' id='{id}'><body>{id}</body>{ASKS}</message>"
    )


async def seen(talker: Talker, to: str, id: str) -> None:
    await talker.say(
        f"<message to='{to}@localhost' type='chat'>"
        f"<displayed xmlns='{MARKERS}' id='{id}'/></message>"
    )


async def test_a_marker_for_a_message_of_an_earlier_session(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    for id in ("m1", "m2", "m3"):
        await say(alice, "bob", id)
        await bob.hear("message")
    await bob.leave()
    assert [await mark_of(alice, "received") for _ in range(3)] == ["m1", "m2", "m3"]
    bob = await home.talker("bob", "b")
    await seen(bob, "alice", "unknown")
    await seen(bob, "alice", "m2")
    assert await mark_of(alice, "displayed") == "m2"


@pytest.mark.parametrize("here", [True, False])
async def test_marks_of_an_earlier_session_of_the_sender(home: House, here: bool) -> None:
    """She is here when they come, in another session; or comes later."""
    await home.account("bob")
    alice = await home.talker("alice", "a")
    for id in ("m1", "m2"):
        await say(alice, "bob", id)
    await alice.quiet()
    await alice.leave()
    if here:
        alice = await home.talker("alice", "later")
    bob = await home.talker("bob", "b")
    for _ in range(2):
        await bob.hear("message")
    await seen(bob, "alice", "m1")
    await bob.quiet()
    if not here:
        alice = await home.talker("alice", "later")
    assert await mark_of(alice, "received") == "m1"
    assert await mark_of(alice, "displayed") == "m1"
    await seen(bob, "alice", "m2")
    assert await mark_of(alice, "received") == "m2"
    assert await mark_of(alice, "displayed") == "m2"


async def test_the_blue_mark_of_a_client_of_our_own(home: House) -> None:
    bob = await home.talker("bob", "b")
    async with native(home, "alice") as alice:
        await alice.online()
        message = await alice.send("bob", "look")
        id = (await bob.hear("message")).get("id", "")
        await bob.leave()
        bob = await home.talker("bob", "b")
        await seen(bob, "alice", id)
        async with asyncio.timeout(20):
            await message.read


@pytest.mark.parametrize("back", [True, False])
async def test_a_name_that_is_found_late_confirms_nothing_that_is_not_acknowledged(
    home: House, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """The client was away meanwhile: all after what it has confirmed begins anew."""
    await home.talker("bob", "b")
    session = next(iter(home.node.hub.sessions.values()))
    told: list[Any] = []
    late: list[Callable[[Any], None]] = []

    def asked(self: XmppSession, make: object, then: Callable[[Any], None], lost: object) -> bool:
        late.append(then)
        return True

    monkeypatch.setattr(XmppSession, "tell", lambda self, message: told.append(message))
    monkeypatch.setattr(XmppSession, "ask", asked)
    body = chat.pack("x", chat.Part("a", "", "chat", "m1", "", "<body>x</body>"))
    start, now = 7, 2_000_000_000_000_000
    session.taking = False
    session.deliver(im.Started(start))
    session.deliver(a.Item(start, 8, MESSAGE, "alice", now, 1, 1, 0, "", body))
    session.deliver(a.Item(8, 9, RECEIPT, "alice", now, 0, 0, 0, "", None))
    (then,) = late
    if back:
        session.taking = False
        session.deliver(im.Started(start))
    then(im.RefsGot(1, ()))
    assert not [each for each in told if isinstance(each, m.Confirm)]
    assert session.sent_q == (start if back else 9)
