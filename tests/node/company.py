"""Pairs of people on a real server who go on talking whatever happens to it.

Between kill.py (one person, and the judge) and the tests that break something else than the
process: a full disk, a signal.
"""

import asyncio
import time
from collections.abc import Callable

from bench import accounts
from bench.raw import client_context
from bench.server import Server
from tests.node.kill import Ledger, Person

DEADLINE_S = 60.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a fact, not for a time."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
        await asyncio.sleep(0.02)


class Company:
    """Accounts 0 .. 2 * pairs - 1 must exist; the first half sends, the second receives."""

    def __init__(self, server: Server, pairs: int) -> None:
        self.ledger = Ledger()
        self.server = server
        self.people = [
            Person(self.ledger, n, accounts.address_of((n + pairs) % (2 * pairs)), n < pairs)
            for n in range(2 * pairs)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Company":
        context, port = client_context(), int(self.server.ready["native"])
        self._tasks = [asyncio.create_task(p.live(port, context)) for p in self.people]
        return self

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
        await until(lambda: self.ledger.count() >= enough, "acknowledged")

    async def settles(self) -> None:
        """Nobody begins anything new; everything begun gets both marks."""
        for person in self.people:
            person.sending = False
        await until(
            lambda: not any(p.unanswered or p.waiting for p in self.people), "both marks for all"
        )

    def judge(self) -> None:
        verdict = self.ledger.verdict()
        assert verdict.pop("acknowledged") > 0
        assert not any(verdict.values()), (verdict, self.ledger.lies[:5])
