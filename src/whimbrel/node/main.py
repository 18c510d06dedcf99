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
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import uvloop

from whimbrel import __version__
from whimbrel.domain.errors import Unready
from whimbrel.edge.certificate import shown_fingerprint
from whimbrel.edge.sockets import ListenSockets, from_service_manager
from whimbrel.node import steps
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, ConfigError
from whimbrel.node.last_words import listen_everywhere, listen_on, without_text
from whimbrel.node.notify import notify
from whimbrel.node.restart import Order, RestartDesk, RestartFailed, Successor
from whimbrel.node.secret_files import write_private
from whimbrel.node.succession import Gone, HandedOver, predecessor
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE, schema_step

if TYPE_CHECKING:
    from whimbrel.node.demo import Demo

log = structlog.get_logger("whimbrel.node")


ASKED_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Messages hold no cycles: looking for some at every 700 new objects cost 2% of all CPU.
GC_THRESHOLDS = (5_000, 20, 20)


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
    service = Service(config, folder, ready_file, announce, demo, installed_rules)
    try:
        code = uvloop.run(service.run())
    except (ConfigError, Unready, Gone) as error:
        print(f"whimbrel: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return code if service.successor is None else service.leave()


AMONG_OTHERS = (
    "not restarted: this is one node of several; end it (SIGTERM), the others take over at once, "
    "and start it again"
)


class Service:
    """The life of this process: a node, and after a restart that came to nothing one more.

    successor: the process that serves now, after a restart that worked.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        ready_file: Path | None,
        announce: Callable[[Node], None],
        demo: bool,
        installed_rules: bool,
    ) -> None:
        self.config = config
        self.folder = folder
        self.ready_file = ready_file
        self.successor: Successor | None = None
        self._announce = announce
        self._demo = demo
        self._installed_rules = installed_rules
        self._company: Demo | None = None

    async def run(self) -> int:
        """The exit code. Raises ConfigError, Unready or Gone."""
        loop = asyncio.get_running_loop()
        listen_on(loop)
        self._stop = asyncio.Event()
        for number in ASKED_TO_END:
            loop.add_signal_handler(number, self._stop.set)
        self.desk = RestartDesk(self.folder)
        node = await self._first_node()
        others = node.others
        if others is not None:
            others.when_ended = self._stop.set
        try:
            while (order := await self._next_order()) is not None:
                if others is not None:
                    order.end(AMONG_OTHERS, failed=True)
                    continue
                acts = node.office.acts
                next_node = await self._restart(order, node)
                self.desk.busy = ""  # who has heard the end of this one may ask again at once
                await acts.record(order.who, "restart", "the server", order.result, "command line")
                if next_node is None:
                    return 0
                node = next_node
            notify("STOPPING=1")
            await self._stop_company()
            await node.stop()
            _hear(signal.SIG_IGN)  # once more, by somebody impatient: we are ending
        finally:
            self.desk.close(remove=self.successor is None)
            if self.ready_file is not None and self.successor is None:
                self.ready_file.unlink(missing_ok=True)
        return int(others is not None and others.ended)

    # ---- nodes ---------------------------------------------------------------------------

    def _node(self) -> Node:
        node = Node(self.config, self.folder, self.sockets)
        node.reload_upgrades = not self._installed_rules
        return node

    async def _first_node(self) -> Node:
        """Alone, or in the place of another process."""
        before = predecessor()
        if before is None:
            self.sockets = ListenSockets(from_service_manager())
            self.sockets.shared = self.config.listen.shared
            node = self._node()
            await node.start()
            await self._is_up(node)
            await self._settle(node)
            self._announce(node)
            return node
        self.sockets = before.sockets
        node = self._node()
        steps.reached("adopted")
        try:
            node.prepare()
            steps.reached("ready to take over")
            before.prepared(__version__, schema_step(self.folder / FILE))
            fd, carried = await asyncio.to_thread(before.take_over)
            steps.reached("taking over")
            await node.start(FolderLock.taken_over(self.folder, fd), carried)
        except (ConfigError, Unready) as error:
            before.refused(str(error))
            raise
        served_s = node.clock.monotonic_us() / 1e6
        await self._is_up(node)
        steps.reached("serves")
        before.serving(served_s)
        before.close()
        await self._settle(node)
        return node

    async def _is_up(self, node: Node) -> None:
        await self.desk.open()
        if self.ready_file is not None:
            write_private(self.ready_file, json.dumps(ready_facts(node)))
        notify("READY=1")

    async def _settle(self, node: Node) -> None:
        """What nobody has to wait for."""
        self._company = await _company(node) if self._demo else None
        gc.unfreeze()  # of a node before this one
        gc.collect()
        gc.freeze()  # what lives for ever is not looked at again (MEASURED: 136 ms at 1M actors)
        gc.set_threshold(*GC_THRESHOLDS)

    async def _stop_company(self) -> None:
        if self._company is not None:
            await self._company.stop()
            self._company = None

    # ---- restarts ------------------------------------------------------------------------

    async def _next_order(self) -> Order | None:
        """None: this process is asked to end."""
        self.desk.busy = ""
        order = asyncio.ensure_future(self.desk.next())
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({order, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if order.done() and not self._stop.is_set():
            return order.result()
        order.cancel()
        return None

    async def _restart(self, order: Order, node: Node) -> Node | None:
        """The node that serves in this process from now on; None: none does."""
        if node.has_other_nodes:
            order.end(
                "this is one node of several: stop it and start it again, others take its users"
                " meanwhile (docs/cluster.md)",
                failed=True,
            )
            return node
        successor = Successor(order, self.sockets, self.config.restart)
        self.desk.busy = "the next process prepares"
        if not await self._prepared(successor, order):
            return node
        self.desk.busy = f"process {successor.pid} takes over"
        await self._stop_company()
        handed = await node.hand_over()
        steps.reached("let go")
        over = asyncio.ensure_future(successor.take_over(handed))
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({over, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self._stop.is_set():
            successor.signal(signal.SIGTERM)
        try:
            gap_s = await over
        except RestartFailed as failed:
            next_node = await self._go_on(order, handed, str(failed))
            await node.see_off()
            return next_node
        self._handed(successor, order, gap_s)
        await order.heard()
        await node.see_off()
        return None

    async def _prepared(self, successor: Successor, order: Order) -> bool:
        work = asyncio.ensure_future(successor.prepare())
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self._stop.is_set():
            successor.signal(signal.SIGKILL)
        try:
            await work
            if not self._stop.is_set():
                return True
            why = "the server is asked to end"
        except RestartFailed as failed:
            why = str(failed)
        await successor.end()
        log.error("restart failed, this process goes on", reason=why)
        order.end(f"not restarted, the server goes on as it was: {why}", failed=True)
        return False

    async def _go_on(self, order: Order, handed: HandedOver, why: str) -> Node | None:
        """The next process has ended: this one takes everything again. Raises Unready."""
        log.error("restart failed, this process goes on", reason=why)
        if self._stop.is_set():
            handed.lock.release()
            order.end("the server was asked to end, and has", failed=True)
            return None
        node = self._node()
        try:
            await node.start(handed.lock, handed.carried)
        except (ConfigError, Unready) as error:
            order.end(f"not restarted ({why}), and the old process ends: {error}", failed=True)
            await order.heard()
            raise
        gap_s = node.clock.monotonic_us() / 1e6 - handed.frozen_s
        await self._is_up(node)
        await self._settle(node)
        order.end(
            f"not restarted, the old process serves again after {gap_s:.2f} s: {why}", failed=True
        )
        return node

    def _handed(self, successor: Successor, order: Order, gap_s: float) -> None:
        self.successor = successor
        _hear(lambda number, _: successor.signal(number))  # the server is another process now
        if self._stop.is_set():
            successor.signal(signal.SIGTERM)
        self.sockets.close()  # it listens, and has closed what it does not want
        successor.keeping.announce(successor.pid)
        log.info("restarted", process=successor.pid, unserved_s=round(gap_s, 3))
        order.end(f"restarted: process {successor.pid} serves; nobody was served for {gap_s:.2f} s")

    def leave(self) -> int:
        """After the loop has ended: the exit code, if whoever waits for us need wait no longer."""
        assert self.successor is not None
        return self.successor.keeping.leave(self.successor.pid)


def _hear(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Signals that ask to end are for this from now on, also when the loop has ended."""
    loop = asyncio.get_running_loop()
    for number in ASKED_TO_END:
        loop.remove_signal_handler(number)
        signal.signal(number, handler)


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
