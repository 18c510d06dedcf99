"""One guest says far too much: slowed down and bounded, and the two others do not notice."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import accounts
from tests.edge.house import BODY, house, until
from tests.edge.test_flow import collect
from whimbrel.edge.session import PEERS_CACHED
from whimbrel.protocol import wire

BOB = accounts.address_of(3)


def nobody(n: int) -> str:
    return f"+4917{n:09}"


@pytest.mark.parametrize(
    ("limit", "text"),
    [({"frames_per_s": 50}, "x"), ({"bytes_per_s": 2_000}, "x" * 200)],
    ids=["frames", "bytes"],
)
async def test_a_flood_is_slowed_down_counted_and_hinders_nobody(
    tmp_path: Path, limit: dict[str, Any], text: str
) -> None:
    async with house(tmp_path, **limit) as home:
        guest, bob = await home.guest(2), await home.guest(3)
        body = msgspec.Raw(msgspec.msgpack.encode(wire.Content(text=text)))
        guest.send(*(wire.Submit(c, BOB, body) for c in range(1, 51)))
        guest.send(*(wire.Ping(n) for n in range(80)))
        session = home.session_of(2)
        await until(lambda: home.count("slowed-down"), "not slowed down")
        assert min(session.allowance_frames, session.allowance_bytes) < 0
        await home.chat(20)
        stored = await guest.answers(wire.Stored, 50)
        assert [each.c for each in stored] == list(range(1, 51))
        assert await collect(bob, 50) == [each.id for each in stored]
        assert home.count("refused:slow-reader") == 0


async def test_submits_beyond_the_bound_wait_in_the_network_and_are_all_taken_in_order(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, submits_open_max=8) as home:
        guest = await home.guest(2)
        session, most = home.session_of(2), 0
        guest.send(*(wire.Submit(c, BOB, BODY) for c in range(1, 1_001)))
        for c in range(1, 1_001):
            assert (await guest.next_of(wire.Stored)).c == c
            most = max(most, len(session._open))
        assert 0 < most <= 8
        assert not session._open
        assert not session._frames


async def test_the_same_submit_a_thousand_times_is_one_message(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guest, bob = await home.guest(2), await home.guest(3)
        guest.send(*(wire.Submit(1, BOB, BODY) for _ in range(1_000)), wire.Submit(2, BOB, BODY))
        first = await guest.next_of(wire.Stored)
        answer = first
        while answer.c == 1:
            assert answer.id == first.id
            answer = await guest.next_of(wire.Stored)
        assert await collect(bob, 2) == [first.id, answer.id]
        await until(lambda: home.node.engine.quiet, "still at work")


async def test_typing_and_watching_for_nobody_leaves_no_actor_behind(tmp_path: Path) -> None:
    async with house(tmp_path, actor_idle_s=0.5) as home:
        guest = await home.guest(2)
        cells = home.node.engine.cells
        for n in range(600):
            guest.send(wire.Typing(nobody(n), True), wire.Watch(nobody(n)))
        guest.send(wire.Ping(1))
        await guest.next_of(wire.Pong)
        await until(lambda: len(cells) > 500, "nobody was asked")
        assert len(home.session_of(2)._peers) <= PEERS_CACHED
        await home.chat()
        await until(lambda: len(cells) <= 3, "actors of nobody stay in memory")


async def test_links_under_way_are_bounded_and_the_session_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path, devices_max=4) as home:
        guest = await home.guest(2)
        guest.send(*(wire.Link("tablet") for _ in range(100)), wire.Ping(1))
        linked: list[int] = []
        refused = 0
        while len(linked) + refused < 100:
            answer = await guest.next()
            if isinstance(answer, wire.Error):
                assert (answer.code, answer.fatal) == ("rate-limited", False)
                refused += 1
            elif isinstance(answer, wire.Linked) and answer.device:
                linked.append(answer.device)
            elif isinstance(answer, wire.Linked):
                assert answer.code
                assert not answer.key
                refused += 1
        assert linked == [2, 3, 4]
        assert home.count("refused:rate-limited") > 0
        assert not home.session_of(2)._keys
        guest.send(wire.Ping(2))
        assert isinstance(await guest.next_of(wire.Pong), wire.Pong)
