"""Messages for people who are away: what it costs to keep them, and to hand them over."""

import asyncio
import time

from bench.meter import Meter
from bench.xmpp import chat
from bench.xmpp.peers import Peer
from bench.xmpp.raw import ACK, XmppRaw, client_context

AWAY = 50
EACH = 100


class _Sender:
    def __init__(self) -> None:
        self.acked = 0


def on_sender(client: XmppRaw, data: bytes) -> None:
    """Stream management tells when everything was taken."""
    found = ACK.findall(data)
    if found:
        client.state.acked = int(found[-1])


def on_receiver(client: XmppRaw, data: bytes) -> None:
    client.state = (client.state or 0) + data.count(b"<body>")


async def offline(peer: Peer) -> dict[str, float]:
    """CPU to store a message for somebody away, and to deliver it at the next login."""
    context = client_context()
    first = 800
    senders = await chat.log_in(peer, 0, AWAY, context, on_sender)
    for sender in senders:
        sender.state = _Sender()
    await asyncio.sleep(0.5)
    meter = Meter(peer.pid)
    for n in range(EACH):
        for index, sender in enumerate(senders):
            name, _ = peer.user(first + index)
            sender.send(
                f"<message to='{name}@localhost' type='chat' id='o{n}'>"
                f"<body>{chat.TEXT}</body></message>"
            )
        if n % 10 == 9:
            for sender in senders:
                sender.send("<r xmlns='urn:xmpp:sm:3'/>")
        for sender in senders:
            sender.flush()
        await asyncio.sleep(0.005)
    for sender in senders:
        sender.send("<r xmlns='urn:xmpp:sm:3'/>")
        sender.flush()
    end = time.monotonic() + 30
    while any(s.state.acked < EACH for s in senders) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    stored = meter.read()
    await asyncio.sleep(1)
    # Logging in costs what it costs without messages: measured, and taken off.
    empty = Meter(peer.pid)
    others = await chat.log_in(peer, first + AWAY, AWAY, context, on_receiver)
    nothing = empty.read()
    meter = Meter(peer.pid)
    receivers = await chat.log_in(peer, first, AWAY, context, on_receiver)
    end = time.monotonic() + 30
    while any((r.state or 0) < EACH for r in receivers) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    delivered = meter.read()
    got = sum(r.state or 0 for r in receivers)
    for client in (*senders, *receivers, *others):
        client.close()
    total = AWAY * EACH
    return {
        "offline_store_cpu_us": stored.per(total),
        "offline_deliver_cpu_us": (delivered.server_s - nothing.server_s) / total * 1e6,
        "offline_delivered_percent": 100 * got / total,
    }
