"""A world for one scenario: a fresh data folder with accounts, a server, a loud event loop.

An exception in a client's callback ends the scenario at once with that exception, so that no
figure is taken from a run that went wrong.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop

from bench import accounts
from bench.server import Server

T = TypeVar("T")


@contextmanager
def world(people: int, limits: str = "") -> Iterator[Server]:
    """A running server with `people` registered accounts."""
    server = Server(limits=limits)
    try:
        accounts.create(server.data, people)
        server.start()
        yield server
    finally:
        server.close()


def run(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on uvloop; the first exception anywhere ends it. No garbage collection meanwhile:
    the generator's pauses would look like the server's."""
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_watched(make))
    finally:
        gc.enable()


async def _watched(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(make())
    errors: list[BaseException] = []

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        errors.append(error)
        task.cancel()

    loop.set_exception_handler(on_error)
    try:
        return await task
    except asyncio.CancelledError:
        if errors:
            raise errors[0] from None
        raise
