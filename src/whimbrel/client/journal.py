"""The journal: gathers changes and commits them together, then acts in order.

Between the client's parts and its store. Laws: one commit at a time; an action runs when
all changes before it are durable; after a failed commit nothing runs any more.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from whimbrel.client.store import Change, ClientStore

Action = tuple[Callable[..., None], tuple[Any, ...]]


class Journal:
    def __init__(
        self,
        store: ClientStore,
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._loop = loop
        self._failed = failed
        self._changes: list[Change] = []
        self._actions: list[Action] = []
        self._acting: list[Action] = []  # of the commit under way
        self._busy = False
        self._scheduled = False
        self._broken = False
        self._idle: asyncio.Future[None] | None = None

    def change(self, change: Change) -> None:
        self._changes.append(change)
        self._soon()

    def then(self, action: Callable[..., None], *args: Any) -> None:
        self._actions.append((action, args))
        self._soon()

    def _soon(self) -> None:
        if not self._scheduled and not self._busy:
            self._scheduled = True
            self._loop.call_soon(self.commit)

    def commit(self) -> None:
        """Start a commit of all that was gathered, unless one is under way."""
        self._scheduled = False
        if self._busy or self._broken or not (self._changes or self._actions):
            return
        changes, self._changes = self._changes, []
        self._acting, self._actions = self._actions, []
        self._busy = True
        if changes:
            self._store.commit(changes, self._done)
        else:
            self._done(None)

    def _done(self, error: Exception | None) -> None:
        self._busy = False
        if error is not None:
            self._broken = True
            self._release()
            self._failed(error)
            return
        acting, self._acting = self._acting, []
        for action, args in acting:
            action(*args)
        if self._changes or self._actions:
            self._soon()
        else:
            self._release()

    def _release(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def drained(self) -> None:
        """Wait until everything is durable (or never will be)."""
        while not self._broken and (self._busy or self._changes or self._actions):
            self._soon()
            self._idle = self._loop.create_future()
            await self._idle
