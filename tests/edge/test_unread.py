"""Strangers who say much and read nothing: what waits for them is bounded, and so is its time."""

import os
import socket
from pathlib import Path

import msgspec
import pytest

from bench import accounts
from tests.edge.house import BODY, House, Stranger, house, until
from tests.edge.test_flow import collect
from whimbrel.domain.limits import Limits
from whimbrel.edge import session as session_module
from whimbrel.edge.session import Session
from whimbrel.edge.transport import Connection
from whimbrel.protocol import wire

BOB = accounts.address_of(3)
BIG = msgspec.Raw(msgspec.msgpack.encode(wire.Content(text="x" * 8_000)))
OUT_BYTES_MAX = 65_536
FAR = 2**52  # its Pong takes some room


def connection_of(session: Session) -> Connection:
    link = session._link
    assert isinstance(link, Connection)
    return link


def narrow(session: Session) -> None:
    """As little as possible waits in the server's kernel, so that a test needs few bytes."""
    transport = connection_of(session).transport
    assert transport is not None
    number = os.dup(transport.get_extra_info("socket").fileno())
    with socket.socket(fileno=number) as copy:
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)


async def deaf(home: House, n: int, *, tls: bool = False) -> tuple[Stranger, Session]:
    """Logged in, reads nothing from now on."""
    guest = await home.guest(n, tls=tls, narrow=True)
    session = home.session_of(n)
    narrow(session)
    guest.stop_reading()
    return guest, session


async def fill(home: House, guest: Stranger, session: Session) -> None:
    """Pings until their answers wait here, more than one round of the loop may hold back."""
    connection = connection_of(session)
    for _ in range(200):
        guest.send(*(wire.Ping(FAR) for _ in range(500)))
        await home.chat(1)
        if connection.unsent_bytes > 100_000:
            return
    raise AssertionError("the kernel took it all")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_answers_to_pings_that_nobody_reads_end_the_session(
    tmp_path: Path, tls: bool
) -> None:
    async with house(tmp_path, out_buffer_bytes_max=OUT_BYTES_MAX, frames_per_s=10**7) as home:
        guest, session = await deaf(home, 2, tls=tls)
        connection, most = connection_of(session), 0
        for _ in range(400):
            if connection.is_closed:
                break
            guest.send(*(wire.Ping(FAR) for _ in range(1_000)))
            await home.chat(1)
            most = max(most, connection.unsent_bytes)
        await home.counted("refused:slow-reader")
        assert home.count("refused:slow-reader") == 1
        assert 0 < most < OUT_BYTES_MAX + 300_000, "one read's worth of answers above the bound"
        await home.gone()


async def test_refusals_that_nobody_reads_end_the_session(tmp_path: Path) -> None:
    async with house(tmp_path, out_buffer_bytes_max=OUT_BYTES_MAX, frames_per_s=10**7) as home:
        guest, session = await deaf(home, 2)
        connection = connection_of(session)
        for _ in range(400):
            if connection.is_closed:
                break
            guest.send(*(wire.Link("x" * 100) for _ in range(1_000)))
            await home.chat(1)
        await home.counted("refused:slow-reader")
        await home.gone()


async def test_who_is_refused_and_never_reads_why_is_gone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The goodbye waits behind what was not read; it does not wait for ever."""
    monkeypatch.setattr(session_module, "GOODBYE_S", 0.2)
    async with house(tmp_path, frames_per_s=10**7) as home:
        guest, session = await deaf(home, 2)
        await fill(home, guest, session)
        guest.send(wire.Confirm(FAR))
        await home.counted("refused:bad-confirm")
        await home.gone()


async def test_a_phone_that_lost_its_network_is_gone_although_much_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "GOODBYE_S", 0.2)
    async with house(tmp_path, frames_per_s=10**7, idle_ping_s=0.3, idle_timeout_s=2.5) as home:
        guest, session = await deaf(home, 2)
        await fill(home, guest, session)
        await home.counted("refused:idle-timeout")
        await home.gone()


async def test_who_reads_the_reason_gets_all_of_it_first(tmp_path: Path) -> None:
    """Ending a session takes nothing away that was already said."""
    async with house(tmp_path, frames_per_s=10**7) as home:
        guest, session = await deaf(home, 2)
        await fill(home, guest, session)
        guest.send(wire.Confirm(FAR))
        await home.counted("refused:bad-confirm")
        guest.go_on_reading()
        assert isinstance(await guest.next_of(wire.Pong), wire.Pong)
        assert await guest.error() == "bad-confirm"
        await home.gone()


async def test_a_slow_reader_below_the_bound_keeps_nobody_waiting_and_misses_nothing(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        alice, (bob, session) = await home.guest(2), await deaf(home, 3)
        ids = []
        for c in range(1, 61):
            alice.send(wire.Submit(c, BOB, BIG))
            ids.append((await alice.next_of(wire.Stored)).id)
            await home.chat(1)
        assert 0 < connection_of(session).unsent_bytes < Limits().out_buffer_bytes_max
        bob.go_on_reading()
        assert await collect(bob, len(ids)) == ids
        assert home.count("refused:slow-reader") == 0


async def test_a_phone_that_comes_back_gets_each_message_once_while_its_deaf_half_dies(
    tmp_path: Path,
) -> None:
    """The network changed: the old connection hangs, the phone is already here again."""
    async with house(tmp_path) as home:
        alice, (old, session) = await home.guest(2), await deaf(home, 3)
        alice.send(*(wire.Submit(c, BOB, BIG) for c in range(1, 41)))
        ids = [stored.id for stored in await alice.answers(wire.Stored, 40)]
        await until(lambda: connection_of(session).unsent_bytes, "nothing waits for the old one")
        bob = await home.guest(3)
        assert await collect(bob, 40) == ids
        alice.send(wire.Submit(41, BOB, BODY))
        assert (await bob.next_of(wire.Message)).c == 41
        old.close()
