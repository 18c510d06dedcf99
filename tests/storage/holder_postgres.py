"""Drives the PostgreSQL store from a synchronous test: a loop of its own, and leases by hand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg

from tests.storage.holder import LIMITS, WAIT_S_MAX, Holder, Loop
from tests.storage.samples import ALICE, BOB, CARL
from whimbrel.cluster import table
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import shard_of
from whimbrel.domain.rows import Row
from whimbrel.storage.postgres.connections import connect
from whimbrel.storage.postgres.store import PostgresStore


class AsyncLoop(Loop):
    """A loop that runs only while somebody waits for an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def post(self, callback: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(callback)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 3 * WAIT_S_MAX))

    def run_until(self, condition: Callable[[], object]) -> None:
        async def until() -> None:
            for _ in range(int(WAIT_S_MAX / 0.001)):
                if condition():
                    return
                await asyncio.sleep(0.001)
            raise AssertionError("the store did not answer")

        self.run(until())

    def run_posted(self) -> None:
        self.run(asyncio.sleep(0))


class Owner:
    """Owns all shards of the samples, without a lease that has to be renewed."""

    def __init__(self, url: str, identity: str) -> None:
        self.url = url
        self.identity = identity
        self.epochs: dict[int, int] = {}
        self.me = table.Me(-1, 0)

    async def start(self) -> None:
        db = await connect(self.url)
        self.me = await table.claim(db, self.identity, "", "")
        self.epochs = dict(await table.take(db, self.me, sorted(map(shard_of, (ALICE, BOB, CARL)))))
        await db.close()

    async def retake(self) -> None:
        db = await connect(self.url)
        _, epochs = await table.retake(db, self.me)
        self.epochs = dict(epochs)
        await db.close()


class PostgresHolder(Holder):
    loop: AsyncLoop

    def __init__(self, url: str, identity: str, **options: Any) -> None:
        self.url = url
        self.identity = identity
        loop = AsyncLoop()
        self.owner = Owner(url, identity)
        super().__init__(loop.run(self._open(options)), loop)

    async def _open(self, options: dict[str, Any]) -> PostgresStore:
        store = PostgresStore(self.url, LIMITS, self.owner, **options)
        await store.open()
        await self.owner.start()
        return store

    def batch(self, *rows: Row) -> Batch:
        """All three ran in it."""
        batch = super().batch(*rows)
        batch.touched = {who: self.owner.epochs[shard_of(who)] for who in (ALICE, BOB, CARL)}
        return batch

    def usurp(self) -> None:
        self.execute("UPDATE shard SET epoch = epoch + 1")

    def execute(self, statement: str, *arguments: object) -> Any:
        """On a connection of its own; what it returns."""

        async def do() -> Any:
            db = await asyncpg.connect(self.url)
            try:
                return await db.fetch(statement, *arguments)
            finally:
                await db.close()

        return self.loop.run(do())

    def close(self) -> None:
        self.store.close()
        self.loop.run(self.store.wait_closed())

    def reopen(self) -> "Holder":
        self.close()
        return PostgresHolder(self.url, self.identity)


def postgres(url: str, identity: str = "test", **options: Any) -> PostgresHolder:
    return PostgresHolder(url, identity, **options)
