"""What a device sends: numbers, repetition and marks, against a scripted server."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.client.conftest import MakeClient
from tests.client.fake_server import FakeServer, Peer
from whimbrel.client import MemoryClientStore, Undelivered
from whimbrel.client.sqlite_store import SqliteClientStore
from whimbrel.client.words import Delayed, SentMessage
from whimbrel.protocol import wire


async def bounded(awaitable: object) -> object:
    async with asyncio.timeout(5):
        return await awaitable  # type: ignore[misc]


async def refused_code(awaitable: object) -> str:
    with pytest.raises(Undelivered) as caught:
        await bounded(awaitable)
    return caught.value.code


async def numbers(peer: Peer, count: int) -> list[int]:
    return [(await peer.next(wire.Submit)).c for _ in range(count)]


async def test_a_message_shows_its_marks_as_the_server_tells_them(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        assert peer.hello.account == "alice"
        assert peer.hello.key == "key"
        peer.welcome()
        sent = await client.send("Bob", "hello")
        submit = await peer.next(wire.Submit)
        assert (submit.c, submit.to) == (1, "bob")
        assert msgspec.msgpack.decode(submit.body) == {"text": "hello"}
        stored = sent.stored
        assert not stored.done()  # type: ignore[attr-defined]
        peer.say(wire.Stored(1, 5_000_000))
        assert (await bounded(stored)).timestamp() == 5.0  # type: ignore[attr-defined]
        assert sent.id == 5_000_000
        delivered, read = sent.delivered, sent.read
        peer.say(wire.Receipt(0, 1, "bob", 5_000_000, 0))
        await bounded(delivered)
        assert not read.done()  # type: ignore[attr-defined]
        peer.say(wire.Receipt(1, 2, "bob", 5_000_000, 5_000_000))
        await bounded(read)
        assert (await peer.next(wire.Confirm)).q in (1, 2)


async def test_a_loss_in_mid_send_repeats_the_unanswered_under_the_same_numbers(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        sent = [await client.send("bob", f"{i}") for i in range(3)]
        assert await numbers(peer, 3) == [1, 2, 3]
        peer.say(wire.Stored(1, 101))
        await bounded(sent[0].stored)
        peer.drop()
        peer = await server.accept()
        sent.append(await client.send("bob", "3"))
        peer.welcome(submitted=2)  # it had taken 2, but the answer was lost
        assert await numbers(peer, 3) == [2, 3, 4]
        peer.say(wire.Stored(2, 102), wire.Stored(3, 103), wire.Stored(4, 104))
        for message in sent:
            await bounded(message.stored)
        assert [message.c for message in sent] == [1, 2, 3, 4]
        await peer.silent()


async def test_the_server_s_number_counts_if_it_is_higher(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome(submitted=41)
        await client.online()
        assert (await client.send("bob", "x")).c == 42


async def test_busy_is_tried_again_in_order_and_gaps_behind_it_do_no_harm(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        events = client.events()
        peer = await server.accept()
        peer.welcome()
        sent = [await client.send("bob", f"{i}") for i in range(3)]
        assert await numbers(peer, 3) == [1, 2, 3]
        peer.say(wire.Refused(1, "busy"), wire.Refused(2, "gap", 1), wire.Refused(3, "gap", 1))
        assert await numbers(peer, 3) == [1, 2, 3]
        peer.say(*(wire.Stored(c, 100 + c) for c in (1, 2, 3)))
        for message in sent:
            await bounded(message.stored)
        await peer.silent()
        async with asyncio.timeout(5):
            async for event in events:
                if isinstance(event, Delayed):
                    assert event.code == "busy"
                    break


async def test_a_gap_repeats_from_the_expected_number_also_what_was_answered(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        first = await client.send("bob", "first")
        await numbers(peer, 1)
        peer.say(wire.Stored(1, 101))
        await bounded(first.stored)
        await client.send("bob", "second")
        await numbers(peer, 1)
        peer.say(wire.Refused(2, "gap", 1))
        assert await numbers(peer, 2) == [1, 2]


async def test_a_number_nobody_holds_is_closed_by_renumbering(
    server: FakeServer, make_client: MakeClient
) -> None:
    """A permanent refusal that did not use its number up would leave a hole for ever."""
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        lost, kept = await client.send("bob", "bad"), await client.send("bob", "good")
        await numbers(peer, 2)
        peer.say(wire.Refused(1, "bad-address"), wire.Refused(2, "gap", 1))
        assert await refused_code(lost.stored) == "bad-address"
        submit = await peer.next(wire.Submit)
        assert submit.c == 1
        assert msgspec.msgpack.decode(submit.body) == {"text": "good"}
        peer.say(wire.Stored(1, 101))
        await bounded(kept.stored)
        assert (await client.send("bob", "next")).c == 2


async def test_a_used_number_is_replaced_by_the_next_one(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        sent = await client.send("bob", "x")
        assert await numbers(peer, 1) == [1]
        peer.say(wire.Refused(1, "number-used"))
        assert await numbers(peer, 1) == [2]
        peer.say(wire.Stored(2, 101))
        await bounded(sent.stored)
        assert sent.c == 2


async def test_a_permanent_refusal_reaches_every_mark(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        sent = await client.send("nobody", "x")
        delivered = sent.delivered
        await numbers(peer, 1)
        peer.say(wire.Refused(1, "unknown-recipient"))
        assert await refused_code(delivered) == "unknown-recipient"
        assert await refused_code(sent.stored) == "unknown-recipient"


async def test_a_failure_item_fails_one_message_or_a_range(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome()
        sent = [await client.send("bob", f"{i}") for i in range(4)]
        await numbers(peer, 4)
        peer.say(*(wire.Stored(c, 100 + c) for c in (1, 2, 3, 4)))
        await bounded(sent[3].stored)
        peer.say(
            wire.Failed(0, 1, "bob", 1, 2, 102, "blocked"),
            wire.Receipt(1, 2, "bob", 101, 0),
            wire.Failed(2, 3, "bob", 0, 0, 103, "trimmed", 101),
        )
        assert await refused_code(sent[1].delivered) == "blocked"
        assert await refused_code(sent[2].delivered) == "trimmed"
        await bounded(sent[0].delivered)  # had its second mark before
        assert not sent[3].delivered.done()  # type: ignore[attr-defined]


async def test_send_waits_while_the_window_is_full(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome(submits_max=2)
        await client.online()
        await client.send("bob", "1")
        await client.send("bob", "2")
        third = asyncio.ensure_future(client.send("bob", "3"))
        assert await numbers(peer, 2) == [1, 2]
        await peer.silent()
        assert not third.done()
        peer.say(wire.Stored(1, 101))
        assert (await bounded(third)).c == 3  # type: ignore[attr-defined]
        assert await numbers(peer, 1) == [3]


async def test_a_new_era_sends_every_kept_message_again_under_its_old_number(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome(era=1)
        sent = [await client.send("bob", f"{i}") for i in range(3)]
        await numbers(peer, 3)
        peer.say(*(wire.Stored(c, 100 + c) for c in (1, 2, 3)))
        peer.say(wire.Receipt(0, 9, "bob", 103, 0))
        await bounded(sent[2].delivered)
        peer.drop()
        peer = await server.accept()
        assert (peer.hello.last, peer.hello.era) == (9, 1)
        peer.welcome(era=2, submitted=1)
        assert await numbers(peer, 2) == [2, 3]
        peer.say(wire.Stored(2, 202), wire.Stored(3, 203), wire.Receipt(0, 1, "bob", 0, 203))
        await bounded(sent[2].read)
        assert (await peer.next(wire.Confirm)).q == 1  # numbers of the new era


async def test_also_what_is_sent_again_keeps_to_the_window(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        peer = await server.accept()
        peer.welcome(era=1)
        sent = [await client.send("bob", f"{i}") for i in range(4)]
        await numbers(peer, 4)
        peer.say(*(wire.Stored(c, 100 + c) for c in (1, 2, 3, 4)))
        await bounded(sent[3].stored)
        peer.drop()
        peer = await server.accept()
        peer.welcome(era=2, submits_max=2)
        assert await numbers(peer, 2) == [1, 2]
        await peer.silent()
        peer.say(wire.Stored(1, 201), wire.Stored(2, 202))
        assert await numbers(peer, 2) == [3, 4]


async def test_unanswered_messages_survive_the_process(
    server: FakeServer, make_client: MakeClient
) -> None:
    store = MemoryClientStore()
    async with make_client(store=store) as client:
        peer = await server.accept()
        peer.welcome()
        await client.send("bob", "first")
        await numbers(peer, 1)
    async with make_client(store=store):
        peer = await server.accept()
        peer.welcome(submitted=1)
        submit = await peer.next(wire.Submit)
        assert submit.c == 1
        assert msgspec.msgpack.decode(submit.body) == {"text": "first"}


async def test_what_can_never_be_sent_uses_no_number(
    server: FakeServer, make_client: MakeClient
) -> None:
    async with make_client() as client:
        assert await refused_code(client.send("not an address!", "x")) == "bad-address"
        assert await refused_code(client.send("bob", "x" * 100_000)) == "body-too-big"
        sent: SentMessage = await client.send("bob", "x")
        assert sent.c == 1


async def test_a_message_tells_its_timeline_also_after_a_restart(
    server: FakeServer, make_client: MakeClient, tmp_path: Path
) -> None:
    file = tmp_path / "alice.db"
    async with make_client(store=SqliteClientStore(file)) as client:
        peer = await server.accept()
        peer.welcome()
        first = await client.send("bob", "one")
        second = await client.send("bob", "two")
        assert [step.what for step in client.trace(1)] == ["written"]
        await numbers(peer, 2)
        peer.say(wire.Stored(1, 5_000_000), wire.Refused(2, "blocked"))
        await bounded(first.stored)
        assert await refused_code(second.stored) == "blocked"
        peer.say(wire.Receipt(0, 1, "bob", 5_000_000, 5_000_000))
        await bounded(first.read)
        await peer.next(wire.Confirm)
        steps = client.trace(1)
        assert [step.what for step in steps] == ["written", "stored", "delivered", "read"]
        times = [step.at for step in steps]
        assert all(times)
        last = second.timeline[-1]
        assert (last.what, last.at, last.code) == ("failed", None, "blocked")
        with pytest.raises(KeyError):
            client.trace(3)
    async with make_client(store=SqliteClientStore(file)) as client:
        assert [step.what for step in client.trace(1)] == [step.what for step in steps]
        assert all(step.at for step in client.trace(1))
