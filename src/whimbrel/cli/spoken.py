"""How the terminal says that something went wrong: one line, exit code 1, no traceback."""

import asyncio
import functools
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, ParamSpec, TypeVar

import typer

from whimbrel.client import Client, ClientError, Unreachable
from whimbrel.client.words import Connection

P = ParamSpec("P")
R = TypeVar("R")
ONLINE_TIMEOUT_S = 15.0
TRIES_MAX = 3  # failed connections before a command gives up


def spoken(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors that people can do something about into one clear line."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ClientError as error:
            fail(str(error))
        except sqlite3.Error as error:
            fail(f"the local files cannot be used: {error}")
        except PermissionError as error:
            fail(f"no permission for {error.filename}")
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def fail(text: str) -> NoReturn:
    print(f"whimbrel: {text}", file=sys.stderr)
    raise typer.Exit(1)


def run(work: Coroutine[Any, Any, R]) -> R:
    return asyncio.run(work)


async def wait_online(client: Client) -> None:
    """Until logged in; raises Unreachable after a few tries instead of trying for ever."""
    if client.is_online:
        return
    events = client.events()
    tries, reason = 0, "no answer"
    try:
        async with asyncio.timeout(ONLINE_TIMEOUT_S):
            async for event in events:
                if client.is_online:
                    return
                if isinstance(event, Connection) and event.state == "offline":
                    tries, reason = tries + 1, event.reason
                    if tries >= TRIES_MAX:
                        break
    except TimeoutError:
        pass
    if client.ended is not None:
        raise client.ended
    raise Unreachable(f"{reason}; is the server running? start it with: whimbrel serve")
