"""Readers that do not read, windows, mailboxes, silence: bounded, and nothing is lost."""

from pathlib import Path

import msgspec
import pytest

from bench import accounts
from tests.edge.house import BODY, House, Stranger, house, until
from whimbrel.domain.ids import account_number
from whimbrel.edge.session import ATTACH_FIRST_S, Session
from whimbrel.protocol import wire

pytestmark = pytest.mark.usefixtures("way")

BOB = accounts.address_of(3)
BIG = msgspec.Raw(msgspec.msgpack.encode(wire.Content(text="x" * 8_000)))


async def send_all(alice: Stranger, count: int, body: msgspec.Raw = BODY) -> list[int]:
    """Submit 1..count to Bob within the session's window; their ids."""
    ids = []
    for start in range(0, count, 32):
        numbers = range(start + 1, min(start + 32, count) + 1)
        alice.send(*(wire.Submit(c, BOB, body) for c in numbers))
        ids += [stored.id for stored in await alice.answers(wire.Stored, len(numbers))]
    return ids


async def collect(bob: Stranger, count: int, last: int = 0) -> list[int]:
    """Ids of the next messages, each confirmed, without a gap."""
    ids: list[int] = []
    while len(ids) < count:
        message = await bob.next_of(wire.Message)
        assert message is not None
        assert message.prev == last
        last = message.q
        ids.append(message.id)
        bob.send(wire.Confirm(last))
    return ids


async def test_a_device_that_confirms_nothing_gets_one_window_and_the_rest_when_it_does(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, window_items_max=10) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        ids = await send_all(alice, 50)
        got = [await bob.next_of(wire.Message) for _ in range(10)]
        bob.send(wire.Ping(1))
        assert isinstance(await bob.next(), wire.Pong), "more than the window was sent"
        bob.send(wire.Confirm(got[-1].q))
        rest = await collect(bob, 40, last=got[-1].q)
        assert [message.id for message in got] + rest == ids


async def test_a_window_is_bounded_in_bytes_too_but_one_message_always_fits(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, window_bytes_max=2_000) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        ids = await send_all(alice, 3, BIG)
        first = await bob.next_of(wire.Message)
        bob.send(wire.Ping(1))
        assert isinstance(await bob.next(), wire.Pong), "more than one"
        bob.send(wire.Confirm(first.q))
        assert [first.id, *await collect(bob, 2, last=first.q)] == ids


async def never_reading(home: House) -> None:
    """Bob's phone: logs in, then takes nothing from the network any more."""
    bob = await home.guest(3)
    bob.stop_reading()


async def test_who_never_reads_is_disconnected_and_finds_all_messages_later(
    tmp_path: Path,
) -> None:
    """More than the kernel's buffers and ours take; the window would allow it all."""
    count = 1_500
    async with house(
        tmp_path,
        out_buffer_bytes_max=65_536,
        window_items_max=count,
        window_bytes_max=100_000_000,
        bytes_per_s=100_000_000,
    ) as home:
        alice = await home.guest(2)
        await never_reading(home)
        ids = await send_all(alice, count, BIG)
        await home.counted("refused:slow-reader")
        await until(lambda: len(home.node.listener) == 3, "the session is left over")
        back = await home.guest(3)
        assert await collect(back, count) == ids


async def test_a_full_mailbox_makes_a_session_wait_and_loses_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, mailbox_max=4, submits_open_max=64) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        alice.send(*(wire.Submit(c, BOB, BODY) for c in range(1, 61)))
        ids = [stored.id for stored in await alice.answers(wire.Stored, 60)]
        assert home.node.engine.counts["mailbox_busy"] > 0
        assert await collect(bob, 60) == ids


async def test_a_full_inbox_is_trimmed_aloud_on_both_sides(tmp_path: Path) -> None:
    async with house(tmp_path, inbox_messages_max=20, trim_slice=5) as home:
        alice = await home.guest(2)
        ids = await send_all(alice, 30)
        failed = await alice.next_of(wire.Failed)
        assert failed.code == "trimmed"
        bob = await home.guest(3)
        seen: list[int] = []
        lost = 0
        while not seen or seen[-1] != ids[-1]:
            item = await bob.next()
            if isinstance(item, wire.Trimmed):
                lost += 1
            elif isinstance(item, wire.Message):
                seen.append(item.id)
        assert lost > 0
        assert len(seen) <= 20
        assert seen == [id for id in ids if id in seen], "in order, each once"


async def test_silence_is_pinged_and_then_it_is_the_end(tmp_path: Path) -> None:
    async with house(tmp_path, idle_ping_s=0.3, idle_timeout_s=2.5) as home:
        guest = await home.guest(2)
        assert isinstance(await guest.next_of(wire.Ping), wire.Ping)
        assert await guest.error() == "idle-timeout"
        await home.counted("refused:idle-timeout")
        await home.gone()


async def test_who_answers_pings_stays(tmp_path: Path) -> None:
    async with house(tmp_path, idle_ping_s=0.3, idle_timeout_s=2.5) as home:
        guest = await home.guest(2)
        for _ in range(3):
            ping = await guest.next_of(wire.Ping)
            assert ping is not None
            guest.send(wire.Pong(ping.n))
        guest.send(wire.Ping(9))
        assert (await guest.next_of(wire.Pong)).n == 9


async def test_an_actor_that_lost_its_memory_is_told_again_where_its_device_stands(
    tmp_path: Path,
) -> None:
    """As after a crash of its rules: the connection stays, nothing is lost or shown twice."""
    async with house(tmp_path) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        ids = await send_all(alice, 5)
        assert await collect(bob, 5) == ids
        engine = home.node.engine
        await until(lambda: engine.quiet, "not quiet")
        for n in (2, 3):
            cell = engine.cells.pop(account_number(accounts.address_of(n)))
            cell.state.attached.clear()
        alice.send(wire.Submit(6, BOB, BODY))
        sixth = await alice.next_of(wire.Stored)
        message = await bob.next_of(wire.Message)
        assert (sixth.c, message.id) == (6, sixth.id)
        for n in (2, 3):  # the next time, as many upgrades bring, they attach as soon again
            session = next(
                sink
                for sink in home.node.sessions.sinks.values()
                if sink.account == account_number(accounts.address_of(n))
            )
            assert isinstance(session, Session)
            assert session._attach_delay_s == ATTACH_FIRST_S


async def test_a_closed_connection_leaves_nothing_and_its_messages_wait(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        bob.writer.transport.abort()
        await until(lambda: len(home.node.listener) == 3, "the session is left over")
        ids = await send_all(alice, 10)
        back = await home.guest(3)
        assert await collect(back, 10) == ids


async def test_unknown_recipients_are_not_enumerated_faster_than_the_limit(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, new_contacts_per_hour=5) as home:
        guest = await home.guest(2)
        guest.send(*(wire.Submit(c, f"+4915100{c:07}", BODY) for c in range(1, 21)))
        answers = await guest.answers(wire.Refused, 20)
        codes = [answer.code for answer in answers]
        assert codes[:5] == ["unknown-recipient"] * 5
        assert set(codes[5:]) <= {"rate-limited", "gap"}
        assert answers[5].retry_after > 0


async def test_who_is_blocked_sees_one_mark_and_nothing_else(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        bob.send(wire.Block(accounts.address_of(2), True), wire.Ping(1))
        await bob.next_of(wire.Pong)
        alice.send(wire.Submit(1, BOB, BODY))
        assert (await alice.next_of(wire.Stored)).c == 1
        bob.send(wire.Block(accounts.address_of(2), False), wire.Ping(2))
        await bob.next_of(wire.Pong)
        alice.send(wire.Submit(2, BOB, BODY))
        second = await alice.next_of(wire.Stored)
        assert (await bob.next_of(wire.Message)).id == second.id
