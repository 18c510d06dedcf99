"""`whimbrel serve --demo`: somebody is there, also after a restart, and nobody is pushed aside."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from whimbrel.client import Client, Content, Pinned
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Register
from whimbrel.edge.http.keys import new_key
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen
from whimbrel.node.demo import FILE, Demo
from whimbrel.node.samples import NO_PROBE

PATIENCE_S = 20
CONFIG = Config(
    probe=NO_PROBE,
    listen=Listen(
        host="127.0.0.1", native=0, native_plain=-1, https=-1, http=-1, xmpp=-1, xmpp_tls=-1
    ),
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.node.demo.THINKS_S", 0.0)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Node]:
    node = Node(CONFIG, folder)
    await node.start()
    demo = Demo(node)
    await demo.start()
    yield node
    await demo.stop()
    await node.stop()


@asynccontextmanager
async def visitor(node: Node, name: str) -> AsyncIterator[Client]:
    key, hashed = new_key()
    await node.asking.ask(account_number(name), lambda reply: Register(name, hashed, "", reply))
    trust = Pinned(node.certificate.fingerprint)
    async with Client(name, 1, key, "127.0.0.1", node.ports["native"], trust=trust) as client:
        yield client


async def asked(client: Client, whom: str, text: str) -> Content:
    sent = await client.send(whom, text)
    async with asyncio.timeout(PATIENCE_S):
        await sent.read
        message = await anext(client.messages())
    client.messages().handled()
    assert message.sender == whom
    return message.content


async def test_wren_guides_and_echo_agrees(tmp_path: Path) -> None:
    async with running(tmp_path) as node, visitor(node, "guest") as guest:
        assert node.company == ["wren", "echo"]
        assert "two checks" in (await asked(guest, "wren", "Hi there")).text.lower()
        assert "fsync" in (await asked(guest, "wren", "what is a mark?")).text
        assert (await asked(guest, "echo", "You are right!")).text == "You are right!"


async def test_wren_sends_a_photo_that_can_be_downloaded(tmp_path: Path) -> None:
    async with running(tmp_path) as node, visitor(node, "guest") as guest:
        media = (await asked(guest, "wren", "a photo please")).media
        assert media is not None
        assert media.thumbnail
        assert (media.width, media.height) == (1_200, 800)
        assert node.media is not None
        id, name = media.link.split("/")[2:]
        assert (await node.media.find(id, name)).facts.size == media.size


async def test_they_are_the_same_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path):
        keys = json.loads((tmp_path / FILE).read_text())
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    async with running(tmp_path) as node, visitor(node, "guest") as guest:
        assert json.loads((tmp_path / FILE).read_text()) == keys
        assert (await asked(guest, "echo", "again")).text == "again"


async def test_an_account_that_somebody_made_is_left_alone(tmp_path: Path) -> None:
    node = Node(CONFIG, tmp_path)
    await node.start()
    async with visitor(node, "wren"):
        pass
    await node.stop()
    async with running(tmp_path) as node:
        assert node.company == ["echo"]
