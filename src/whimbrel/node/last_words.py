"""What nobody caught: said in the log by type and place, never by text.

Python's own ways print an exception's text, and asyncio's the arguments of the callback; both
may quote a body or a key. Set once by main.py. Law: every way out of this process to its
terminal is one of ours.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

from whimbrel.domain.discreet import stack_of

log = structlog.get_logger("whimbrel.node")


def listen_everywhere() -> None:
    """Threads, finalizers, the end of the process, and the logs of libraries."""
    threading.excepthook = _in_thread
    sys.unraisablehook = _in_finalizer
    sys.excepthook = _at_the_end
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [_Libraries(logging.WARNING)]


def listen_on(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_exception_handler(_in_loop)


def without_text(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """For structlog: `exc_info` becomes the error's type and stack."""
    wanted = event.pop("exc_info", None)
    if wanted:
        error = wanted if isinstance(wanted, BaseException) else sys.exc_info()[1]
        if error is not None:
            event.update(error=type(error).__name__, stack=stack_of(error))
    return event


def _say(where: str, error: BaseException | None, **more: object) -> None:
    if error is not None:
        more.update(error=type(error).__name__, stack=stack_of(error))
    log.error("nobody caught this", where=where, **more)


def _in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """`message` may show a callback with its arguments; without an error it is a fixed text."""
    error = context.get("exception")
    if isinstance(error, ConnectionError):
        return  # the network's daily life
    _say("loop", error, **({} if error else {"what": str(context.get("message", ""))}))


def _in_thread(args: threading.ExceptHookArgs) -> None:
    _say("thread", args.exc_value, thread=args.thread.name if args.thread else "")


def _in_finalizer(args: "sys.UnraisableHookArgs") -> None:
    _say("finalizer", args.exc_value)


def _at_the_end(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not isinstance(error, KeyboardInterrupt):
        _say("main", error)


class _Libraries(logging.Handler):
    """Who said something and where; what was said may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        place = f"{record.funcName}:{record.lineno}"
        more: dict[str, object] = {"library": record.name, "place": place}
        if error is not None:
            more.update(error=type(error).__name__, stack=stack_of(error))
        log.warning("a library said something", level=record.levelname, **more)
