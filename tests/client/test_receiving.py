"""What a device receives: order, once, stored, handled, confirmed; and how it ends."""

import asyncio
import contextlib

import msgspec
import pytest

from tests.client.conftest import MakeClient
from tests.client.fake_server import FakeServer, Peer, text_body
from whimbrel.client import (
    Client,
    CommandRefused,
    Ended,
    Event,
    MemoryClientStore,
    NotAuthorized,
    NotConnected,
    ReplacedElsewhere,
)
from whimbrel.client.words import CaughtUp, Connection, Copied, Presence, Trimmed, Typing
from whimbrel.protocol import wire


def message(prev: int, q: int, text: str, *, c: int = 0, sender: str = "bob") -> wire.Message:
    return wire.Message(prev, q, sender, 1_000 + q, 1, c or q, text_body(text))


async def texts(client: Client, count: int) -> list[str]:
    """Take `count` messages; the last one stays unhandled."""
    found = []
    async with asyncio.timeout(5):
        async for one in client.messages():
            found.append(one.text)
            if len(found) == count:
                break
    return found


async def wait_for(events: object, kind: type[Event]) -> Event:
    async with asyncio.timeout(5):
        async for event in events:  # type: ignore[attr-defined]
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


async def test_a_message_is_confirmed_when_the_next_one_is_asked_for(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(message(0, 4, "one"), message(4, 5, "two"))
        messages = client.messages()
        first = await anext(messages)
        assert (first.sender, first.text, first.id, first.device, first.c) == (
            "bob", "one", 1_004, 1, 4,
        )  # fmt: skip
        assert first.time.microsecond == 1_004
        await peer.silent()  # in the program's hands: nothing of it is confirmed
        second = await anext(messages)
        assert second.text == "two"
        assert (await peer.next(wire.Confirm)).q == 4
        waiting = asyncio.ensure_future(anext(messages))
        assert (await peer.next(wire.Confirm)).q == 5
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting


async def test_a_batch_is_confirmed_once(server: FakeServer, make_client: MakeClient) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(*(message(q - 1, q, f"{q}") for q in range(1, 101)))
        reader = asyncio.ensure_future(texts(client, 101))
        confirmed = 0
        frames = 0
        while confirmed < 100:
            confirmed = (await peer.next(wire.Confirm)).q
            frames += 1
        assert frames <= 5
        peer.say(message(100, 101, "last"))
        assert len(await reader) == 101


async def test_what_was_seen_before_is_dropped_and_confirmed_again(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(message(0, 1, "one"))
        reader = asyncio.ensure_future(texts(client, 2))
        assert (await peer.next(wire.Confirm)).q == 1
        peer.say(message(0, 1, "one"))
        assert (await peer.next(wire.Confirm)).q == 1
        peer.say(message(1, 2, "two"))
        assert await reader == ["one", "two"]


async def test_a_hole_makes_the_client_resume_from_its_last_item(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(message(0, 1, "one"), message(3, 4, "four"))
        peer = await server.accept()
        assert peer.hello.last == 1
        peer.welcome()
        peer.say(message(1, 3, "three"), message(3, 4, "four"))
        assert await texts(client, 3) == ["one", "three", "four"]


async def test_a_reconnect_resumes_and_repeats_the_confirm(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(message(0, 1, "one"))
        reader = asyncio.ensure_future(texts(client, 2))
        assert (await peer.next(wire.Confirm)).q == 1
        peer.drop()
        peer = await server.accept()
        assert (peer.hello.last, peer.hello.era) == (1, 1)
        peer.welcome(confirmed=0)
        assert (await peer.next(wire.Confirm)).q == 1
        peer.say(message(1, 2, "two"))
        assert await reader == ["one", "two"]


async def test_a_message_that_was_not_handled_comes_again_after_a_restart(
    server: FakeServer, make_client: MakeClient
) -> None:
    store = MemoryClientStore()
    async with make_client(store=store) as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(message(0, 1, "handled"), message(1, 2, "in hand"), message(2, 3, "waiting"))
        assert await texts(client, 2) == ["handled", "in hand"]
    async with make_client(store=store) as client:
        peer = await server.accept()
        assert peer.hello.last == 3
        peer.welcome(confirmed=1)
        assert await texts(client, 2) == ["in hand", "waiting"]
        assert (await peer.next(wire.Confirm)).q == 2


async def test_after_a_restore_nothing_is_shown_twice(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome(era=1)
        peer.say(message(0, 7, "seven", c=7), message(7, 8, "eight", c=8))
        reader = asyncio.ensure_future(texts(client, 3))
        assert (await peer.next(wire.Confirm)).q == 8
        peer.drop()
        peer = await server.accept()
        peer.welcome(era=2)
        peer.say(message(0, 1, "eight", c=8), message(1, 2, "nine", c=9))
        assert await reader == ["seven", "eight", "nine"]


async def test_receipts_are_confirmed_without_anybody_reading(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client():
        peer = await server.accept()
        peer.welcome()
        peer.say(wire.Receipt(0, 1, "bob", 5, 0))
        assert (await peer.next(wire.Confirm)).q == 1


async def test_a_confirm_of_receipts_rides_with_the_next_frame(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        events = client.events()
        peer.say(wire.Receipt(0, 1, "bob", 5, 0), wire.EndOfQueue(1))
        await wait_for(events, CaughtUp)
        client.typing("bob", True)
        assert isinstance(await peer.read(), wire.Typing)
        assert isinstance(await peer.read(), wire.Confirm)


async def test_events_tell_what_is_not_a_message(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        events = client.events()
        peer = await server.accept()
        peer.welcome()
        peer.say(
            wire.Typing("bob", True),
            wire.Presence("bob", False, 7_000_000),
            wire.Copy(0, 1, "bob", 55, 2, 9, text_body("from my tablet")),
            wire.Trimmed(1, 2, 0, 10, 20),
            wire.EndOfQueue(2),
        )
        assert await wait_for(events, Typing) == Typing("bob", True)
        presence = await wait_for(events, Presence)
        assert isinstance(presence, Presence)
        assert presence.last_seen is not None
        assert presence.last_seen.timestamp() == 7.0
        copied = await wait_for(events, Copied)
        assert isinstance(copied, Copied)
        assert copied.content.text == "from my tablet"
        assert await wait_for(events, Trimmed) == Trimmed(10, 20, "trimmed")
        await wait_for(events, CaughtUp)


async def test_own_copies_are_confirmed_and_not_shown(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(wire.Copy(0, 1, "bob", 55, 1, 9, msgspec.Raw(b"\xc0")))
        assert (await peer.next(wire.Confirm)).q == 1
        assert await client.store.conversations() == []


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (wire.Replaced(), ReplacedElsewhere),
        (wire.Error("not-authorized", fatal=True), NotAuthorized),
    ],
)
async def test_replaced_and_not_authorized_end_the_client_for_good(
    server: FakeServer, make_client: MakeClient, said: wire.Wire, error: type[Ended]
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        await client.online()
        sent = await client.send("bob", "x")
        stored = sent.stored
        peer.say(said)
        with pytest.raises(error):
            await texts(client, 1)
        with pytest.raises(error):
            await stored
        with pytest.raises(error):
            await client.send("bob", "y")
        await peer.closed()
        assert isinstance(client.ended, error)
        await client._reconnector.stopped()  # the task that would connect again is over
        assert server.waiting == 0


async def test_a_fatal_error_of_another_kind_is_followed_by_a_reconnect(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        events = client.events()
        peer = await server.accept()
        peer.say(wire.Error("shutting-down", fatal=True))
        peer = await server.accept()
        peer.welcome()
        await client.online()
        reasons = []
        async with asyncio.timeout(5):
            async for event in events:
                if isinstance(event, Connection):
                    reasons.append(event.reason)
                    if event.state == "online":
                        break
        assert any("shutting-down" in reason for reason in reasons)


async def test_restarts_in_a_row_are_no_failures_and_the_client_comes_back_at_once(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        events = client.events()
        for _ in range(4):
            peer = await server.accept()
            peer.welcome()
            await client.online()
            peer.say(wire.Error("shutting-down", fatal=True))
            async with asyncio.timeout(5):
                async for event in events:
                    if isinstance(event, Connection) and event.state == "offline":
                        assert event.retry_s == 0
                        break


async def test_who_is_asked_to_come_back_later_does_and_adds_chance(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        events = client.events()
        peer = await server.accept()
        peer.say(wire.Error("shutting-down", fatal=True, retry_after=7))
        async with asyncio.timeout(5):
            async for event in events:
                if isinstance(event, Connection) and event.state == "offline":
                    assert 7 <= event.retry_s <= 8
                    break


async def test_a_server_that_talks_nonsense_is_left(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer._writer.write(b"\x00\x00\x00\x01\xc1")
        peer = await server.accept()
        peer.welcome()
        await asyncio.wait_for(client.online(), 5)


async def test_read_marks_are_repeated_until_the_server_has_them(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        await client.online()
        client.read("bob", 1_005)
        assert await peer.next(wire.Read) == wire.Read("bob", 1_005)
        peer.drop()
        peer = await server.accept()
        peer.welcome()
        assert await peer.next(wire.Read) == wire.Read("bob", 1_005)
        peer.say(wire.ReadDone("bob", 1_005))
        await peer.silent()
        peer.drop()
        peer = await server.accept()
        peer.welcome()
        await peer.silent()


async def test_a_read_mark_follows_the_confirm_of_what_was_read(
    server: FakeServer, make_client: MakeClient
) -> None:
    """The server clips a read mark to what was delivered: the other way round it is lost."""
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        peer.say(message(0, 1, "one"))
        messages = client.messages()
        first = await anext(messages)
        client.read("bob", first.id)  # while it is in the program's hands
        await peer.silent()
        messages.handled()
        assert await peer.read() == wire.Confirm(1)
        assert await peer.read() == wire.Read("bob", first.id)


async def test_questions_are_answered_refused_or_lost_with_the_connection(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        with pytest.raises(NotConnected):
            await client.link("tablet")
        peer = await server.accept()
        peer.welcome()
        await client.online()
        link = asyncio.ensure_future(client.link("tablet"))
        await peer.next(wire.Link)
        peer.say(wire.Linked(2, "secret"))
        assert await link == (2, "secret")
        block = asyncio.ensure_future(client.block("bob", True))
        assert await peer.next(wire.Block) == wire.Block("bob", True)
        peer.say(wire.Error("rate-limited", "block", False, 30))
        with pytest.raises(CommandRefused, match="30 seconds"):
            await block
        unlink = asyncio.ensure_future(client.unlink(2))
        await peer.next(wire.Unlink)
        peer.drop()
        with pytest.raises(NotConnected):
            await unlink


async def test_a_silent_server_is_pinged_and_then_left(
    server: FakeServer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whimbrel.client.reconnect.PING_MIN_S", 0.02)
    monkeypatch.setattr("whimbrel.client.reconnect.PONG_TIMEOUT_S", 0.05)
    async with make_client():
        peer = await server.accept()
        peer.welcome(ping_s=0)
        ping = await peer.next(wire.Ping)
        peer.say(wire.Pong(ping.n))
        await peer.next(wire.Ping)  # alive, but silent again: asked again
        again: Peer = await server.accept()  # no answer: left
        again.welcome()
