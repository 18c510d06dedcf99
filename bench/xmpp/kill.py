"""kill -9: messages whose stanza the server acknowledged (XEP-0198), and that never came."""

import asyncio
import re

from bench.xmpp import chat
from bench.xmpp.peers import Peer
from bench.xmpp.raw import ACK, XmppRaw, client_context

PAIRS = 20
TEXT_OF = re.compile(rb"<body>k(\d+)</body>")


def on_sender(client: XmppRaw, data: bytes) -> None:
    found = ACK.findall(data)
    if found:
        client.state["acked"] = int(found[-1])


def on_receiver(client: XmppRaw, data: bytes) -> None:
    client.state.update(int(n) for n in TEXT_OF.findall(data))


async def lost(peer: Peer) -> dict[str, float]:
    """For people who are away, so that the server is all that has them."""
    context = client_context()
    first = 600
    senders = await chat.log_in(peer, 500, PAIRS, context, on_sender)
    for sender in senders:
        sender.state = {"acked": 0}
    await asyncio.sleep(1)
    for sent in range(1, 61):
        for index, sender in enumerate(senders):
            name, _password = peer.user(first + index)
            sender.send(
                f"<message to='{name}@localhost' type='chat' id='k{sent}'>"
                f"<body>k{sent}</body></message><r xmlns='urn:xmpp:sm:3'/>"
            )
            sender.flush()
        await asyncio.sleep(0.01)
    peer.kill()
    await asyncio.sleep(0.5)
    # The presence at the beginning is a stanza too.
    promised = [max(0, sender.state["acked"] - 1) for sender in senders]
    peer.start()
    receivers = await chat.log_in(peer, first, PAIRS, context, on_receiver, present=False)
    for receiver in receivers:
        receiver.state = set()
        receiver.send("<presence/>")
        receiver.flush()
    await asyncio.sleep(4)
    missing = sum(
        len(set(range(1, count + 1)) - receiver.state)
        for count, receiver in zip(promised, receivers, strict=True)
    )
    for client in receivers:
        client.close()
    return {"kill9_acknowledged": float(sum(promised)), "kill9_lost": float(missing)}
