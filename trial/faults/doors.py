"""Which node a client is brought to: a balancer's view, with the checks that HAProxy would do.

Every node is asked for /ready once a second; two failures take it out, one success brings it back
(trial/balancer.py configures HAProxy so). Who comes is sent to the next one that is in.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from trial.nodes import TrialNode

CHECK_S = 1.0
FAILURES_MAX = 2


class Doors:
    """`async with` checks; pick() is what a new connection gets."""

    def __init__(self, nodes: Sequence[TrialNode]) -> None:
        self.nodes = list(nodes)
        self._failures = dict.fromkeys(self.nodes, 0)
        self._turn = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Doors":
        self._tasks = [asyncio.create_task(self._watch(node)) for node in self.nodes]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_in(self, node: TrialNode) -> bool:
        return self._failures[node] < FAILURES_MAX

    def pick(self) -> TrialNode:
        """Round robin among those that are in; among all if none is."""
        self._turn += 1
        some = [node for node in self.nodes if self.is_in(node)] or self.nodes
        return some[self._turn % len(some)]

    async def _watch(self, node: TrialNode) -> None:
        while True:
            ready = False
            with contextlib.suppress(OSError, TimeoutError, IndexError):
                async with asyncio.timeout(CHECK_S):
                    ready = await self._ready(node)
            self._failures[node] = 0 if ready else self._failures[node] + 1
            await asyncio.sleep(CHECK_S)

    async def _ready(self, node: TrialNode) -> bool:
        reader, writer = await asyncio.open_connection(node.host, int(node.ready["http"]))
        try:
            writer.write(b"GET /ready HTTP/1.1\r\nHost: check\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).split()[1] == b"200"
        finally:
            writer.transport.abort()
