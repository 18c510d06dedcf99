"""The monitor: once a second it measures every queue and hands the figures to the alerts.

What is counted is counted by those who queue (runtime/gauges.py, domain/histogram.py); here it is
only read. docs/operations.md says what each alert asks of people.
"""

import asyncio
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from whimbrel.domain.histogram import Histogram
from whimbrel.node.alerts import Alert, Board, Sample

if TYPE_CHECKING:
    from whimbrel.edge.listener import Listener
    from whimbrel.runtime.engine import Engine

log = structlog.get_logger("whimbrel.alerts")

TICK_S = 0.1
CELLS_MAX = 20_000  # mailboxes are compared only where they are few, or the queue is long
QUEUE_LONG = 100
SLOW_EVERY_S = 10.0  # figures that change slowly
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Monitor:
    """look: tells the board. Parts are read, never changed."""

    def __init__(
        self,
        board: Board,
        engine: "Engine",
        listener: "Listener",
        folder: Path,
        commits: Histogram,
        certificate_days: Callable[[], float],
        audit_findings: Callable[[], int],
    ) -> None:
        self.board = board
        self.turns = Histogram()
        self.lag = Histogram()
        self.commits = commits
        self.sample = Sample()
        self._engine = engine
        self._listener = listener
        self._folder = folder
        self._certificate_days = certificate_days
        self._audit_findings = audit_findings
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._ticks = 0
        self._last = (time.monotonic(), 0, 0)
        self._slow_s = -SLOW_EVERY_S
        self._slow = (0.0, 0.0, 0.0)  # descriptors, disk, certificate

    def start(self) -> None:
        self._due_s = self._loop.time() + TICK_S
        self._handle = self._loop.call_at(self._due_s, self._tick)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def timed(self, call: Callable[[], None]) -> None:
        """Run a turn, and remember how long it took."""
        began = time.perf_counter_ns()
        try:
            call()
        finally:
            self.turns.observe((time.perf_counter_ns() - began) // 1_000)

    def _tick(self) -> None:
        now_s = self._loop.time()
        self.lag.observe(max(0, int((now_s - self._due_s) * 1e6)))
        self._due_s = now_s + TICK_S
        self._handle = self._loop.call_at(self._due_s, self._tick)
        self._ticks += 1
        if self._ticks % 10 == 0:
            self.look()

    def look(self) -> None:
        self.sample = self._measure()
        self.board.look(self.sample)

    def _measure(self) -> Sample:
        engine, gauge = self._engine, self._engine.queue_gauge
        now_s = time.monotonic()
        before_s, arrived, served = self._last
        self._last = (now_s, gauge.arrived, gauge.served)
        seconds = max(now_s - before_s, 1e-3)
        length = gauge.length
        mailbox, owner = self._longest_mailbox(length)
        unsent, reader = self._listener.take_slowest()
        if now_s - self._slow_s >= SLOW_EVERY_S:
            self._slow_s = now_s
            self._slow = (_descriptors(), self._disk_free_mib(), self._certificate_days())
        descriptors, disk, certificate = self._slow
        return Sample(
            at_s=now_s,
            turn_queue_length=length,
            turn_queue_age_ms=gauge.age_us(int(now_s * 1e6)) / 1e3,
            arrived_per_s=(gauge.arrived - arrived) / seconds,
            served_per_s=(gauge.served - served) / seconds,
            mailbox_length=mailbox,
            mailbox_owner=owner,
            output_bytes=unsent,
            output_owner=reader,
            commit_ms=self.commits.take_largest_us() / 1e3,
            turn_ms=self.turns.take_largest_us() / 1e3,
            loop_lag_ms=self.lag.take_largest_us() / 1e3,
            timers=len(engine.timers),
            actors=len(engine.cells),
            sessions=len(self._listener),
            memory_mib=_resident_mib(),
            descriptors_percent=descriptors,
            disk_free_mib=disk,
            certificate_days=certificate,
            audit_findings=self._audit_findings(),
        )

    def _longest_mailbox(self, queue: int) -> tuple[int, str]:
        cells = self._engine.cells
        if not cells or (len(cells) > CELLS_MAX and queue < QUEUE_LONG):
            return 0, ""
        cell = max(cells.values(), key=lambda each: each.queued)
        if not cell.queued:
            return 0, ""
        return cell.queued, getattr(cell.state, "address", "") or f"actor {cell.key}"

    def _disk_free_mib(self) -> float:
        try:
            return shutil.disk_usage(self._folder).free / 1_048_576
        except OSError:
            return 0.0


def _descriptors() -> float:
    """Percent of those that the system allows this process."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0.0
    return 100.0 * used / allowed if allowed > 0 else 0.0


def _resident_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * PAGE_KIB / 1024


def to_log(alert: Alert) -> None:
    if alert.active:
        log.warning("ALERT", name=alert.name, of=alert.owner, what=alert.text, cause=alert.cause)
    else:
        seconds = round(alert.at_s - alert.since_s, 1)
        log.info("alert cleared", name=alert.name, what=alert.text, after_s=seconds)
