"""Housekeeping: what nobody asks for but has to be done. All of it bounded, all of it again.

Timers fire; idle actors sleep; owners of open work are woken although nobody addresses them
(DELIVERY.md: scanned at takeover and every minute); messages and ledger lines past their
time are handed to their actors, which alone may change them (law 6).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Alarm, ExpireInbox, ForgetArchive, ForgetLedger, ToActor
from whimbrel.domain.ports import Clock, Store
from whimbrel.domain.wants import OwnersArchive, OwnersExpired, OwnersLedger, OwnersOpen, Want
from whimbrel.node.clock import ClockWatch
from whimbrel.runtime.engine import Engine

log = structlog.get_logger("whimbrel.node")

TICK_S = 0.1
SECOND_TICKS = 10
OPEN_SCAN_S = 60
EXPIRY_SCAN_S = 600
SCAN_SLICE = 1_000
SLICE_S = 2.0  # between two slices of what is too old


class Housekeeping:
    def __init__(
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        watch: ClockWatch,
        limits: Limits,
        every_second: list[Callable[[], None]],
        owns: Callable[[int], bool] = lambda account: True,
    ) -> None:
        """owns: does this account's actor live here? A shared database shows all."""
        self._engine = engine
        self._store = store
        self._clock = clock
        self._watch = watch
        self._limits = limits
        self._every_second = every_second
        self._owns = owns
        self._ticks = 0
        self._handle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self.scan_open(0)
        self._handle = self._loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        self._handle = self._loop.call_later(TICK_S, self._tick)
        now_us = self._clock.monotonic_us()
        self._engine.tick(now_us)
        self._ticks += 1
        if self._ticks % SECOND_TICKS:
            return
        self._engine.sweep(now_us)
        for call in self._every_second:
            try:
                call()
            except Exception as error:  # the others have their work to do
                log.error("a part of housekeeping failed", error=type(error).__name__)
        second = self._ticks // SECOND_TICKS
        if second % OPEN_SCAN_S == 0:
            self.scan_open(0)
        if self._watch.look():
            log.error("the wall clock jumped by more than an hour: expiry is suspended")
        if second % EXPIRY_SCAN_S == 0 and not self._watch.jumped:
            self.scan_expiry()

    def scan_open(self, after: int) -> None:
        """Wake owners of open rows and owed receipts, a slice at a time."""

        def then(owners: list[int]) -> None:
            for owner in filter(self._owns, owners):
                self._engine.post(owner, Alarm())
            if len(owners) == SCAN_SLICE:
                last = owners[-1]
                self._loop.call_later(TICK_S, lambda: self._scan_more(last))

        self._load(OwnersOpen(after, SCAN_SLICE), then)

    def _scan_more(self, last: int) -> None:
        if self._handle is not None:  # not stopped meanwhile
            self.scan_open(last)

    def scan_expiry(self) -> None:
        now_us = self._clock.now_us()
        inbox_us = now_us - self._limits.inbox_expiry_s * 1_000_000
        ledger_us = now_us - self._limits.ledger_s * 1_000_000

        # Also when nothing is kept any more: what was kept before goes.
        archive_us = now_us - self._limits.archive_s * 1_000_000
        self._scan_old(OwnersExpired(inbox_us, SCAN_SLICE), ExpireInbox(inbox_us))
        self._scan_old(OwnersLedger(ledger_us, SCAN_SLICE), ForgetLedger(ledger_us))
        self._scan_old(OwnersArchive(archive_us, SCAN_SLICE), ForgetArchive(archive_us))

    def _scan_old(self, want: Want, work: ToActor, before: Sequence[int] = ()) -> None:
        """Owners of what is too old, a slice of them; then those who are found after these have
        done their work. It ends when nobody is left, or nothing was done about those who are.
        """

        def then(owners: list[int]) -> None:
            if not owners or owners == before:
                return
            for owner in filter(self._owns, owners):
                self._engine.post(owner, work)
            self._loop.call_later(SLICE_S, lambda: self._scan_old_more(want, work, owners))

        self._load(want, then)

    def _scan_old_more(self, want: Want, work: ToActor, before: Sequence[int]) -> None:
        if self._handle is not None:  # not stopped meanwhile
            self._scan_old(want, work, before)

    def _load(self, want: Want, then: Callable[[list[Any]], None]) -> None:
        def done(answers: list[Any] | Exception) -> None:
            if isinstance(answers, Exception):
                log.warning("scan failed", reason=str(answers))
            else:
                then(answers[0])

        if self._engine.ready:
            self._store.load([want], done)
