"""slixmpp: log in (SCRAM), chat, receipts, offline, resume, archive, upload."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import slixmpp
from slixmpp.plugins.xep_0363 import http_upload

from tests.xmpp.clients.conftest import Place

PATIENCE_S = 30
PLUGINS = (
    "xep_0030",
    "xep_0054",
    "xep_0059",
    "xep_0184",
    "xep_0191",
    "xep_0198",
    "xep_0199",
    "xep_0280",
    "xep_0313",
    "xep_0333",
    "xep_0352",
    "xep_0363",
)


def jid(who: tuple[str, str]) -> slixmpp.JID:
    return slixmpp.JID(f"{who[0]}@localhost")


class Slix(slixmpp.ClientXMPP):
    def __init__(self, name: str, key: str, resource: str = "slix") -> None:
        super().__init__(f"{name}@localhost/{resource}", key)
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        self.receipts: asyncio.Queue[str] = asyncio.Queue()
        self.ready = asyncio.Event()
        self.resumed = asyncio.Event()
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        self.plugin["xep_0184"].auto_ack = True
        self.add_event_handler("session_start", self._start)
        self.add_event_handler("session_resumed", lambda _: self.resumed.set())
        self.add_event_handler("message", self.got.put_nowait)
        self.add_event_handler("receipt_received", lambda m: self.receipts.put_nowait(m["receipt"]))
        self.ssl_context = ssl.create_default_context()
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE

    async def _start(self, _: object) -> None:
        self.send_presence()
        await self.get_roster()
        self.ready.set()

    async def text(self) -> str:
        return str((await asyncio.wait_for(self.got.get(), PATIENCE_S))["body"])


@asynccontextmanager
async def client(place: Place, who: tuple[str, str], resource: str = "slix") -> AsyncIterator[Slix]:
    slix = Slix(*who, resource)
    slix.connect("127.0.0.1", place.port)
    await asyncio.wait_for(slix.ready.wait(), PATIENCE_S)
    try:
        yield slix
    finally:
        await slix.disconnect(wait=1)


async def test_slixmpp_chats_with_receipts(place: Place) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    async with client(place, alice) as a, client(place, bob) as b:
        for n in range(20):
            message = a.make_message(mto=jid(bob), mbody=f"{n} <ü>", mtype="chat")
            message["request_receipt"] = True
            message["id"] = f"m{n}"
            message.send()
        assert [await b.text() for _ in range(20)] == [f"{n} <ü>" for n in range(20)]
        async with asyncio.timeout(PATIENCE_S):
            told = [await a.receipts.get() for _ in range(20)]
        assert told == [f"m{n}" for n in range(20)]


async def test_slixmpp_gets_what_waited_and_resumes(place: Place) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    async with client(place, alice) as a:
        for n in range(10):
            a.send_message(mto=jid(bob), mbody=f"offline {n}", mtype="chat")
        async with client(place, bob) as b:
            assert [await b.text() for _ in range(10)] == [f"offline {n}" for n in range(10)]
            gone = asyncio.Event()
            b.add_event_handler("disconnected", lambda _: gone.set())
            assert b.transport is not None
            b.transport.abort()
            await asyncio.wait_for(gone.wait(), PATIENCE_S)
            b.connect("127.0.0.1", place.port)
            for n in range(10):
                a.send_message(mto=jid(bob), mbody=f"meanwhile {n}", mtype="chat")
            await asyncio.wait_for(b.resumed.wait(), PATIENCE_S)
            assert [await b.text() for _ in range(10)] == [f"meanwhile {n}" for n in range(10)]
            assert b.got.empty()


def trusting(**settings: Any) -> aiohttp.ClientSession:
    """slixmpp asks the authorities that the system trusts; our certificate signs itself."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False), **settings)


async def test_slixmpp_reads_the_archive_and_uploads(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    async with client(place, alice) as a, client(place, bob) as b:
        for n in range(12):
            a.send_message(mto=jid(bob), mbody=f"kept {n}", mtype="chat")
            await b.text()
        found = []
        async for result in b.plugin["xep_0313"].iterate(rsm={"max": 5}):
            found.append(result["mam_result"]["forwarded"]["message"]["body"])
        assert found == [f"kept {n}" for n in range(12)]
        service = await a.plugin["xep_0363"].find_upload_service(jid(alice))
        info = service or await a.plugin["xep_0363"].find_upload_service(slixmpp.JID("localhost"))
        assert info is not None
        assert str(info["from"]) == "upload.localhost"
        monkeypatch.setattr(http_upload, "ClientSession", trusting)
        url = await a.plugin["xep_0363"].upload_file(
            "a.txt", 7, "text/plain", input_file=io.BytesIO(b"a whale"), domain=info["from"]
        )
        a.send_message(mto=jid(bob), mbody=url, mtype="chat")
        async with trusting() as web, web.get(await b.text()) as answer:
            assert await answer.read() == b"a whale"


async def test_slixmpp_blocks_and_keeps_a_vcard(place: Place) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    async with client(place, alice) as a, client(place, bob) as b:
        card = a.plugin["xep_0054"].make_vcard()
        card["FN"] = "Alice"
        await a.plugin["xep_0054"].publish_vcard(card)
        got = await b.plugin["xep_0054"].get_vcard(jid(alice))
        assert got["vcard_temp"]["FN"] == "Alice"
        await a.plugin["xep_0191"].block({jid(bob)})
        blocked = await a.plugin["xep_0191"].get_blocked_jids()
        assert [str(each) for each in blocked] == [str(jid(bob))]
