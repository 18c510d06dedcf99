"""People who talk across the nodes of an installation, whatever happens to these.

Each has a node; when that one is gone they go to the next, as through a balancer. The judge is
that of the kill test: only what clients saw.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from hashlib import sha256

from bench import accounts
from bench.raw import client_context
from tests.node.kill import Ledger, Person
from trial.nodes import TrialNode
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import AccountRow, DeviceRow
from whimbrel.storage.postgres.store import PostgresStore

PATIENCE_S = 120.0


async def create(url: str, count: int) -> None:
    """Accounts 0 .. count-1 with one device each, as sign-up would have left them."""
    store = PostgresStore(url, Limits())
    await store.open()
    batch, made = Batch(1), accounts.CREATED_US
    for n in range(count):
        address = accounts.address_of(n)
        account = account_number(address)
        hashed = sha256(accounts.key_of(n).encode()).digest()
        batch.add(AccountRow(account, address, made, 0, 0, 0, 1, made, 0, 0, False))
        batch.add(DeviceRow(account, 1, hashed, "trial", 0, 0, 0, 0, made))
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    store.commit(batch, lambda outcome, reason: ended.set_result(outcome))
    assert await ended is Outcome.COMMITTED
    store.close()
    await store.wait_closed()


class Crowd:
    """Pairs: the first of each sends, the second receives; they begin on different nodes."""

    def __init__(self, nodes: list[TrialNode], pairs: int) -> None:
        self.nodes = nodes
        self.ledger = Ledger()
        self.people = [
            Person(self.ledger, n, accounts.address_of((n + pairs) % (2 * pairs)), n < pairs)
            for n in range(2 * pairs)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Crowd":
        context = client_context()
        self._tasks = [
            asyncio.create_task(person.live(self._ports(n + n // len(self.nodes)), context))
            for n, person in enumerate(self.people)
        ]
        return self

    def _ports(self, first: int) -> Callable[[], int]:
        turn = first - 1

        def port() -> int:
            nonlocal turn
            turn += 1
            return int(self.nodes[turn % len(self.nodes)].ready["native"])

        return port

    async def __aexit__(self, *exc: object) -> None:
        for person in self.people:
            person.stop = True
            if person.client is not None:
                person.client.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def talks(self, more: int) -> None:
        """Until so many more messages were acknowledged."""
        enough = self.ledger.count() + more
        await self.until(lambda: self.ledger.count() >= enough)

    async def everybody_talks(self, whom: Iterable[Person] = ()) -> float:
        """Until each sender was acknowledged once more. Seconds until the last one was."""
        senders = [person for person in whom or self.people if person.sends]
        before = {p.address: len(self.ledger.acknowledged[p.address]) for p in senders}
        start_s = time.monotonic()
        await self.until(
            lambda: all(
                len(self.ledger.acknowledged[p.address]) > before[p.address] for p in senders
            )
        )
        return time.monotonic() - start_s

    async def settles(self) -> None:
        """Nobody begins anything new; everything begun gets both marks."""
        for person in self.people:
            person.sending = False
        await self.until(lambda: not any(p.unanswered or p.waiting for p in self.people))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def judge(self) -> dict[str, int]:
        """Raises AssertionError when a law was broken in anybody's eyes."""
        verdict = self.ledger.verdict()
        wrong = {name: n for name, n in verdict.items() if n and name != "acknowledged"}
        assert verdict["acknowledged"] > 0
        assert not wrong, (wrong, self.ledger.lies[:5])
        return verdict
