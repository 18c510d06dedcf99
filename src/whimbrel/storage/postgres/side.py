"""A connection beside the store's: for what nodes know together and seldom ask.

Files (services/media/shared_ledger.py), acts of administrators, where nodes are. Opened when it is
wanted, opened again when it was lost. Law: a statement may run twice (its answer was lost), so each
one given here must be one that does no harm then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from whimbrel.domain.errors import Unready
from whimbrel.storage.postgres.connections import connect, words

T = TypeVar("T")

ANSWER_S_MAX = 10.0
_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.ReadOnlySQLTransactionError,  # it was the primary once
)


class Side:
    """All methods raise Unready. One statement or transaction after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._db: Any = None
        self._turn = asyncio.Lock()

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        return list(await self.run(lambda db: db.fetch(statement, *values)))

    async def together(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """In one transaction."""

        async def inside(db: Any) -> T:
            async with db.transaction():
                return await work(db)

        return await self.run(inside)

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self._turn:
            for again in (True, False):
                if self._db is None or self._db.is_closed():
                    self._db = await connect(self._url)
                try:
                    async with asyncio.timeout(ANSWER_S_MAX):
                        return await work(self._db)
                except (*_LOST, TimeoutError) as error:
                    self._drop()
                    if not again or isinstance(error, TimeoutError):
                        raise Unready(f"the database cannot be asked: {words(error)}") from error
                except asyncpg.PostgresError as error:
                    raise Unready(f"the database cannot be asked: {words(error)}") from error
                except asyncio.CancelledError:
                    self._drop()  # in the middle of a statement
                    raise
        raise AssertionError("unreachable")

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.terminate()

    async def close(self) -> None:
        """Also twice; it may be asked again."""
        async with self._turn:
            self._drop()
