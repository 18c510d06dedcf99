"""The monitor: once a second it measures everything and hands the figures to the alerts.

queues.py reads the queues, watchdog.py sees where the loop is held up, the rest is read here.
docs/operations.md says what each alert asks of people.
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
from whimbrel.domain.ports import Clock
from whimbrel.node.alerts import Alert, Board, Sample
from whimbrel.node.probed import Probed
from whimbrel.node.queues import Queues, name_of
from whimbrel.node.upgrade.undone import Undone
from whimbrel.node.watchdog import Watchdog

if TYPE_CHECKING:
    from whimbrel.edge.listener import Listener
    from whimbrel.node.storing import NodeStore
    from whimbrel.runtime.engine import Engine

log = structlog.get_logger("whimbrel.alerts")

TICK_S = 0.1
LOOK_S = 0.95  # the tick after that: once a second, also where ticks are late
SLOW_EVERY_S = 10.0  # figures that change slowly
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Monitor:
    """look: tells the board. Parts are read, never changed."""

    def __init__(
        self,
        board: Board,
        engine: "Engine",
        store: "NodeStore",
        listener: "Listener",
        clock: Clock,
        certificate_days: Callable[[], float],
        audit_findings: Callable[[], int],
        undone: Callable[[], Undone],
    ) -> None:
        self.board = board
        self.turns = Histogram()
        self.lag = Histogram()
        self.commits = store.commit_times
        self.sample = Sample()
        self.queues = Queues(engine, store, listener, listener.limits)
        self.probed = Probed()
        self.then: list[Callable[[Sample], None]] = []  # called every second, after the alerts
        self.on = board.settings.on
        self._engine = engine
        self._store = store
        self._listener = listener
        self._clock = clock
        self._certificate_days = certificate_days
        self._audit_findings = audit_findings
        self._undone = undone
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(self._whose)
        self._handle: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._look_s = self._loop.time() + LOOK_S
        self._last_s = time.monotonic()
        self._cpu_s = time.process_time()
        self._commit_ms = 0.0
        self._slow_s = -SLOW_EVERY_S
        self._slow = (0.0, 0.0, 0.0)  # descriptors, disk, certificate
        self._memory_mib_max = memory_allowed_mib()

    def start(self) -> None:
        if not self.on:
            return
        self._due_s = self._loop.time() + TICK_S
        self._handle = self._loop.call_at(self._due_s, self._tick)
        self._watchdog.start()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._watchdog.stop()

    def timed(self, call: Callable[[], None]) -> None:
        """Run a turn, and remember how long it took."""
        began = time.perf_counter_ns()
        try:
            call()
        finally:
            self.turns.observe((time.perf_counter_ns() - began) // 1_000)

    def _whose(self) -> str:
        """Whose rule runs; asked by the watchdog's thread."""
        cell = self._engine.running
        return name_of(cell) if cell is not None else ""

    def _tick(self) -> None:
        now_s = self._loop.time()
        self.lag.observe(max(0, int((now_s - self._due_s) * 1e6)))
        self._due_s = now_s + TICK_S
        self._handle = self._loop.call_at(self._due_s, self._tick)
        self._watchdog.beat()
        self.queues.glance()
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self.look()

    def look(self) -> None:
        self.sample = self._measure()
        self.board.look(self.sample)
        for call in self.then:
            call(self.sample)

    def _measure(self) -> Sample:
        now_s, cpu_s = time.monotonic(), time.process_time()
        cpu_part = (cpu_s - self._cpu_s) / max(now_s - self._last_s, 1e-3)
        self._last_s, self._cpu_s = now_s, cpu_s
        queues = self.queues.measure(self._clock.now_us())
        turns, mailbox, output = queues["turns"], queues["mailbox"], queues["output"]
        retries, timers, inboxes = queues["retries"], queues["timers"], queues["inboxes"]
        hot = self.queues.hottest[0] if self.queues.hottest else None
        if now_s - self._slow_s >= SLOW_EVERY_S:
            self._slow_s = now_s
            self._slow = (_descriptors(), self._disk_free_mib(), self._certificate_days())
        descriptors, disk, certificate = self._slow
        memory_mib = resident_mib()
        undone = self._undone()
        return Sample(
            at_s=now_s,
            turn_queue_length=turns.length,
            turn_queue_age_ms=turns.age_s * 1e3,
            arrived_per_s=turns.arrived_per_s,
            served_per_s=turns.served_per_s,
            mailbox_length=mailbox.length,
            mailbox_owner=mailbox.owner,
            mailbox_state=mailbox.state,
            hot_owner=hot.address if hot is not None else "",
            hot_per_s=hot.served_per_s if hot is not None else 0.0,
            writer_rows=queues["writer"].length,
            output_bytes=output.length,
            output_owner=output.owner,
            window_percent=self.queues.window_percent,
            window_owner=queues["windows"].owner,
            commit_ms=self._longest_commit_ms(),
            turn_ms=self.turns.take_largest_us() / 1e3,
            loop_lag_ms=self.lag.take_largest_us() / 1e3,
            held_at=self._watchdog.take(),
            cpu_part=cpu_part,
            retries=retries.length,
            retries_owner=retries.owner,
            inbox_messages=inboxes.length,
            inbox_owner=inboxes.owner,
            timers=timers.length,
            timers_late_ms=timers.age_s * 1e3,
            actors=len(self._engine.cells),
            sessions=len(self._listener),
            memory_mib=memory_mib,
            memory_percent=100.0 * memory_mib / self._memory_mib_max,
            descriptors_percent=descriptors,
            disk_free_mib=disk,
            certificate_days=certificate,
            audit_findings=self._audit_findings(),
            upgrades_undone=undone.number,
            upgrade_name=undone.name,
            upgrade_trouble=undone.why,
            probe_ms=self.probed.ms,
            probe_failures=self.probed.failures,
            probe_trouble=self.probed.trouble,
        )

    def _longest_commit_ms(self) -> float:
        """Of this second, of the one before (a slow disk ends one only now and then), or of the
        one under way.
        """
        before_ms, self._commit_ms = self._commit_ms, self.commits.take_largest_us() / 1e3
        return max(before_ms, self._commit_ms, self._store.busy_s * 1e3)

    def _disk_free_mib(self) -> float:
        try:
            return shutil.disk_usage(self._store.folder).free / 1_048_576
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


def resident_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * PAGE_KIB / 1024


def memory_allowed_mib() -> float:
    """What this process may use: the limit of its control group, else the machine's memory."""
    limits = [os.sysconf("SC_PHYS_PAGES") * PAGE_KIB / 1024]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(file).read_text(encoding="ascii")) / 1_048_576)
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)


def to_log(alert: Alert) -> None:
    if alert.active:
        log.warning("ALERT", name=alert.name, of=alert.owner, what=alert.text, cause=alert.cause)
    else:
        seconds = round(alert.at_s - alert.since_s, 1)
        log.info("alert cleared", name=alert.name, what=alert.text, after_s=seconds)
