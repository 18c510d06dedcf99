"""`whimbrel serve` with planted bugs that quote what they were handed, each in another place.

Run as a program by spied.py. A message to an address that begins with a word of PLACES sets one
off; every bug puts all that it knows into its exception's text, as real bugs would.
"""

import asyncio
import logging
import sys
import threading
import warnings
from typing import Any

import structlog

from whimbrel.cli.main import main
from whimbrel.domain import messages as m
from whimbrel.edge.http import signup
from whimbrel.edge.session import Session
from whimbrel.logic import user as rules
from whimbrel.protocol import wire

PLACES = ("session", "callback", "task", "thread", "warning", "library", "logged", "finalizer")
CRASH = b"crash-the-actor"


def fail(*values: Any) -> None:
    raise RuntimeError(f"planted: {values}", *values)


async def fail_alone(*values: Any) -> None:
    fail(*values)


class Careless:
    def __init__(self, value: str) -> None:
        self.value = value

    def __del__(self) -> None:
        fail(self.value)


def on_typing(session: Session, typing: wire.Typing) -> None:
    place, _, secret = typing.peer.partition(".")
    loop = asyncio.get_running_loop()
    if place == "session":
        fail(typing, secret, session._hello)
    elif place == "callback":
        loop.call_soon(fail, secret, typing.peer)
    elif place == "task":
        loop.create_task(fail_alone(secret))  # noqa: RUF006 - nobody keeps it, nobody asks it
    elif place == "thread":
        threading.Thread(target=fail, args=(secret,), name="planted").start()
    elif place == "warning":
        warnings.warn(secret, stacklevel=1)
    elif place == "library":
        logging.getLogger("aiohttp.client").error("sent %s and %r", secret, typing.peer)
    elif place == "logged":
        try:
            fail(secret)
        except RuntimeError:
            structlog.get_logger("planted").exception("caught this", about=wire.Linked(1, secret))
    elif place == "finalizer":
        Careless(secret)


def on_submit(user: Any, message: m.Submit, turn: Any) -> Any:
    if CRASH in message.body:
        fail(message, message.body, bytes(message.body).decode(errors="replace"))
    return _on_submit(user, message, turn)


def parse_number(text: str, region: str = "") -> Any:
    if text.startswith("bug"):
        fail(text)
    return _parse_number(text, region)


_on_submit: Any = rules.HANDLERS[m.Submit]
_parse_number: Any = vars(signup)["parse_number"]

if __name__ == "__main__":
    from whimbrel.edge import session as edge

    edge._HANDLERS[wire.Typing] = on_typing
    rules.HANDLERS[m.Submit] = on_submit
    vars(signup)["parse_number"] = parse_number
    sys.argv[0] = "whimbrel"
    main()
