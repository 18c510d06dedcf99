"""The kill test: the real server under load, killed with -9 at random moments, again and again.

`python -m tests.node.kill --rounds 30 --pairs 50` prints the table. The judge (Ledger) knows
only what clients saw: what was acknowledged, what was shown, and which marks were shown.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
import ssl
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench import accounts
from bench.raw import RawClient, client_context
from bench.server import Server
from whimbrel.protocol import wire

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(wire.Content).decode

WINDOW = 4
SETTLE_S = 60.0


def _same(client: RawClient) -> RawClient:
    return client


class Ledger:
    """What people saw. Checks the laws as it is written and once more at the end."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, list[tuple[int, int]]] = defaultdict(list)  # -> (c, id)
        self.shown: dict[str, list[int]] = defaultdict(list)  # sender -> numbers in its text
        self.shown_ids: dict[str, set[int]] = defaultdict(set)
        self.confirmed_ids: dict[str, int] = defaultdict(int)
        self.marked: dict[str, int] = defaultdict(int)
        self.lies: list[str] = []

    def count(self) -> int:
        return sum(len(each) for each in self.acknowledged.values())

    def verdict(self) -> dict[str, int]:
        """Every number but `acknowledged` must be 0."""
        lost = doubled = disordered = unmarked = 0
        for sender, sent in self.acknowledged.items():
            shown = self.shown[sender]
            lost += len({c for c, _ in sent} - set(shown))
            doubled += len(shown) - len(set(shown))
            disordered += sum(1 for a, b in itertools.pairwise(shown) if b < a)
            unmarked += sum(1 for _, id in sent if id > self.marked[sender])
        return {
            "acknowledged": self.count(),
            "lost": lost,
            "shown_twice": doubled,
            "out_of_order": disordered,
            "second_mark_missing": unmarked,
            "marks_that_lie": len(self.lies),
        }


class Person:
    """A client that behaves: keeps what it must, and comes back by itself."""

    def __init__(self, ledger: Ledger, n: int, peer: str, sends: bool) -> None:
        self.ledger = ledger
        self.address = accounts.address_of(n)
        self.key = accounts.key_of(n)
        self.peer = peer
        self.sends = sends
        self.sending = sends
        self.last = 0
        self.era = 0
        self.next_c = 1
        self.unanswered: dict[int, msgspec.Raw] = {}
        self.waiting: set[int] = set()  # ids without second mark
        self.client: RawClient | None = None
        self.stop = False

    def make_client(self, context: ssl.SSLContext) -> RawClient:
        return RawClient(self.address, self.key, 1, context, self.on_batch)

    async def live(self, where: int | Callable[[], int], context: ssl.SSLContext) -> None:
        """Connect, and connect again, until told to stop. where: a port, or where to find one."""
        while not self.stop:
            client = self.make_client(context)
            client.last, client.era = self.last, self.era
            self.client = client
            port = where if isinstance(where, int) else where()
            try:
                await client.loop.create_connection(partial(_same, client), "127.0.0.1", port)
                welcome = await asyncio.wait_for(asyncio.shield(client.welcome), 20)
            except (OSError, TimeoutError, ssl.SSLError):
                client.welcome.cancel()
                client.close()
                await asyncio.sleep(random.random() * 0.2)
                continue
            self.on_welcome(client, welcome)
            await client.closed

    def on_welcome(self, client: RawClient, welcome: wire.Welcome) -> None:
        self.era = welcome.era
        self.next_c = max(self.next_c, welcome.submitted + 1)
        if self.last > welcome.confirmed:
            client.send(wire.Confirm(self.last))
        for c, body in self.unanswered.items():
            client.send(wire.Submit(c, self.peer, body))
        self.fill(client)
        client.flush()

    def fill(self, client: RawClient) -> None:
        while self.sending and len(self.unanswered) + len(self.waiting) < WINDOW:
            c = self.next_c
            self.next_c = c + 1
            body = msgspec.Raw(_pack(wire.Content(text=f"{self.address} {c}")))
            self.unanswered[c] = body
            client.send(wire.Submit(c, self.peer, body))

    def on_batch(self, client: RawClient, messages: list[Any]) -> None:
        if client is not self.client:
            return
        confirm = 0
        for message in messages:
            if isinstance(message, wire.Stored):
                if self.unanswered.pop(message.c, None) is not None:
                    self.ledger.acknowledged[self.address].append((message.c, message.id))
                    if message.id > self.ledger.marked[self.address]:
                        self.waiting.add(message.id)
            elif isinstance(message, wire.Message):
                if message.q > self.last:
                    assert message.prev <= self.last, "a gap"
                    self.last = confirm = message.q
                    self.show(message)
            elif isinstance(message, wire.Receipt):
                if message.q > self.last:
                    self.last = confirm = message.q
                    self.mark(message.delivered)
            elif isinstance(message, wire.Ping):
                client.send(wire.Pong(message.n))
            elif isinstance(message, wire.Refused | wire.Replaced | wire.Failed | wire.Trimmed):
                self.ledger.lies.append(f"{self.address} heard {message}")
        if confirm:
            client.send(wire.Confirm(confirm))
        self.fill(client)

    def unpack(self, body: bytes) -> wire.Content:
        return _unpack(body)

    def show(self, message: wire.Message) -> None:
        text = self.unpack(bytes(message.body)).text
        sender, _, c = text.partition(" ")
        self.ledger.shown[sender].append(int(c))
        self.ledger.shown_ids[sender].add(message.id)

    def mark(self, delivered: int) -> None:
        """Two marks: everything acknowledged up to here must have been shown to the peer."""
        ledger = self.ledger
        for c, id in ledger.acknowledged[self.address]:
            new = ledger.marked[self.address] < id <= delivered
            if new and id not in ledger.shown_ids[self.address]:
                ledger.lies.append(f"two marks for {self.address} {c}, which nobody saw")
        ledger.marked[self.address] = max(ledger.marked[self.address], delivered)
        self.waiting = {id for id in self.waiting if id > delivered}


def kill(server: Server) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()


async def run(rounds: int, pairs: int, seed: int, round_s: tuple[float, float]) -> dict[str, int]:
    """Returns the verdict. Restarts use the same folder and port."""
    chance = random.Random(seed)
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="whimbrel-kill-") as name:
        server = Server(Path(name))
        accounts.create(server.data, 2 * pairs)
        await asyncio.to_thread(server.start)
        port = int(server.ready["native"])
        server.native_port = port
        context = client_context()
        people = [
            Person(ledger, n, accounts.address_of((n + pairs) % (2 * pairs)), n < pairs)
            for n in range(2 * pairs)
        ]
        tasks = [asyncio.create_task(person.live(port, context)) for person in people]
        try:
            for number in range(rounds):
                await asyncio.sleep(chance.uniform(*round_s))
                kill(server)
                await asyncio.to_thread(server.start)
                if sys.stdout.isatty():
                    print(f"round {number + 1}: {ledger.count()} acknowledged", flush=True)
            for person in people:
                person.sending = False
            end = time.monotonic() + SETTLE_S
            while time.monotonic() < end and any(p.unanswered or p.waiting for p in people):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        finally:
            for person in people:
                person.stop = True
                if person.client is not None:
                    person.client.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(server.stop)
    for lie in ledger.lies[:5]:
        print(lie)
    return ledger.verdict()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    verdict = asyncio.run(run(options.rounds, options.pairs, options.seed, (0.3, 1.5)))
    print(f"{options.rounds} rounds of kill -9, {options.pairs} pairs")
    for name, value in verdict.items():
        print(f"{name:>22} {value}")
    with contextlib.suppress(KeyError):
        verdict.pop("acknowledged")
    return 1 if any(verdict.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
