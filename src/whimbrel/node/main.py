"""main: read the configuration, run a node until SIGTERM or SIGINT, tell what to do next."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop

from whimbrel.domain.errors import Unready
from whimbrel.edge.certificate import shown_fingerprint
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, ConfigError
from whimbrel.node.last_words import listen_everywhere, listen_on, without_text
from whimbrel.node.secret_files import write_private

if TYPE_CHECKING:
    from whimbrel.node.demo import Demo


def run(
    config: Config,
    folder: Path,
    ready_file: Path | None,
    announce: Callable[[Node], None],
    demo: bool = False,
    installed_rules: bool = False,
) -> int:
    """Exit code 0 after a drained stop, 1 if the server could not start."""
    set_up_log(config)
    listen_everywhere()
    leave_no_core()
    try:
        return uvloop.run(_run(config, folder, ready_file, announce, demo, installed_rules))
    except (ConfigError, Unready) as error:
        print(f"whimbrel: {error}", file=sys.stderr)  # noqa: T201
        return 1


async def _run(
    config: Config,
    folder: Path,
    ready_file: Path | None,
    announce: Callable[[Node], None],
    demo: bool,
    installed_rules: bool,
) -> int:
    loop = asyncio.get_running_loop()
    listen_on(loop)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = Node(config, folder)
    node.reload_upgrades = not installed_rules
    await node.start()
    gc.collect()
    gc.freeze()  # what lives for ever is not looked at again (MEASURED: 136 ms at 1M actors)
    company = await _company(node) if demo else None
    with ready_told(ready_file, node):
        announce(node)
        await stop.wait()
        if company is not None:
            await company.stop()
        await node.stop()
    return 0


async def _company(node: Node) -> "Demo":
    from whimbrel.node.demo import Demo  # drawing and a client: only for this

    demo = Demo(node)
    await demo.start()
    return demo


def leave_no_core() -> None:
    """The memory of this process holds bodies and keys: a crash must not write it to a disk.

    The hard limit stays, for an operator who looks for a bug (prlimit).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


@contextlib.contextmanager
def ready_told(ready_file: Path | None, node: Node) -> Iterator[None]:
    """The ready file, as long as this node runs. A start that was refused never comes here,
    so that the file of the server that does run is left alone.
    """
    if ready_file is None:
        yield
        return
    try:
        write_private(ready_file, json.dumps(ready_facts(node)))
        yield
    finally:
        ready_file.unlink(missing_ok=True)


def ready_facts(node: Node) -> dict[str, object]:
    """What the ready file holds: real ports, domain, pid, fingerprint."""
    return {
        **node.ports,
        "domain": node.config.domain,
        "pid": os.getpid(),
        "fingerprint": node.certificate.fingerprint,
    }


def set_up_log(config: Config) -> None:
    """structlog to stderr: for people, or one JSON object a line."""
    level = getattr(logging, config.log.level.upper())
    renderer = (
        structlog.processors.JSONRenderer()
        if config.log.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            without_text,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(Terminal()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


class Terminal:
    """stderr, which may stand on the very disk that is full: a line that cannot be written
    is given up, and never stops the work that wanted to tell of itself.
    """

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


__all__ = ["ready_facts", "run", "shown_fingerprint"]
