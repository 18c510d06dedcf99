"""The live feed: one snapshot a second, encoded once for all who listen (server-sent events).

Law 5: a listener who is slow misses seconds and never makes a queue: each has room for one
snapshot. A listener's token is looked at again every second, so a revoked one hears nothing more.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from aiohttp import ClientConnectionResetError, web

from whimbrel.domain.errors import Busy
from whimbrel.edge.http.shapes import History, Shape, Snapshot

HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


def event(name: str, shape: Shape) -> bytes:
    """One server-sent event (HTML standard, section 9.2)."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(shape))


class Listener:
    """next(): the newest second that was not heard yet; None at the end."""

    __slots__ = ("_arrived", "_data", "_over")

    def __init__(self) -> None:
        self._arrived = asyncio.Event()
        self._data: bytes | None = None
        self._over = False

    def put(self, data: bytes) -> None:
        self._data = data
        self._arrived.set()

    def end(self) -> None:
        self._over = True
        self._arrived.set()

    async def next(self) -> bytes | None:
        await self._arrived.wait()
        if self._over:
            return None
        self._arrived.clear()
        data, self._data = self._data, None
        return data


class Feed:
    """publish() is called once a second, and needs not be if nobody `listens`."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._over = False

    @property
    def listens(self) -> bool:
        return bool(self._listeners)

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, snapshot: Snapshot) -> None:
        data = event("snapshot", snapshot)
        for listener in self._listeners:
            listener.put(data)

    @contextmanager
    def listening(self, at_most: int) -> Iterator[Listener]:
        """Raises Busy if too many listen, or the server stops."""
        if self._over or len(self._listeners) >= at_most:
            raise Busy("too many listen to the live feed", retry_after_s=5)
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """Everybody hears the end; nobody else is let in."""
        self._over = True
        for listener in self._listeners:
            listener.end()


async def send(
    request: web.Request,
    listener: Listener,
    history: History,
    now: Snapshot,
    allowed: Callable[[], bool],
) -> web.StreamResponse:
    """Until the caller leaves, the server stops, or the token is good no more."""
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    try:
        await response.write(event("history", history) + event("snapshot", now))
        while (data := await listener.next()) is not None and allowed():
            await response.write(data)
    except (ClientConnectionResetError, ConnectionError):
        pass  # gone: there is nobody to tell
    return response
