"""Mailing: a sender that works through a list of recipients with a window of open submits,
and a recipient that collects. Nobody answers; the offline, backlog and waking scenarios use it.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from bench import load
from bench.load import BODY
from bench.raw import RawClient
from bench.server import Server
from bench.waiting import until
from whimbrel.protocol import wire


class Mailer:
    """Sends one message to each address of its list; `stored` counts first check marks."""

    __slots__ = ("_at", "client", "delivered", "last_id", "stored", "to")

    def __init__(self, to: Sequence[str], client: RawClient) -> None:
        self.to = to
        self.client = client
        self.stored = 0
        self.delivered = 0  # highest id with a second check mark
        self.last_id = 0  # the id of the last message stored
        self._at = 0
        client.state = self

    def start(self, window: int) -> None:
        for _ in range(window):
            self._send()
        self.client.flush()

    def _send(self) -> None:
        if self._at < len(self.to):
            self.client.submit(self.to[self._at], BODY)
            self._at += 1

    @property
    def done(self) -> bool:
        return self.stored == len(self.to)

    def on_stored(self, id: int) -> None:
        self.stored += 1
        self.last_id = id
        self._send()


def on_mailer(client: RawClient, messages: list[Any]) -> None:
    mailer: Mailer = client.state
    confirm = 0
    for message in messages:
        kind = type(message)
        if kind is wire.Stored:
            mailer.on_stored(message.id)
        elif kind is wire.Receipt:
            confirm = client.last = message.q
            mailer.delivered = max(mailer.delivered, message.delivered)
        elif kind is wire.Ping:
            client.send(wire.Pong(message.n))
        elif kind is wire.Refused or kind is wire.Error:
            raise RuntimeError(f"refused: {message}")
    if confirm:
        client.send(wire.Confirm(confirm))


class Collector:
    """Counts what arrives and confirms it; raises on a gap, so that no figure hides a loss."""

    __slots__ = ("received",)

    def __init__(self) -> None:
        self.received = 0


def on_collector(client: RawClient, messages: list[Any]) -> None:
    collector: Collector = client.state
    last = 0
    for message in messages:
        kind = type(message)
        if kind is wire.Message:
            if message.prev != client.last:
                raise RuntimeError(f"a gap: {client.last} is followed by {message.prev}")
            client.last = last = message.q
            collector.received += 1
        elif kind is wire.Ping:
            client.send(wire.Pong(message.n))
        elif kind is wire.Trimmed or kind is wire.Error:
            raise RuntimeError(f"lost: {message}")
    if last:
        client.send(wire.Confirm(last))


async def mailers(
    lists: Sequence[Sequence[str]], first: int, port: int, context: ssl.SSLContext | None
) -> list[Mailer]:
    """One mailer for each list, from account `first` on."""
    clients = await load.log_in(first, len(lists), port, context, on_mailer)
    return [Mailer(to, client) for to, client in zip(lists, clients, strict=True)]


async def collectors(
    count: int, first: int, port: int, context: ssl.SSLContext | None
) -> list[RawClient]:
    """The welcome may come with the first items: the state must be there before."""
    clients = []
    for start in range(first, first + count, 50):
        fresh = []
        for n in range(start, min(start + 50, first + count)):
            client = load.client_of(n, context, on_collector)
            client.state = Collector()
            fresh.append(client)
        clients += await asyncio.gather(*(load.connect_to(client, port) for client in fresh))
    return clients


async def sent_to_inboxes(
    senders: Sequence[Mailer], server: Server, total: int, window: int, seconds: float
) -> None:
    """Start all senders; wait until `total` messages are in the inboxes of the recipients.

    A first mark is not enough: it says that the sender's side holds the message.
    """
    for sender in senders:
        sender.start(window)
    await until(lambda: all(sender.done for sender in senders), seconds, "first marks")
    await until(lambda: server.in_inboxes() >= total, seconds, "messages in inboxes", 0.1)
