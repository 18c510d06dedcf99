"""Metrics for Prometheus: the figures that are counted anyway, read when somebody asks.

Names end in their unit and counters in _total (Prometheus' naming practices). Nothing here is
kept: a scrape costs what reading the figures costs.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from whimbrel.domain.histogram import BOUNDS_US, Histogram
from whimbrel.node.monitor import Monitor

# statistics that go up and down; all others only grow
GAUGES = frozenset(
    {
        "ready",
        "actors",
        "timers",
        "resident_max_kib",
        "turn_queue_length",
        "turn_queue_age_us",
        "turn_queue_longest",
        "edge_sessions",
        "edge_silent",
        "audit_at_us",
        "audit_took_s",
        "audit_messages",
        "audit_unexplained",
        "store_commit_ms_last",
        "store_commit_ms_max",
        "store_checkpoint_ms_last",
        "store_checkpoint_ms_max",
        "store_wal_pages",
    }
)
SAMPLED = {
    "mailbox_length": "messages that wait for the actor with the longest mailbox",
    "output_bytes": "bytes that wait for the slowest reader",
    "loop_lag_ms": "how long nothing was served, in the last second",
    "arrived_per_s": "messages to actors in the last second",
    "served_per_s": "messages that actors have taken in the last second",
    "memory_mib": "resident memory",
    "descriptors_percent": "of the file descriptors that the system allows",
    "disk_free_mib": "left where the data is",
    "certificate_days": "until the certificate ends",
}


class Metrics:
    def __init__(self, flat: Callable[[], dict[str, float]], monitor: Monitor) -> None:
        self._flat = flat
        self._monitor = monitor
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        labelled: dict[str, CounterMetricFamily] = {}
        for figure, value in self._flat().items():
            name, colon, code = figure.partition(":")
            name = "whimbrel_" + name.replace("-", "_")
            if colon:
                family = labelled.get(name)
                if family is None:
                    family = labelled[name] = CounterMetricFamily(name, "by code", labels=["code"])
                family.add_metric([code], value)
            elif figure in GAUGES:
                yield GaugeMetricFamily(name, figure.replace("_", " "), value)
            else:
                yield CounterMetricFamily(name, figure.replace("_", " "), value)
        yield from labelled.values()
        monitor = self._monitor
        for field, about in SAMPLED.items():
            yield GaugeMetricFamily(
                f"whimbrel_{field}", about, float(getattr(monitor.sample, field))
            )
        yield _histogram("turn", "how long turns take", monitor.turns)
        yield _histogram("commit", "from binding to the end of the fsync", monitor.commits)
        yield _histogram("loop_lag", "how late the loop's own timer is", monitor.lag)
        alerts = GaugeMetricFamily("whimbrel_alert", "1: active", labels=["name", "severity"])
        for alert in monitor.board.active:
            alerts.add_metric([alert.name, "critical" if alert.grave else "warning"], 1)
        yield alerts


def _histogram(name: str, about: str, of: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"whimbrel_{name}_seconds", about)
    buckets, seen = [], 0
    for bound, count in zip(BOUNDS_US, of.counts, strict=False):
        seen += count
        buckets.append((f"{bound / 1e6:g}", float(seen)))
    buckets.append(("+Inf", float(seen + of.counts[-1])))
    family.add_metric([], buckets, of.sum_us / 1e6)
    return family
