"""The client's file: what it keeps, who may read it, who may open it."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.client.conftest import MakeClient
from tests.client.fake_server import FakeServer, text_body
from tests.client.test_receiving import message, texts, wait_for
from whimbrel.client.errors import AlreadyOpen, StoreFailed
from whimbrel.client.sqlite_store import SqliteClientStore
from whimbrel.client.store import ClientStore, MemoryClientStore
from whimbrel.client.words import DELIVERED, FAILED, QUEUED, READ, STORED, CaughtUp, read_content
from whimbrel.protocol import wire


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ClientStore:
    if request.param == "memory":
        return MemoryClientStore()
    return SqliteClientStore(tmp_path / "alice.db")


def reopened(store: ClientStore, folder: Path) -> ClientStore:
    return store if isinstance(store, MemoryClientStore) else SqliteClientStore(folder / "alice.db")


async def test_everything_survives_a_restart(
    server: FakeServer, make_client: MakeClient, store: ClientStore, tmp_path: Path
) -> None:
    async with make_client(store=store) as client:
        events = client.events()
        peer = await server.accept()
        peer.welcome(era=3)
        sent = [await client.send("bob", f"mine {i}") for i in range(5)]
        for _ in sent:
            await peer.next(wire.Submit)
        peer.say(*(wire.Stored(c, 2_000 + c) for c in (1, 2, 3, 4)))
        peer.say(
            wire.Failed(0, 1, "bob", 1, 3, 2_003, "expired"),
            wire.Receipt(1, 2, "bob", 2_003, 2_001),
            message(2, 3, "theirs 1"),
            message(3, 4, "theirs 2"),
            wire.Copy(4, 5, "carol", 3_000, 2, 1, text_body("from my tablet")),
            wire.EndOfQueue(5),
        )
        await wait_for(events, CaughtUp)
        assert await texts(client, 2) == ["theirs 1", "theirs 2"]
        client.read("bob", 1_003)
    again = reopened(store, tmp_path)
    async with make_client(store=again) as client:
        peer = await server.accept()
        assert (peer.hello.last, peer.hello.era) == (5, 3)
        peer.welcome(era=3, submitted=4)
        submit = await peer.next(wire.Submit)
        assert (submit.c, bytes(submit.body)) == (5, bytes(text_body("mine 4")))
        assert (await peer.next(wire.Confirm)).q == 3  # it may have been lost: said again
        assert await peer.next(wire.Read) == wire.Read("bob", 1_003)
        assert await texts(client, 1) == ["theirs 2"]
        assert (await client.send("bob", "next")).c == 6
        lines = await again.history("bob")
        assert [(read_content(line.body).text, line.state) for line in lines[:7]] == [
            ("mine 0", READ),
            ("mine 1", DELIVERED),
            ("mine 2", FAILED),
            ("mine 3", STORED),
            ("mine 4", QUEUED),
            ("theirs 1", 0),
            ("theirs 2", 0),
        ]
        conversations = await again.conversations()
        assert {one.peer: one.unread for one in conversations} == {"bob": 1, "carol": 0}


async def test_registering_again_keeps_the_conversations_and_starts_the_numbers_anew(
    server: FakeServer, make_client: MakeClient, store: ClientStore, tmp_path: Path
) -> None:
    async with make_client(store=store) as client:
        peer = await server.accept()
        peer.welcome()
        for text in ("answered", "unanswered"):
            await client.send("bob", text)
            await peer.next(wire.Submit)
        peer.say(wire.Stored(1, 2_001))
        await peer.silent()
    again = reopened(store, tmp_path)
    client = make_client(store=again)
    client.device = client._outbox._device = 2
    async with client:
        peer = await server.accept()
        peer.welcome(submitted=0)
        assert (await client.send("bob", "new")).c == 1
        assert bytes((await peer.next(wire.Submit)).body) == bytes(text_body("new"))
        lines = await again.history("bob")
        assert [line.state for line in lines[:2]] == [STORED, FAILED]
        assert lines[1].code == "replaced"


async def test_history_is_read_in_pages_from_the_end(store: ClientStore) -> None:
    from whimbrel.client.store import AddSent

    await store.open(1)
    done = asyncio.Event()
    changes = [AddSent(key, 1, key, "bob", bytes(text_body(f"{key}")), key) for key in range(1, 11)]
    store.commit(changes, lambda error: done.set())
    await asyncio.wait_for(done.wait(), 5)
    newest = await store.history("bob", limit=3)
    assert [line.key for line in newest] == [8, 9, 10]
    assert [line.key for line in await store.history("bob", before=8, limit=3)] == [5, 6, 7]
    await store.close()


async def test_the_file_is_for_its_owner_only_and_for_one_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "alice.db"
    store = SqliteClientStore(path)
    await store.open(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = SqliteClientStore(path)
    with pytest.raises(AlreadyOpen, match="another terminal"):
        await second.open(1)
    await store.close()
    await second.open(1)
    await second.close()


async def test_a_store_that_cannot_write_ends_the_client_and_confirms_nothing(
    server: FakeServer, make_client: MakeClient, tmp_path: Path
) -> None:
    store = SqliteClientStore(tmp_path / "alice.db")

    def full(changes: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with make_client(store=store) as client:
        peer = await server.accept()
        peer.welcome()
        await client.online()
        store._commit = full  # type: ignore[method-assign]
        peer.say(message(0, 1, "one"))
        with pytest.raises(StoreFailed, match="disk is full"):
            await texts(client, 1)
        await peer.closed()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    store = SqliteClientStore(path)
    with pytest.raises(sqlite3.DatabaseError, match="newer version"):
        await store.open(1)
