"""Conversations that were broken on their way, on real connections to a real node.

Whatever comes, the server answers by name or closes, forgets the session, harms nobody, and
meets no bug of its own (`internal` and `crashes` stay 0: checked when the house closes).
"""

import random
from pathlib import Path

import msgspec
import pytest

from bench import accounts
from bench.raw import frame
from tests.edge.house import BODY, House, hello_of, house, until
from whimbrel.protocol import wire

CONVERSATIONS = 300  # each test; a seed each
PEER = accounts.address_of(3)


def conversation(chance: random.Random) -> list[wire.Wire]:
    """What a phone might say in a minute."""
    said: list[wire.Wire] = [hello_of(chance.randrange(2, 8))]
    for c in range(1, chance.randrange(1, 12)):
        said.append(
            chance.choice(
                [
                    wire.Submit(c, PEER, BODY),
                    wire.Confirm(chance.randrange(5)),
                    wire.Read(PEER, chance.randrange(2**53)),
                    wire.Typing(PEER, bool(chance.randrange(2))),
                    wire.Watch(PEER),
                    wire.Block(PEER, bool(chance.randrange(2))),
                    wire.Ping(chance.randrange(2**53)),
                    wire.Link("another"),
                    wire.Unlink(chance.randrange(4)),
                    wire.Bye(),
                ]
            )
        )
    return said


def broken(frames: list[bytes], chance: random.Random) -> bytes:
    """One thing goes wrong: a byte, a length, an order, an end."""
    way = chance.randrange(6)
    at = chance.randrange(len(frames))
    if way == 0:
        whole = bytearray(b"".join(frames))
        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        return bytes(whole)
    if way == 1:
        chance.shuffle(frames)
    elif way == 2:
        frames[at] = frames[at][: chance.randrange(len(frames[at]))]
    elif way == 3:
        frames.insert(at, frames[at])
    elif way == 4:
        frames[at] += chance.randbytes(chance.randrange(1, 40))
    else:
        payload = msgspec.msgpack.encode(anything(chance, 4))
        frames.insert(at, len(payload).to_bytes(4, "big") + payload)
    return b"".join(frames)


def anything(chance: random.Random, depth: int) -> object:
    """Any value MessagePack can carry; often something like a message."""
    leaf = [None, True, -1, 0, 2**63, 1.5, "x" * chance.randrange(200), b"\xff\x00", "\u202e"]
    if not depth or chance.randrange(3) == 0:
        return chance.choice(leaf)
    inner = [anything(chance, depth - 1) for _ in range(chance.randrange(6))]
    if chance.randrange(3):
        return [chance.randrange(70), *inner]
    return {str(n): value for n, value in enumerate(inner)}


async def talk(home: House, data: bytes, tls: bool) -> None:
    """Say it all, listen until the server closes or has answered everything, then leave."""
    stranger = await home.stranger(tls=tls)
    stranger.raw(data)
    if not tls:  # TLS knows no end of one direction only
        stranger.writer.write_eof()
        while await stranger.next() is not None:
            pass
    stranger.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_broken_conversations_harm_nobody(tmp_path: Path, tls: bool) -> None:
    async with house(tmp_path, failed_logins_per_address_per_minute=10_000) as home:
        for seed in range(CONVERSATIONS):
            chance = random.Random(seed)
            data = broken([frame(message) for message in conversation(chance)], chance)
            await talk(home, data, tls)
            if seed % 25 == 0:
                await home.chat(1)
        await home.gone()


async def test_random_bytes_harm_nobody(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for seed in range(CONVERSATIONS):
            chance = random.Random(seed)
            await talk(home, chance.randbytes(chance.randrange(1, 3_000)), tls=False)
        await home.gone()


async def test_unbroken_conversations_are_understood(tmp_path: Path) -> None:
    """So that the tests above are known to break something that works."""
    async with house(tmp_path) as home:
        for seed in range(20):
            said = conversation(random.Random(seed))
            stranger = await home.stranger()
            stranger.send(*said)
            assert isinstance(await stranger.next(), wire.Welcome)
            stranger.close()
        await until(lambda: len(home.node.listener) == 2, "sessions are left over")
        assert home.count("logins") >= 20
