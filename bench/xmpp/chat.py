"""Pairs that chat by XMPP. A message counts when its recipient has it (`plain`), or when its sender
has heard of that (`receipts`, XEP-0184)."""

import asyncio
import re
import ssl
import time

from bench.xmpp.peers import Peer
from bench.xmpp.raw import XmppRaw, connect

ID = re.compile(rb"<message [^>]*?\bid=['\"]([^'\"]+)['\"]")
TEXT = "a message of some 20"


class Talk:
    """`window` messages are under way."""

    __slots__ = ("done", "latencies", "n", "receipts", "receiver", "running", "sender", "started")

    def __init__(self, sender: XmppRaw, receiver: XmppRaw, receipts: bool) -> None:
        self.sender = sender
        self.receiver = receiver
        self.receipts = receipts
        self.n = 0
        self.done = 0
        self.running = False
        self.started: dict[bytes, float] = {}
        self.latencies: list[float] = []
        sender.state = receiver.state = self

    def send(self) -> None:
        self.n += 1
        id = b"m%d" % self.n
        self.started[id] = time.perf_counter()
        asks = "<request xmlns='urn:xmpp:receipts'/>" if self.receipts else ""
        self.sender.send(
            f"<message to='{self.receiver.jid}' type='chat' id='m{self.n}'>"
            f"<body>{TEXT}</body>{asks}</message>"
        )
        if self.sender.managed:
            self.sender.send("<r xmlns='urn:xmpp:sm:3'/>")

    def finished(self, id: bytes) -> None:
        started = self.started.pop(id, None)
        if started is None:
            return
        self.latencies.append(time.perf_counter() - started)
        self.done += 1
        if self.running:
            self.send()


def on_sender(client: XmppRaw, data: bytes) -> None:
    talk: Talk = client.state
    if talk is not None and talk.receipts and b"<received" in data:
        for id in re.findall(rb"<received[^>]*\bid=['\"]([^'\"]+)['\"]", data):
            talk.finished(id)


def on_receiver(client: XmppRaw, data: bytes) -> None:
    talk: Talk = client.state
    if talk is None or b"<body" not in data:
        return
    ids = ID.findall(data)
    if talk.receipts:
        for id in ids:
            client.send(
                f"<message to='{talk.sender.jid}' type='chat'>"
                f"<received xmlns='urn:xmpp:receipts' id='{id.decode()}'/></message>"
            )
    else:
        for id in ids:
            talk.finished(id)
        talk.sender.flush()


async def log_in(
    peer: Peer,
    first: int,
    count: int,
    context: ssl.SSLContext | None,
    on_data: object,
    *,
    at_once: int = 50,
    **how: bool,
) -> list[XmppRaw]:
    clients: list[XmppRaw] = []
    port = peer.port if context is not None else peer.plain_port
    for start in range(first, first + count, at_once):
        batch = [
            connect(XmppRaw(*peer.user(n), context, on_data, **how), port)  # type: ignore[arg-type]
            for n in range(start, min(start + at_once, first + count))
        ]
        clients += await asyncio.gather(*batch)
    return clients


async def register(peer: Peer, count: int, context: ssl.SSLContext) -> None:
    """Accounts made in band, a connection each."""
    if not peer.registers:
        return
    made = await log_in(peer, 0, count, context, _ignore, register=True, at_once=20)
    for client in made:
        client.close()
    await asyncio.gather(*(client.closed for client in made))


def _ignore(client: XmppRaw, data: bytes) -> None:
    """What comes is not looked at."""


async def pairs(
    peer: Peer, count: int, context: ssl.SSLContext | None, managed: bool, receipts: bool
) -> list[Talk]:
    receivers = await log_in(peer, count, count, context, on_receiver, managed=managed)
    senders = await log_in(peer, 0, count, context, on_sender, managed=managed)
    return [Talk(s, r, receipts) for s, r in zip(senders, receivers, strict=True)]


async def closed_loop(talks: list[Talk], window: int, seconds: float) -> None:
    for talk in talks:
        talk.running = True
        for _ in range(window):
            talk.send()
        talk.sender.flush()
    await asyncio.sleep(seconds)
    for talk in talks:
        talk.running = False


async def drain(talks: list[Talk]) -> None:
    end = time.monotonic() + 30
    while any(talk.started for talk in talks) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
