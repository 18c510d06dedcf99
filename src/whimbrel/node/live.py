"""The snapshot: once a second, what administrators look at, made of what is counted anyway.

monitor.py measures and alerts.py judges; here rates are made of counters, and the figures get the
shapes of edge/http/shapes.py. The five minutes of history are always kept; a whole snapshot is made
only in seconds in which somebody looks, and then once. docs/administration.md tells what it costs.
"""

import time
from collections import deque
from collections.abc import Callable
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from whimbrel import __version__
from whimbrel.domain.histogram import BOUNDS_US, Histogram, quantile_us
from whimbrel.edge.http.live import Feed
from whimbrel.edge.http.shapes import (
    AlertLine,
    AuditBrief,
    Bars,
    BusyLine,
    FrontLine,
    Histograms,
    History,
    InboxLine,
    Machine,
    QueueLine,
    ReaderLine,
    Snapshot,
    Spread,
    Traffic,
)
from whimbrel.node.alerts import Alert, Sample

if TYPE_CHECKING:
    from whimbrel.node.assemble import Node

HISTORY_S = 300
BUSIEST_SHOWN = 12
INBOXES_SHOWN = 10
UNITS = {"writer": "rows", "output": "bytes", "windows": "items", "timers": "timers"}


class Point(NamedTuple):
    """One second of the history."""

    accepted_per_s: float
    delivered_per_s: float
    turn_p99_ms: float
    commit_p99_ms: float
    lag_max_ms: float
    queue_length: int
    cpu_percent: float
    sessions: int


class _Second:
    """A histogram's last second."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._before = list(histogram.counts)

    def spread(self, max_ms: float, seconds: float) -> Spread:
        counts = list(self._histogram.counts)
        new = [now - before for now, before in zip(counts, self._before, strict=True)]
        self._before = counts
        p50, p99 = quantile_us(new, 0.5) / 1e3, quantile_us(new, 0.99) / 1e3
        return Spread(
            _round(min(p50, max_ms)),
            _round(min(p99, max_ms)),
            _round(max_ms),
            _round(sum(new) / seconds),
        )


class Live:
    """second: called by the monitor. Reads the node, changes nothing."""

    def __init__(self, node: "Node", connections: Callable[[], int]) -> None:
        self.feed = Feed()
        self._node = node
        self._connections = connections  # of HTTP
        monitor = node.monitor
        self._turn, self._commit = _Second(monitor.turns), _Second(monitor.commits)
        self._lag = _Second(monitor.lag)
        self._history: deque[Point] = deque(maxlen=HISTORY_S)
        self._started_s = self._at_s = time.monotonic()
        self._at_us = node.clock.now_us()
        self._counters = self._read_counters()
        self._rates = dict.fromkeys(self._counters, 0.0)
        self._cpu_percent = 0.0
        self._spreads = (Spread(0, 0, 0, 0),) * 3
        self._readers: list[tuple[int, str, str]] = []
        self._snapshot: Snapshot | None = None

    # ---- every second --------------------------------------------------------------------

    def second(self, sample: Sample) -> None:
        now_s = time.monotonic()
        seconds = max(now_s - self._at_s, 1e-3)
        self._at_s, self._at_us = now_s, self._node.clock.now_us()
        before, self._counters = self._counters, self._read_counters()
        self._rates = {
            name: max(0.0, value - before[name]) / seconds for name, value in self._counters.items()
        }
        self._cpu_percent = 100 * self._rates["cpu_s"]
        self._spreads = (
            self._turn.spread(sample.turn_ms, seconds),
            self._commit.spread(sample.commit_ms, seconds),
            self._lag.spread(sample.loop_lag_ms, seconds),
        )
        self._readers = self._node.listener.take_readers()
        turn, commit, lag = self._spreads
        self._history.append(
            Point(
                _round(self._rates["accepted"]),
                _round(self._rates["delivered"]),
                turn.p99_ms,
                commit.p99_ms,
                lag.max_ms,
                sample.turn_queue_length,
                _round(self._cpu_percent),
                sample.sessions,
            )
        )
        self._snapshot = None
        if self.feed.listens:
            self.feed.publish(self.snapshot())

    def _read_counters(self) -> dict[str, float]:
        node = self._node
        rules, store = node.host.counts, node.store.statistics
        return {
            "accepted": store.sent_rows,
            "delivered": rules["delivered"],
            "retried": rules["retried"],
            "logins": node.listener.counts["logins"],
            "handled": node.engine.queue_gauge.served,
            "commits": store.commits,
            "rows": store.rows,
            "cpu_s": time.process_time(),
        }

    # ---- when somebody looks -------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Of the last second; the same one for everybody."""
        if self._snapshot is None:
            self._snapshot = self._make()
        return self._snapshot

    def history(self) -> History:
        columns = list(zip(*self._history, strict=True)) or [()] * len(Point._fields)
        named = {name: list(column) for name, column in zip(Point._fields, columns, strict=True)}
        return History(at_us=self._at_us, **named)

    def histograms(self) -> Histograms:
        monitor = self._node.monitor
        return Histograms(_bars(monitor.turns), _bars(monitor.commits), _bars(monitor.lag))

    def _make(self) -> Snapshot:
        node, rates = self._node, self._rates
        sample = node.monitor.sample
        turn, commit, lag = self._spreads
        last = node.auditor.last
        return Snapshot(
            at_us=self._at_us,
            version=__version__,
            domain=node.config.domain,
            uptime_s=int(self._at_s - self._started_s),
            ready=not node.trouble,
            reason=node.trouble,
            actors=sample.actors,
            sessions=sample.sessions,
            traffic=Traffic(
                *(
                    _round(rates[name])
                    for name in (
                        "accepted", "delivered", "retried", "handled", "commits", "rows", "logins",
                    )
                )
            ),
            turn=turn,
            commit=commit,
            lag=lag,
            queues=self._queues(),
            fronts=self._fronts(),
            readers=[ReaderLine(who, front, n) for n, who, front in self._readers],
            busiest=self._busiest(),
            inboxes=self._largest_inboxes(),
            machine=Machine(
                _round(self._cpu_percent),
                _round(sample.memory_mib),
                _round(sample.descriptors_percent),
                _round(sample.disk_free_mib),
                _round(sample.certificate_days),
            ),
            audit=AuditBrief(
                node.auditor.at_us,
                last.messages if last else 0,
                last.unexplained if last else 0,
            ),
            alerts=[alert_line(alert) for alert in node.monitor.board.active],
            upgrade=node.upgrading(),
        )  # fmt: skip

    def _queues(self) -> list[QueueLine]:
        """As node/queues.py has measured them; a mailbox's state says what it waits for."""
        limits, alerts = self._node.config.limits, self._node.config.alerts
        bounds = {
            "turns": alerts.turn_queue_length,
            "writer": limits.batch_rows_max,
            "output": limits.out_buffer_bytes_max,
            "windows": limits.window_items_max,
            "mailbox": limits.mailbox_max,
            "inboxes": limits.inbox_messages_max,
        }
        return [
            QueueLine(
                queue.name,
                queue.owner,
                UNITS.get(queue.name, "messages"),
                queue.length,
                queue.total,
                _round(queue.age_s * 1e3),
                _round(queue.arrived_per_s),
                _round(queue.served_per_s),
                bounds.get(queue.name, 0),
                queue.state,
            )
            for queue in self._node.monitor.queues.all.values()
        ]

    def _fronts(self) -> list[FrontLine]:
        listener = self._node.listener
        found = [
            FrontLine(front, count, count - listener.silent_fronts[front])
            for front, count in sorted(listener.fronts.items())
            if count
        ]
        return [*found, FrontLine("http", self._connections(), 0)]

    def _busiest(self) -> list[BusyLine]:
        return [
            BusyLine(hot.address, _round(hot.served_per_s), hot.waiting, hot.state)
            for hot in self._node.monitor.queues.hottest[:BUSIEST_SHOWN]
        ]

    def _largest_inboxes(self) -> list[InboxLine]:
        """Those in memory as they are, the others as the last audit has found them."""
        last = self._node.auditor.last
        known = dict(last.inboxes) if last else {}
        known.update((address, count) for count, address in self._node.monitor.queues.fullest)
        largest = nlargest(INBOXES_SHOWN, known.items(), key=lambda pair: pair[1])
        return [InboxLine(address, count) for address, count in largest]


def alert_line(alert: Alert) -> AlertLine:
    return AlertLine(
        alert.name,
        alert.active,
        "critical" if alert.grave else "warning",
        alert.owner,
        alert.text,
        alert.cause,
        alert.value,
        alert.threshold,
        alert.since_s,
        alert.at_s,
    )


def _bars(histogram: Histogram) -> Bars:
    return Bars(list(BOUNDS_US), list(histogram.counts), histogram.sum_us)


def _round(value: float) -> float:
    return round(value, 3 if value < 10 else 1)
