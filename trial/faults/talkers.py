"""People who type a message every 0.2 s, whether the world is whole or not, and what they saw.

Each behaves as the project's own client does: 64 unanswered messages under way, the others wait
at the client; a lost connection is tried again at once, then with growing waits; a connection
that is merely silent is believed for 75 s. The judge is that of the kill test.
Law: the outage of a person is the longest time from typing to the first check mark.
"""

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from bench import accounts
from bench.raw import RawClient
from tests.node.kill import Ledger
from trial.faults.doors import Doors
from trial.nodes import TrialNode
from whimbrel.client.outbox import RETRY_CODES
from whimbrel.client.reconnect import CONNECT_TIMEOUT_S, LASTED_S, Backoff
from whimbrel.protocol import wire

EVERY_S = 0.2
AGAIN_S = 0.25
OPEN_MAX = 64  # unanswered; the server reads no further
SILENT_S_MAX = 75.0  # a ping after 60 s, 15 s for its answer

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(wire.Content).decode


def _same(client: RawClient) -> RawClient:
    return client


class Talker:
    """live() and talk() run as tasks. `node`: where the connection is, None without one."""

    def __init__(self, ledger: Ledger, n: int, peer: int, doors: Doors) -> None:
        self.ledger = ledger
        self.address = accounts.address_of(n)
        self.peer = accounts.address_of(peer)
        self.doors = doors
        self.home: TrialNode | None = None  # where the next connection goes, once
        self.node: TrialNode | None = None
        self.talking = False
        self.worst_s = 0.0  # since begin_window()
        self.unmarked: dict[int, int] = {}  # id -> c, acknowledged, second mark not seen
        self._key = accounts.key_of(n)
        self._typed: deque[float] = deque()  # not submitted yet: when they were typed
        self._open: dict[int, tuple[float, msgspec.Raw]] = {}  # c -> typed, body
        self._last = self._era = 0
        self._next_c = 1
        self._client: RawClient | None = None
        self._attempt = 0
        self._hold_off_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._heard_at = 0.0
        self._repeats = False

    # ---- what the runner asks --------------------------------------------------------------

    def begin_window(self) -> None:
        self.worst_s = 0.0

    def oldest(self) -> float:
        """When the oldest message was typed that has no check mark; now, if all have."""
        for typed, _ in self._open.values():
            return typed
        return self._typed[0] if self._typed else self._loop.time()

    def is_quiet(self) -> bool:
        """Everything has both marks."""
        return not (self._typed or self._open or self.unmarked)

    def go_to(self, node: TrialNode) -> None:
        """Connect there, from wherever the connection is."""
        if self.node is not node:
            self.home = node
            self._attempt = 0
            self.leave()

    def leave(self) -> None:
        if self._client is not None:
            self._client.close()

    # ---- typing ------------------------------------------------------------------------------

    async def talk(self) -> None:
        due = self._loop.time() + random.random() * EVERY_S
        while True:
            await asyncio.sleep(due - self._loop.time())
            if self.talking:
                self._typed.append(due)  # when it was due: a late generator hides nothing
                self._submit()
            due += EVERY_S

    def _submit(self) -> None:
        if self._client is None or self.node is None:
            return
        while self._typed and len(self._open) < OPEN_MAX:
            c = self._next_c
            self._next_c = c + 1
            body = msgspec.Raw(_pack(wire.Content(text=f"{self.address} {c}")))
            self._open[c] = (self._typed.popleft(), body)
            self._client.send(wire.Submit(c, self.peer, body))
        self._client.flush()

    # ---- staying connected -------------------------------------------------------------------

    async def live(self, context: ssl.SSLContext) -> None:
        backoff = Backoff()
        while True:
            if await self._connect(context):
                welcomed_at = self._loop.time()
                await self._until_closed()
                if self._loop.time() - welcomed_at >= LASTED_S:
                    self._attempt = 0
            self.node = self._client = None
            wait_s = backoff.delay_s(self._attempt - 1) if self._attempt else 0.0
            if self._hold_off_s:
                wait_s = max(wait_s, self._hold_off_s + random.random())
                self._hold_off_s = 0.0
            self._attempt += 1
            await asyncio.sleep(wait_s)

    async def _connect(self, context: ssl.SSLContext) -> bool:
        client = RawClient(self.address, self._key, 1, context, self._on_batch)
        client.last, client.era = self._last, self._era
        first, self.home = self.home or self.doors.pick(), None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                node = await self._reach(client, first)
                welcome = await asyncio.shield(client.welcome)
        except (OSError, TimeoutError, ssl.SSLError):
            return False
        finally:
            if not self._is_welcomed(client):
                client.welcome.cancel()
                client.close()
        self._client, self.node = client, node
        self._on_welcome(client, welcome)
        return True

    def _is_welcomed(self, client: RawClient) -> bool:
        told = client.welcome
        return told.done() and not told.cancelled() and told.exception() is None

    async def _reach(self, client: RawClient, node: TrialNode) -> TrialNode:
        """A balancer goes on to another node when one refuses the connection."""
        for _ in self.doors.nodes:
            with contextlib.suppress(ConnectionRefusedError):
                await self._loop.create_connection(
                    partial(_same, client), node.host, int(node.ready["native"])
                )
                return node
            node = self.doors.nodes[(self.doors.nodes.index(node) + 1) % len(self.doors.nodes)]
        raise ConnectionRefusedError("no node takes connections")

    async def _until_closed(self) -> None:
        assert self._client is not None
        while not self._client.closed.done():
            await asyncio.wait([self._client.closed], timeout=5.0)
            if self._loop.time() - self._heard_at > SILENT_S_MAX:
                self._client.close()

    # ---- the protocol ------------------------------------------------------------------------

    def _on_welcome(self, client: RawClient, welcome: wire.Welcome) -> None:
        self._heard_at = self._loop.time()
        self._era = welcome.era
        self._next_c = max(self._next_c, welcome.submitted + 1)
        if self._last > welcome.confirmed:
            client.send(wire.Confirm(self._last))
        for c, (_, body) in self._open.items():
            client.send(wire.Submit(c, self.peer, body))
        self._submit()
        client.flush()

    def _on_batch(self, client: RawClient, messages: list[Any]) -> None:
        self._heard_at = self._loop.time()
        before = self._last
        for message in messages:
            if isinstance(message, wire.Stored):
                self._stored(message)
            elif isinstance(message, wire.Message | wire.Receipt):
                self._item(message)
            elif isinstance(message, wire.Ping):
                client.send(wire.Pong(message.n))
            elif isinstance(message, wire.Error):
                self._hold_off_s = float(message.retry_after)
            elif isinstance(message, wire.Refused) and message.code in (*RETRY_CODES, "gap"):
                self._repeat_soon(max(AGAIN_S, float(message.retry_after)))
            elif isinstance(message, wire.Refused | wire.Replaced | wire.Failed | wire.Trimmed):
                self.ledger.lies.append(f"{self.address} heard {message}")
        if self._last > before:
            client.send(wire.Confirm(self._last))
        if client is self._client:
            self._submit()

    def _repeat_soon(self, wait_s: float) -> None:
        """Not taken now, or a number before it is missing there: all of it again, in order."""
        if not self._repeats:
            self._repeats = True
            self._loop.call_later(wait_s, self._repeat)

    def _repeat(self) -> None:
        self._repeats = False
        if self._client is not None and self.node is not None:
            for c, (_, body) in self._open.items():
                self._client.send(wire.Submit(c, self.peer, body))
            self._client.flush()

    def _stored(self, stored: wire.Stored) -> None:
        found = self._open.pop(stored.c, None)
        if found is None:
            return
        self.worst_s = max(self.worst_s, self._loop.time() - found[0])
        self.ledger.acknowledged[self.address].append((stored.c, stored.id))
        if stored.id > self.ledger.marked[self.address]:
            self.unmarked[stored.id] = stored.c
        else:
            self._check(stored.id, stored.c)

    def _item(self, item: wire.Message | wire.Receipt) -> None:
        if item.q <= self._last:
            return
        if item.prev > self._last:
            self.ledger.lies.append(f"{self.address} was shown a gap")
        self._last = item.q
        if isinstance(item, wire.Message):
            sender, _, c = _unpack(bytes(item.body)).text.partition(" ")
            self.ledger.shown[sender].append(int(c))
            self.ledger.shown_ids[sender].add(item.id)
            return
        marked = self.ledger.marked
        marked[self.address] = max(marked[self.address], item.delivered)
        for id in [id for id in self.unmarked if id <= item.delivered]:
            self._check(id, self.unmarked.pop(id))

    def _check(self, id: int, c: int) -> None:
        """Two marks mean: the other one has seen it."""
        if id not in self.ledger.shown_ids[self.address]:
            self.ledger.lies.append(f"two marks for {self.address} {c}, which nobody saw")


class Town:
    """Pairs who talk to each other, both ways. `async with` connects them."""

    def __init__(self, doors: Doors, pairs: int) -> None:
        self.ledger = Ledger()
        self.doors = doors
        self.people = [
            Talker(self.ledger, n, (n + pairs) % (2 * pairs), doors) for n in range(2 * pairs)
        ]
        self.by_address = {person.address: person for person in self.people}
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, context: ssl.SSLContext) -> None:
        for person in self.people:
            self._tasks.append(asyncio.create_task(person.live(context)))
            self._tasks.append(asyncio.create_task(person.talk()))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for person in self.people:
            person.leave()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def peer(self, person: Talker) -> Talker:
        return self.by_address[person.peer]

    def talk(self, on: bool) -> None:
        for person in self.people:
            person.talking = on

    def died(self) -> BaseException | None:
        """The first mistake of our own, if any."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None


def by_place(
    people: Sequence[Talker], owner: dict[str, TrialNode | None], hit: Sequence[TrialNode]
) -> tuple[set[str], set[str]]:
    """(its users, the others), by address. Its users: accounts that a node which is hit owns, or
    whose connection it holds. The others: neither they nor whom they talk to.
    """
    its = {p.address for p in people if p.node in hit or owner[p.address] in hit}
    others = {p.address for p in people if p.address not in its and p.peer not in its}
    return its, others
