"""The native port under attack: drips, bombs of nesting, floods of connections, noise for TLS."""

import asyncio
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from bench import accounts
from bench.raw import frame
from tests.edge.house import House, Stranger, hello_of, house
from whimbrel.protocol import wire

BOB = accounts.address_of(3)
HELLO = frame(hello_of(2))
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


async def drip(stranger: Stranger, data: bytes) -> None:
    """One byte now and then, the last one never."""
    reading = asyncio.create_task(stranger.reader.read())
    with suppress(ConnectionError, RuntimeError):
        for at in range(len(data) - 1):
            stranger.raw(data[at : at + 1])
            await asyncio.wait([reading], timeout=0.05)
            if reading.done():
                break
    async with asyncio.timeout(20):
        await asyncio.wait([reading])
    with suppress(ConnectionError):
        reading.result()


@pytest.mark.parametrize("tls", [False, True], ids=["hello", "handshake"])
async def test_fifty_who_drip_are_all_shown_out_and_the_two_go_on(
    tmp_path: Path, tls: bool
) -> None:
    async with house(tmp_path, hello_timeout_s=1.0) as home:
        if tls:
            port = home.node.ports["native"]
            strangers = [
                Stranger(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(50)
            ]
        else:
            strangers = [await home.stranger() for _ in range(50)]
        drops = [
            asyncio.create_task(drip(each, TLS_HELLO + bytes(500) if tls else HELLO))
            for each in strangers
        ]
        await home.chat(20)
        await asyncio.gather(*drops)
        await home.gone()
        assert home.count("refused:hello-timeout") + home.count("refused:bad-tls") >= 50
        for each in strangers:
            each.close()


async def test_noise_at_the_door_of_tls_costs_nothing_and_is_counted(tmp_path: Path) -> None:
    async with house(tmp_path, hello_timeout_s=2.0) as home:
        port = home.node.ports["native"]
        for n in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write((b"", TLS_HELLO, b"\x17\x03\x03\x40\x00")[n % 3] + os.urandom(20 * n + 1))
            writer.close()
        await home.counted("handshake-incomplete", 60)
        await home.gone()


BOMBS = {
    "maps": b"\x81\xa1x" * 16_000 + b"\xc0",
    "lists": b"\x81\xa1x" + b"\x91" * 40_000 + b"\xc0",
    "known field": b"\x81\xa5reply" + b"\x91" * 40_000 + b"\xc0",
    "a map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "a list of 4 billion": b"\x81\xa1x\xdd\xff\xff\xff\xff",
    "text of 4 GB": b"\x81\xa1x\xdb\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_by_name_and_takes_no_memory(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        tracemalloc.start()
        try:
            guest.send(wire.Submit(1, BOB, msgspec.Raw(BOMBS[name])))
            assert await guest.error() == "bad-message"
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()
        await home.gone()


async def flood(home: House, count: int) -> list[Stranger]:
    return [await home.stranger(local="127.0.0.2") for _ in range(count)]


async def test_a_flood_from_one_address_meets_its_bound_and_others_log_in(tmp_path: Path) -> None:
    async with house(tmp_path, connections_per_address_max=50, connections_max=80) as home:
        await flood(home, 300)
        await home.counted("refused:too-many-connections", 250)
        assert len(home.node.listener) <= 52
        guest = await home.guest(2, tls=True)
        guest.send(wire.Ping(1))
        assert isinstance(await guest.next_of(wire.Pong), wire.Pong)
