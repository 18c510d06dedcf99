"""The audit: every few minutes, is every accepted message where the rules say it must be?

Runs in a thread of its own on a connection of its own (storage/ledger.py), slice by slice, so
that neither the loop nor the log of the database waits for it. What it finds goes into the
statistics and, if there is anything, into the log as an error: that is an alert.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from whimbrel.domain.errors import Unready
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Clock
from whimbrel.storage.ledger import Audit, audited, opened

log = structlog.get_logger("whimbrel.audit")

PAUSE_S = 0.005  # between slices: others want the processor and the disk too
LOGGED_MAX = 10
GRACE_S = 3_600  # a row past its deadline is closed when its actor next looks at it


def run_audit(
    folder: Path,
    limits: Limits,
    now_us: int,
    pause: Callable[[], bool] | None = None,
) -> Audit | None:
    """Reconcile everything. `pause` is called between slices; True ends it, with None.

    Raises Unready if there is no database that can be read.
    """
    audit = Audit()
    patience_s = limits.deliver_deadline_s + limits.deadline_grace_s + GRACE_S
    with opened(folder) as db:
        for _ in audited(db, audit, now_us, patience_s, limits.ledger_s):
            if pause is not None and pause():
                return None
    return audit


class Auditor:
    """Runs an audit every `limits.audit_every_s`; `last` and its time, for the statistics."""

    def __init__(self, folder: Path, limits: Limits, clock: Clock) -> None:
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._stop = threading.Event()
        self._seconds = 0
        self._running: asyncio.Future[None] | None = None
        self.last: Audit | None = None
        self.runs = 0
        self.at_us = 0
        self.took_s = 0.0

    def every_second(self) -> None:
        every_s = self._limits.audit_every_s
        self._seconds += 1
        if every_s and self._seconds % every_s == 0:
            self.now()

    def now(self) -> bool:
        """Begin one; False if one is under way."""
        if self._running is not None:
            return False
        self._running = asyncio.get_running_loop().run_in_executor(None, self._run)
        self._running.add_done_callback(self._ended)
        return True

    def _run(self) -> None:
        started_s = time.monotonic()
        try:
            audit = run_audit(self._folder, self._limits, self._clock.now_us(), self._pause)
        except Unready as error:
            log.warning("audit was not possible", reason=str(error))
            return
        if audit is None:
            return
        self.last, self.at_us = audit, self._clock.now_us()
        self.took_s = time.monotonic() - started_s
        self.runs += 1
        report(audit)

    def _pause(self) -> bool:
        return self._stop.wait(PAUSE_S)

    def _ended(self, running: asyncio.Future[None]) -> None:
        self._running = None
        if not running.cancelled() and (error := running.exception()) is not None:
            log.error("audit failed", error=type(error).__name__)

    def statistics(self) -> dict[str, float]:
        last = self.last
        return {
            "audit_runs": self.runs,
            "audit_at_us": self.at_us,
            "audit_took_s": round(self.took_s, 3),
            "audit_messages": last.messages if last else 0,
            "audit_unexplained": last.unexplained if last else 0,
        }

    async def stop(self) -> None:
        self._stop.set()
        if self._running is not None:
            await asyncio.wait([self._running])


def report(audit: Audit) -> None:
    """Numbers of accounts and messages only."""
    if not audit.unexplained:
        log.debug("audit", unexplained=0, messages=audit.messages, accounts=audit.accounts)
        return
    log.error("audit: unexplained", unexplained=audit.unexplained, messages=audit.messages)
    for found in audit.findings[:LOGGED_MAX]:
        log.error(
            "audit: unexplained message",
            what=found.what,
            sender=found.sender,
            recipient=found.recipient,
            id=found.id,
        )
