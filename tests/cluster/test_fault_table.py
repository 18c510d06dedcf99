"""The judge of `make faults`: what must not happen is noticed when it does.

People of trial/faults/talkers.py are told by hand what a server would say.
"""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench import accounts
from trial.faults.doors import Doors
from trial.faults.net import Net
from trial.faults.report import Row
from trial.faults.talkers import Talker, Town, by_place
from trial.nodes import TrialNode
from whimbrel.protocol import wire

_pack = msgspec.msgpack.Encoder().encode


class Line(SimpleNamespace):
    """What a person says goes nowhere."""

    def send(self, message: wire.Wire) -> None:
        """Not looked at."""

    def flush(self) -> None: ...


@pytest.fixture
def nodes(tmp_path: Path) -> list[TrialNode]:
    return [TrialNode(f"node-{n}", tmp_path, "") for n in range(3)]


def town_of(nodes: list[TrialNode]) -> Town:
    return Town(Doors(nodes), 1)


def typed(person: Talker, c: int) -> None:
    person._open[c] = (person._loop.time(), msgspec.Raw(b"\xc0"))


def hears(person: Talker, *messages: wire.Wire) -> None:
    line: Any = Line()
    person._on_batch(line, list(messages))


def message(q: int, sender: str, c: int, id: int) -> wire.Message:
    body = msgspec.Raw(_pack(wire.Content(text=f"{sender} {c}")))
    return wire.Message(q - 1, q, sender, id, 1, c, body)


async def test_what_was_acknowledged_shown_and_marked_is_right(nodes: list[TrialNode]) -> None:
    town = town_of(nodes)
    one, two = town.people
    for c in (1, 2):
        typed(one, c)
        hears(one, wire.Stored(c, 100 + c))
        hears(two, message(c, one.address, c, 100 + c))
    hears(one, wire.Receipt(0, 1, two.address, 102, 0))
    assert one.is_quiet()
    verdict = town.ledger.verdict()
    assert verdict.pop("acknowledged") == 2
    assert not any(verdict.values()), (verdict, town.ledger.lies)


async def test_lost_doubled_disordered_and_lying_are_each_noticed(nodes: list[TrialNode]) -> None:
    town = town_of(nodes)
    one, two = town.people
    for c in (1, 2, 3, 4):
        typed(one, c)
        hears(one, wire.Stored(c, 100 + c))
    hears(two, message(1, one.address, 2, 102), message(2, one.address, 1, 101))
    hears(two, message(3, one.address, 1, 101))
    hears(one, wire.Receipt(0, 1, two.address, 103, 0))  # nobody has seen 103
    verdict = town.ledger.verdict()
    assert verdict == {
        "acknowledged": 4,
        "lost": 2,
        "shown_twice": 1,
        "out_of_order": 1,
        "second_mark_missing": 1,
        "marks_that_lie": 1,
    }
    assert Row("x", "", count=verdict).broken


async def test_its_users_are_owned_or_connected_and_others_have_nothing_to_do_with_it(
    nodes: list[TrialNode],
) -> None:
    town = Town(Doors(nodes), 2)
    one, three, two, four = town.people  # one talks with two, three with four
    owner: dict[str, TrialNode | None] = {p.address: nodes[1] for p in town.people}
    one.node, two.node, three.node, four.node = nodes[0], nodes[1], nodes[1], nodes[2]
    its, others = by_place(town.people, owner, [nodes[0]])
    assert (its, others) == ({one.address}, {three.address, four.address})
    assert (one.peer, three.peer) == (two.address, four.address)
    owner[four.address] = nodes[0]
    assert by_place(town.people, owner, [nodes[0]]) == ({one.address, four.address}, set())
    assert accounts.address_of(0) == one.address


async def test_a_relay_holds_back_what_is_cut_and_lets_it_go_when_healed() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(2))
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    net = Net()
    net.build()
    try:
        port = server.sockets[0].getsockname()[1]
        host, at = await asyncio.to_thread(net.way, "node0", "pg", "127.0.0.1", port)
        reader, writer = await asyncio.open_connection(host, at)
        writer.write(b"a")
        await asyncio.to_thread(net.lose, 1.0, [("pg", "node0")])
        writer.write(b"b")
        answer = asyncio.ensure_future(reader.read(2))
        there = await asyncio.to_thread(net.way, "node1", "pg", "127.0.0.1", port)
        for _ in range(3):  # meanwhile another node's way is open
            near, far = await asyncio.open_connection(*there)
            far.write(b"cd")
            assert await near.read(2) == b"cd"
            far.close()
        assert not answer.done()
        await asyncio.to_thread(net.heal)
        assert await answer == b"ab"
        writer.close()
    finally:
        net.clear()
        server.close()
