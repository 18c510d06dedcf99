"""Load: pairs of phones that talk. Each figure counts a message when its second check mark
has come back, durable on both sides.
"""

import asyncio
import ssl
import time
from typing import Any

import msgspec

from bench.accounts import address_of, key_of
from bench.raw import OnBatch, RawClient, connect
from whimbrel.protocol import wire

_pack = msgspec.msgpack.Encoder().encode
BODY = msgspec.Raw(_pack(wire.Content(text="a message of some 20")))


class Talk:
    """One direction of a pair: who sends keeps `window` messages without second mark."""

    __slots__ = ("done", "latencies", "running", "sender", "sent", "started", "times", "to")

    def __init__(self, to: str) -> None:
        self.to = to
        self.sender: RawClient | None = None
        self.times: dict[int, float] = {}  # c -> when
        self.started: dict[int, float] = {}  # id -> when
        self.done = 0
        self.sent = 0
        self.latencies: list[float] = []
        self.running = False

    def send(self, due: float = 0.0) -> None:
        """`due`: when it should have been sent, if a late generator must not hide delay."""
        assert self.sender is not None
        c = self.sender.submit(self.to, BODY)
        self.times[c] = due or time.perf_counter()
        self.sent += 1


def on_sender(client: RawClient, messages: list[Any]) -> None:
    """Stored gives the id; Receipt completes all ids up to its mark."""
    talk: Talk = client.state
    confirm = 0
    for message in messages:
        kind = type(message)
        if kind is wire.Stored:
            talk.started[message.id] = talk.times.pop(message.c)
        elif kind is wire.Receipt:
            confirm = client.last = message.q
            now = time.perf_counter()
            started = talk.started
            for id in [id for id in started if id <= message.delivered]:
                talk.latencies.append(now - started.pop(id))
                talk.done += 1
                if talk.running:
                    talk.send()
        elif kind is wire.Ping:
            client.send(wire.Pong(message.n))
        elif kind is wire.Refused or kind is wire.Error:
            raise RuntimeError(f"refused: {message}")
    if confirm:
        client.send(wire.Confirm(confirm))


def on_receiver(client: RawClient, messages: list[Any]) -> None:
    last = 0
    for message in messages:
        kind = type(message)
        if kind is wire.Message:
            last = message.q
        elif kind is wire.Ping:
            client.send(wire.Pong(message.n))
    if last:
        client.last = last
        client.send(wire.Confirm(last))


def ignore(client: RawClient, messages: list[Any]) -> None:
    for message in messages:
        if type(message) is wire.Ping:
            client.send(wire.Pong(message.n))


def client_of(
    n: int,
    context: ssl.SSLContext | None,
    on_batch: OnBatch,
    client: type[RawClient] = RawClient,
) -> RawClient:
    """The phone of account n."""
    return client(address_of(n), key_of(n), 1, context, on_batch)


async def connect_to(client: RawClient, port: int) -> RawClient:
    return await connect(client, "127.0.0.1", port)


async def log_in(
    first: int,
    count: int,
    port: int,
    context: ssl.SSLContext | None,
    on_batch: OnBatch,
    at_once: int = 50,
    client: type[RawClient] = RawClient,
) -> list[RawClient]:
    clients: list[RawClient] = []
    for start in range(first, first + count, at_once):
        batch = [
            connect_to(client_of(n, context, on_batch, client), port)
            for n in range(start, min(start + at_once, first + count))
        ]
        clients += await asyncio.gather(*batch)
    return clients


async def pairs(
    count: int,
    port: int,
    context: ssl.SSLContext | None,
    first: int = 0,
    client: type[RawClient] = RawClient,
) -> list[Talk]:
    """Connect `count` pairs: accounts first.. send, the next `count` receive."""
    receivers = await log_in(first + count, count, port, context, on_receiver, client=client)
    senders = await log_in(first, count, port, context, on_sender, client=client)
    talks = []
    for sender, receiver in zip(senders, receivers, strict=True):
        talk = Talk(receiver.account)
        talk.sender = sender
        sender.state = talk
        talks.append(talk)
    return talks


async def closed_loop(talks: list[Talk], window: int, seconds: float) -> None:
    """Everybody keeps `window` messages under way."""
    for talk in talks:
        talk.running = True
        for _ in range(window):
            talk.send()
        assert talk.sender is not None
        talk.sender.flush()
    await asyncio.sleep(seconds)


async def finish(talks: list[Talk], seconds: float = 30.0) -> None:
    """Stop sending; wait until nothing is under way."""
    for talk in talks:
        talk.running = False
    end = time.monotonic() + seconds
    while any(talk.times or talk.started for talk in talks):
        if time.monotonic() > end:
            raise RuntimeError("messages without second mark after the run")
        await asyncio.sleep(0.01)


async def open_loop(talks: list[Talk], per_s: float, seconds: float) -> None:
    """Messages at fixed times, whatever comes back; a late one counts from its due time."""
    start = time.perf_counter()
    for n in range(int(per_s * seconds)):
        due = start + n / per_s
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        talk = talks[n % len(talks)]
        talk.send(due)
        assert talk.sender is not None
        talk.sender.flush()


def percentile(values: list[float], part: float) -> float:
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
