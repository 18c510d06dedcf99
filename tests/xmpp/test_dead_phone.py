"""The dead phone: a connection that freezes without a word, and is resumed before the server
noticed, after it noticed, or never. Every message is shown once, in order.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio

from tests.xmpp.house import House, house
from tests.xmpp.talk import CLIENT, SM, TRANSPORTS, Talker
from whimbrel.domain.limits import Limits

SHORT = Limits(idle_ping_s=0.5, idle_timeout_s=1.0, resume_s=2, hello_timeout_s=20.0)


@pytest_asyncio.fixture
async def short(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data", limits=SHORT) as opened:
        yield opened


class Phone:
    """A client that counts stanzas as XEP-0198 wants, and writes down what it was shown."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.shown: list[str] = []
        self.h = 0
        self.token = ""

    async def enable(self) -> None:
        enabled = await self.talker.enable()
        self.token = enabled.get("id", "")
        self.h = 0
        self.talker.heard.clear()

    def take(self, element: Element) -> None:
        if element.tag.startswith(f"{{{CLIENT}}}"):
            self.h += 1
            body = element.find(f"{{{CLIENT}}}body")
            if body is not None:
                self.shown.append(body.text or "")

    async def until(self, count: int, acks: bool = True) -> None:
        while len(self.shown) < count:
            element = await self.talker.wire.next()
            self.take(element)
            if element.tag == f"{{{SM}}}r" and acks:
                await self.talker.say(f"<a xmlns='{SM}' h='{self.h}'/>")

    async def resume(self, talker: Talker) -> None:
        self.talker = talker
        await talker.say(f"<resume xmlns='{SM}' previd='{self.token}' h='{self.h}'/>")
        answer = await talker.wire.next()
        assert answer.tag == f"{{{SM}}}resumed", answer.tag
        assert answer.get("previd") == self.token


async def send(alice: Talker, first: int, count: int) -> None:
    for n in range(first, first + count):
        await alice.say(f"<message to='bob@localhost' type='chat'><body>{n}</body></message>")
    await alice.quiet()


def numbers(count: int) -> list[str]:
    return [str(n) for n in range(count)]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_resumed_before_the_server_noticed(home: House, transport: str) -> None:
    phone = Phone(await home.talker("bob", "phone", transport))
    await phone.enable()
    alice = await home.talker("alice", "a")
    await send(alice, 0, 40)
    await phone.until(25)  # then it freezes: nothing is read, nothing is acknowledged
    await send(alice, 40, 40)
    await phone.resume(await home.unbound("bob", transport))
    await phone.until(80)
    assert phone.shown == numbers(80)
    assert home.count("xmpp-resumed") == 1
    await send(alice, 80, 5)
    await phone.until(85)
    assert phone.shown == numbers(85)


async def test_resumed_after_the_server_noticed(short: House) -> None:
    phone = Phone(await short.talker("bob", "phone"))
    await phone.enable()
    alice = await short.talker("alice", "a")
    await send(alice, 0, 30)
    await phone.until(10)
    await short.until(lambda: short.count("xmpp-hibernating"), "noticed")
    alice = await short.talker("alice", "a")
    await send(alice, 30, 30)
    await phone.resume(await short.unbound("bob"))
    await phone.until(60)
    assert phone.shown == numbers(60)


async def test_resumed_many_times_with_a_long_queue(home: House) -> None:
    phone = Phone(await home.talker("bob", "phone"))
    await phone.enable()
    alice = await home.talker("alice", "a")
    total = 0
    for turn in range(8):
        await send(alice, total, 150)
        total += 150
        await phone.until(total - 60 - turn, acks=turn % 2 == 0)
        old = phone.talker
        await phone.resume(await home.unbound("bob"))
        old.wire.abort()
    await phone.until(total)
    assert phone.shown == numbers(total)


async def test_never_resumed_what_was_not_acknowledged_comes_to_the_next(short: House) -> None:
    phone = Phone(await short.talker("bob", "phone"))
    await phone.enable()
    alice = await short.talker("alice", "a")
    await send(alice, 0, 30)
    await phone.until(12)
    phone.talker.wire.abort()
    seen = len(phone.shown)
    await short.until(lambda: not short.node.hub.tokens, "the session ended")
    talker = await short.talker("bob", "other")
    rest = [(await talker.message())[1] for _ in range(30)]
    acknowledged = 30 - len(rest)
    assert rest == numbers(30)[-len(rest) :]
    assert acknowledged <= seen


async def test_acknowledged_messages_do_not_come_again_after_a_dead_end(short: House) -> None:
    phone = Phone(await short.talker("bob", "phone"))
    await phone.enable()
    alice = await short.talker("alice", "a")
    await send(alice, 0, 20)
    await phone.until(20)
    await phone.talker.say(f"<a xmlns='{SM}' h='{phone.h}'/>")
    await phone.talker.say(f"<r xmlns='{SM}'/>")  # answered when the confirm has been told
    await phone.talker.hear("a")
    phone.talker.wire.abort()
    await short.until(lambda: not short.node.hub.tokens, "the session ended")
    await send(await short.talker("alice", "a"), 20, 3)
    talker = await short.talker("bob", "other")
    assert [(await talker.message())[1] for _ in range(3)] == ["20", "21", "22"]


async def test_the_clients_own_messages_are_counted_when_they_are_stored(home: House) -> None:
    bob = await home.talker("bob", "b")
    phone = Phone(await home.talker("alice", "phone"))
    await phone.enable()
    for n in range(50):
        await phone.talker.say(
            f"<message to='bob@localhost' type='chat'><body>{n}</body></message>"
        )
    await phone.talker.say(f"<r xmlns='{SM}'/>")
    answer = await phone.talker.hear("a")
    assert answer.get("h") == "50"
    talker = await home.unbound("alice")
    await talker.say(f"<resume xmlns='{SM}' previd='{phone.token}' h='{phone.h}'/>")
    resumed = await talker.hear("resumed")
    assert resumed.get("h") == "50"
    assert [(await bob.message())[1] for _ in range(50)] == numbers(50)


@pytest.mark.parametrize("previd", ["", "nonsense"])
async def test_a_session_that_is_not_there_is_not_resumed_but_one_may_bind(
    home: House, previd: str
) -> None:
    talker = await home.unbound("bob")
    await talker.say(f"<resume xmlns='{SM}' previd='{previd}' h='0'/>")
    failed = await talker.hear("failed")
    assert failed[0].tag.endswith("}item-not-found")
    assert await talker.bind("x") == "bob@localhost/x"


async def test_nobody_resumes_the_session_of_somebody_else(home: House) -> None:
    phone = Phone(await home.talker("bob", "phone"))
    await phone.enable()
    mallory = await home.unbound("mallory")
    await mallory.say(f"<resume xmlns='{SM}' previd='{phone.token}' h='0'/>")
    failed = await mallory.hear("failed")
    assert failed[0].tag.endswith("}item-not-found")


async def test_more_acknowledged_than_sent_ends_the_stream(home: House) -> None:
    phone = Phone(await home.talker("bob", "phone"))
    await phone.enable()
    await phone.talker.say(f"<a xmlns='{SM}' h='99'/>")
    error = await phone.talker.hear("error")
    assert error[0].tag.endswith("}undefined-condition")
