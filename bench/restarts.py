"""Restarts as clients see them: pairs of the client library, which comes back by itself, talk at a
fixed rate while `whimbrel restart` runs again and again.

A client's gap is its longest wait for the next message, less the time between two messages of a
quiet server. Counted too: messages lost and shown twice, and connections refused.
"""

import asyncio
import itertools
import json
import time
from typing import Any

import uvloop

from bench.accounts import address_of, key_of
from bench.figures import Figure, Figures
from bench.load import percentile
from bench.server import Server
from bench.world import world
from whimbrel.cli.restart import connected
from whimbrel.client import Client, Pinned
from whimbrel.client.words import Connection

PATIENCE_S = 120.0


class Pair:
    """One sends numbers, the other writes down when which one came."""

    def __init__(self, sender: Client, receiver: Client) -> None:
        self.sender, self.receiver = sender, receiver
        self.sent = 0
        self.came: list[int] = []
        self.at_s: list[float] = []
        self.refused = 0

    async def send(self) -> None:
        await self.sender.send(self.receiver.account, str(self.sent + 1))
        self.sent += 1

    async def read(self) -> None:
        async for message in self.receiver.messages():
            self.came.append(int(message.text))
            self.at_s.append(time.monotonic())

    async def watch(self, client: Client) -> None:
        async for event in client.events():
            if isinstance(event, Connection) and "Connection refused" in event.reason:
                self.refused += 1

    def gap_s(self, from_s: float, until_s: float) -> float:
        """The longest wait that lies in this time."""
        pairs = itertools.pairwise(self.at_s)
        return max((b - a for a, b in pairs if b > from_s and a < until_s), default=0.0)


async def _talk(pairs: list[Pair], per_s: float) -> None:
    start, number = time.monotonic(), 0
    while True:
        number += 1
        wait_s = start + number / per_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await pairs[number % len(pairs)].send()


def order(server: Server) -> float:
    """One restart; the seconds during which nobody was served, as the server says."""
    with connected(server.data) as pair:
        pair.sendall(b"{}\n")
        with pair.makefile("rb") as answers:
            last: Any = None
            for answer in answers:
                last = json.loads(answer)
    if last is None or last.get("failed"):
        raise RuntimeError(f"not restarted: {last}")
    return float(last["text"].rpartition(" for ")[2].split()[0])


def restarts(count: int, times: int, per_s: float, quiet_s: float) -> Figures:
    """`count` pairs, `per_s` messages a second of all together, `times` restarts."""

    async def scene() -> Figures:
        port, trust = server.ready["native"], Pinned(server.ready["fingerprint"])

        def client(n: int) -> Client:
            return Client(address_of(n), 1, key_of(n), "127.0.0.1", port, trust=trust)

        pairs = [Pair(client(n), client(n + count)) for n in range(count)]
        async with asyncio.TaskGroup() as group:
            for pair in pairs:
                group.create_task(pair.sender.__aenter__())
                group.create_task(pair.receiver.__aenter__())
        work = [asyncio.ensure_future(pair.read()) for pair in pairs]
        for pair in pairs:
            work.append(asyncio.ensure_future(pair.watch(pair.sender)))
            work.append(asyncio.ensure_future(pair.watch(pair.receiver)))
        talk = asyncio.ensure_future(_talk(pairs, per_s))
        await asyncio.sleep(quiet_s)
        between_s = count / per_s
        end_s = time.monotonic()
        calm = [pair.gap_s(end_s - quiet_s / 2, end_s) - between_s for pair in pairs]
        gaps, unserved = [], []
        for _ in range(times):
            start_s = time.monotonic()
            unserved.append(await asyncio.to_thread(order, server))
            await asyncio.sleep(quiet_s)
            end_s = time.monotonic()
            gaps += [pair.gap_s(start_s, end_s) - between_s for pair in pairs]
        talk.cancel()
        await _all_came(pairs)
        for task in work:
            task.cancel()
        for pair in pairs:
            await pair.sender.close()
            await pair.receiver.close()
        sent = sum(pair.sent for pair in pairs)
        came = [number for pair in pairs for number in pair.came]
        lost = sum(len(set(range(1, pair.sent + 1)) - set(pair.came)) for pair in pairs)
        doubled = sum(len(pair.came) - len(set(pair.came)) for pair in pairs)
        disorder = sum(b < a for pair in pairs for a, b in itertools.pairwise(pair.came))
        name = f"restart_{count}_pairs"
        bound = f"{times} restarts under {per_s:.0f} messages a second, {sent:,} messages"
        return {
            f"{name}_messages_lost": Figure(lost, bound),
            f"{name}_messages_doubled": Figure(doubled),
            f"{name}_messages_out_of_order": Figure(disorder),
            f"{name}_messages_came": Figure(len(came)),
            f"{name}_connections_refused": Figure(sum(pair.refused for pair in pairs)),
            f"{name}_nobody_served_ms_max": Figure(1e3 * max(unserved)),
            f"{name}_client_gap_ms_p50": Figure(1e3 * percentile(gaps, 0.5)),
            f"{name}_client_gap_ms_p99": Figure(1e3 * percentile(gaps, 0.99)),
            f"{name}_client_gap_ms_max": Figure(1e3 * max(gaps)),
            f"{name}_no_restart_gap_ms_max": Figure(1e3 * max(calm), "the machine without one"),
        }

    with world(2 * count) as server:
        return uvloop.run(scene())


async def _all_came(pairs: list[Pair]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while any(len(set(pair.came)) < pair.sent for pair in pairs):
        if time.monotonic() > end_s:
            return  # the figures say what is missing
        await asyncio.sleep(0.02)
