"""The two things a program iterates over: incoming messages and events."""

import asyncio
from collections import deque
from collections.abc import Callable

from whimbrel.client.errors import Closed, Ended
from whimbrel.client.inbox import Inbox
from whimbrel.client.words import Event, Incoming, Lost

EVENTS_MAX = 1_000  # events that wait for one reader, then the oldest are left out


class Messages:
    """`async for message in client.messages()`: asking for the next confirms the last.

    Raises the error that ended the client; stops if it was closed. One reader at a time.
    """

    def __init__(self, inbox: Inbox, on_handled: Callable[[], None]) -> None:
        self._inbox = inbox
        self._on_handled = on_handled
        self._waiter: asyncio.Future[None] | None = None
        self._ended: Ended | None = None

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Incoming:
        assert self._waiter is None, "client.messages() has one reader at a time"
        self.handled()
        while not self._inbox.ready:
            if isinstance(self._ended, Closed):
                raise StopAsyncIteration
            if self._ended is not None:
                raise self._ended
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._inbox.next()

    def handled(self) -> None:
        """Say so without asking for the next one: for a program that stops here."""
        if self._inbox.handled():
            self._on_handled()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self, error: Ended) -> None:
        self._ended = error
        self.wake()


class Events:
    """`async for event in client.events()`. Stops after the client has ended.

    A reader that is too slow finds Lost(count) in place of the oldest ones.
    """

    def __init__(self) -> None:
        self._queue: deque[Event] = deque()
        self._lost = 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        while not self._queue and not self._lost:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._lost:
            lost, self._lost = self._lost, 0
            return Lost(lost)
        return self._queue.popleft()

    def put(self, event: Event) -> None:
        if len(self._queue) >= EVENTS_MAX:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(event)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
