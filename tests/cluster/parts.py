"""Connections, stores and batches for races between two nodes on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import asyncpg

from whimbrel.cluster import table
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import SHARDS
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import Row
from whimbrel.domain.wants import Want
from whimbrel.storage.postgres.connections import connect
from whimbrel.storage.postgres.store import PostgresStore

WAIT_S_MAX = 20.0


async def eventually(condition: Callable[[], Awaitable[object]] | Callable[[], object]) -> None:
    """Wait for something that another process or task does. Fails instead of hanging."""
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


async def waits_for_a_lock(db: Any, pid: int) -> bool:
    """Does that backend wait for another one's lock?"""
    return bool(
        await db.fetchval(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1", pid
        )
    )


def in_shard(shard: int, n: int = 0) -> int:
    """An account that lives in the shard."""
    return (1 << 40) + n * SHARDS + shard


def batch_of(touched: Mapping[int, int], *rows: Row) -> Batch:
    """touched: account -> epoch of its shard."""
    batch = Batch(1)
    for row in rows:
        batch.add(row)
    batch.touched = dict(touched)
    return batch


class Owner:
    """A node's lease by hand: nothing is renewed unless a test says so."""

    def __init__(self, db: Any, me: table.Me) -> None:
        self.db = db
        self.me = me
        self.epochs: dict[int, int] = {}

    @classmethod
    async def claim(cls, url: str, identity: str, lease_s: float = 60.0) -> "Owner":
        db = await connect(url)
        return cls(db, await table.claim(db, identity, "", "", lease_s))

    async def take(self, shards: Iterable[int]) -> None:
        self.epochs.update(await table.take(self.db, self.me, sorted(shards)))

    async def retake(self) -> None:
        _, self.epochs = await table.retake(self.db, self.me)  # type: ignore[assignment]

    async def expire(self) -> None:
        """The lease is over on the database's clock, as if nothing had been renewed for long."""
        await self.db.execute(
            "UPDATE node SET expires = clock_timestamp() WHERE id = $1", self.me.number
        )


class Node:
    """A store with its owner's lease."""

    def __init__(self, url: str, store: PostgresStore, owner: Owner) -> None:
        self.url = url
        self.store = store
        self.owner = owner

    @classmethod
    async def start(cls, url: str, identity: str, shards: Iterable[int] = ()) -> "Node":
        owner = await Owner.claim(url, identity)
        store = PostgresStore(url, Limits(), owner, pace_s=0)
        await store.open()
        if shards:
            await owner.take(shards)
        return cls(url, store, owner)

    def touched(self, *accounts: int) -> dict[int, int]:
        return {account: self.owner.epochs[account % SHARDS] for account in accounts}

    def commit(self, batch: Batch) -> "asyncio.Future[tuple[Outcome, str]]":
        future: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()
        self.store.commit(batch, lambda outcome, why: future.set_result((outcome, why)))
        return future

    async def get(self, want: Want) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.store.load([want], future.set_result)
        answers = await future
        assert isinstance(answers, list), answers
        return answers[0]

    async def recover(self) -> tuple[bool, str]:
        future: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()
        self.store.recover(lambda sound, why: future.set_result((sound, why)))
        return await future

    @property
    def pid(self) -> int:
        """Of the backend that writes."""
        return int(self.store._db.get_server_pid())

    async def close(self) -> None:
        self.store.close()
        await self.store.wait_closed()
        await self.owner.db.close()


async def plain(url: str) -> Any:
    """A connection of the test itself."""
    return await asyncpg.connect(url)
