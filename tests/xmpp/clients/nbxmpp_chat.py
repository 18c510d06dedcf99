"""nbxmpp, Gajim's library (of the system's Python): prints what it hears, and connects again
when it has to; "archive" asks for the archive.

Arguments: port, name, key, whom it greets. It ends when it hears "bye".
"""

import ssl
import sys
import urllib.request
from typing import Any

from gi.repository import GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType, Mode
from nbxmpp.protocol import Message, Presence
from nbxmpp.structs import StanzaHandler

port, name, key, peer = sys.argv[1:5]
loop = GLib.MainLoop()
client = Client()
client.set_username(name)
client.set_domain("localhost")
client.set_resource("nb")
client.set_password(key)
client.set_mode(Mode.CLIENT)
client.set_ignore_tls_errors(True)
client.set_custom_host(f"127.0.0.1:{port}", ConnectionProtocol.TCP, ConnectionType.START_TLS)


def say(*words: object) -> None:
    print(*words, flush=True)


def on_connected(*_: Any) -> None:
    say("online")
    client.send_stanza(Presence())
    client.send_stanza(Message(to=f"{peer}@localhost", body="hello from nbxmpp", typ="chat"))


def on_slot(task: Any) -> None:
    """Gajim sends the file with an HTTP library of its own, too."""
    slot = task.finish()
    whole = ssl._create_unverified_context()
    put = urllib.request.Request(
        slot.put_uri, b"a fish", {"Content-Type": "text/plain", **slot.headers}, method="PUT"
    )
    with urllib.request.urlopen(put, context=whole) as done:
        say("put", done.status)
    with urllib.request.urlopen(slot.get_uri, context=whole) as got:
        say("got", got.read().decode())


def on_archive(task: Any) -> None:
    result = task.finish()
    say("archive", "complete" if result.complete else "part")


def on_message(_: Any, stanza: Any, properties: Any) -> None:
    if properties.is_mam_message:
        say("kept", properties.body)
        return
    if not properties.body:
        return
    say("heard", properties.body)
    if properties.body == "archive":
        client.get_module("MAM").make_query(None, queryid="q", max_=50, callback=on_archive)
    if properties.body == "upload":
        module = client.get_module("HTTPUpload")
        module.request_slot("upload.localhost", "a.txt", 6, "text/plain", callback=on_slot)
    if properties.body == "bye":
        loop.quit()


def on_disconnected(*_: Any) -> None:
    say("disconnected")
    client.connect()


def on_failed(*_: Any) -> None:
    say("failed")
    loop.quit()


def on_resumed(*_: Any) -> None:
    say("resumed")


client.subscribe("connected", on_connected)
client.subscribe("disconnected", on_disconnected)
client.subscribe("resume-successful", on_resumed)
client.subscribe("connection-failed", on_failed)
client.register_handler(StanzaHandler(name="message", callback=on_message, priority=50))
client.connect()
GLib.timeout_add_seconds(60, loop.quit)
loop.run()
