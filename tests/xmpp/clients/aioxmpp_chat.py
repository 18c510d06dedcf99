"""aioxmpp (of the system's Python): prints what it hears.

Arguments: port, name, key, whom it greets. It ends when it hears "bye".
"""

import asyncio
import sys

import aioxmpp
import aioxmpp.connector
import aioxmpp.dispatcher


async def main(port: str, name: str, key: str, peer: str) -> None:
    client = aioxmpp.PresenceManagedClient(
        aioxmpp.JID.fromstr(f"{name}@localhost/aio"),
        aioxmpp.make_security_layer(key, no_verify=True),
        override_peer=[("127.0.0.1", int(port), aioxmpp.connector.STARTTLSConnector())],
    )
    client.backoff_start = client.backoff_start / 10
    over = asyncio.Event()

    def resumed() -> None:
        print("resumed", flush=True)

    def heard(message: aioxmpp.Message) -> None:
        text = message.body.any() if message.body else ""
        if text:
            print("heard", text, flush=True)
        if text == "bye":
            over.set()

    client.on_stream_resumed.connect(resumed)
    talk = client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
    talk.register_callback(aioxmpp.MessageType.CHAT, None, heard)
    async with client.connected():
        print("online", "resumable" if client.stream.sm_resumable else "plain", flush=True)
        message = aioxmpp.Message(
            to=aioxmpp.JID.fromstr(f"{peer}@localhost"), type_=aioxmpp.MessageType.CHAT
        )
        message.body[None] = "hello from aioxmpp"
        await client.send(message)
        await over.wait()


asyncio.run(main(*sys.argv[1:5]))
