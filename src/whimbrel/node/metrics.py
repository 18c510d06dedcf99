"""Metrics for Prometheus: the figures that are counted anyway, read when somebody asks.

Names follow Prometheus' practices: base units (seconds, bytes), counters end in _total, every
family has its HELP. Nothing here is kept: a scrape costs what reading the figures costs.
deploy/grafana and deploy/prometheus use these names; tests/deploy holds them to each other.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from whimbrel import __version__
from whimbrel.domain.histogram import BOUNDS_US, Histogram
from whimbrel.node.monitor import Monitor
from whimbrel.node.samples import RULES


class Figure(NamedTuple):
    """One figure of node/statistics.py under its public name.

    counted: its name there. factor: into the base unit.
    """

    counted: str
    name: str
    about: str
    factor: float = 1.0


GAUGES = (
    Figure("ready", "ready", "1: the server takes messages"),
    Figure("actors", "actors", "Accounts in memory"),
    Figure("edge_sessions", "sessions", "Connections, whatever they speak"),
    Figure("edge_silent", "sessions_unauthenticated", "Connections that have not logged in"),
    Figure("audit_messages", "audit_messages", "Messages that the last audit looked at"),
    Figure("audit_unexplained", "audit_unexplained_messages", "Of these, what it cannot explain"),
    Figure("audit_at_us", "audit_timestamp_seconds", "When the last audit ended, since 1970", 1e-6),
    Figure("audit_took_s", "audit_duration_seconds", "How long the last audit took"),
    Figure("store_wal_pages", "store_log_pages", "Pages in the database's log, not copied yet"),
    Figure("store_checkpoint_ms_max", "store_checkpoint_seconds_max", "Longest copying", 1e-3),
)
COUNTERS = (
    Figure("store_sent_rows", "messages_accepted", "Messages written to sent logs"),
    Figure("store_inbox_rows", "inbox_items", "Items written to inboxes"),
    Figure("store_commits", "store_commits", "Commits, each with its fsync"),
    Figure("store_rows", "store_rows", "Row operations committed"),
    Figure("store_failed", "store_failures", "Commits that failed"),
    Figure("store_checkpoints", "store_checkpoints", "Times that the database's log was copied"),
    Figure("edge_bytes-out", "output_bytes", "Bytes given to sockets"),
    Figure("edge_logins", "logins", "Sessions that have logged in, those of the probe too"),
    Figure("edge_connections", "connections", "Connections that were opened"),
)
EVENTS = {
    "engine_": ("engine_events", "What the engine counts: turns, loads, crashes, ..."),
    "rules_": ("rules_events", "What the rules count: PINs, trims, ..."),
    "edge_refused:": ("refusals", "What was refused to a peer, by code"),
    "edge_": ("edge_events", "What connections count besides"),
}
HISTOGRAMS: tuple[tuple[str, str, Callable[[Monitor], Histogram]], ...] = (
    ("turn", "How long turns take", lambda m: m.turns),
    ("commit", "From binding the rows to the end of the fsync", lambda m: m.commits),
    ("loop_lag", "How late the event loop is", lambda m: m.lag),
    (
        "probe_sign_in",
        "Until both of the probe have logged in",
        lambda m: m.probed.signed_in,
    ),
    ("probe_first_mark", "Until the probe's first check mark", lambda m: m.probed.first_mark),
    ("probe_second_mark", "Until the probe's second check mark", lambda m: m.probed.second_mark),
)
SKIPPED = (  # said better by the families of queues, histograms and the process
    "turn_queue_",
    "timers",
    "batch_number",
    "resident_max_kib",
    "store_commit_ms",
    "store_checkpoint",
)


class Metrics:
    def __init__(self, flat: Callable[[], dict[str, float]], monitor: Monitor) -> None:
        self._flat = flat
        self._monitor = monitor
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("whimbrel_build_info", "Which version runs", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        flat = self._flat()
        for figure in GAUGES:
            if figure.counted in flat:
                value = flat.pop(figure.counted) * figure.factor
                yield GaugeMetricFamily(f"whimbrel_{figure.name}", figure.about, value)
        for figure in COUNTERS:
            value = flat.pop(figure.counted, 0.0) * figure.factor
            yield CounterMetricFamily(f"whimbrel_{figure.name}", figure.about, value)
        yield from _events(flat)
        yield from self._system()
        yield from self._queues()
        for name, about, of in HISTOGRAMS:
            yield _histogram(name, about, of(self._monitor))
        yield self._alerts()

    def _system(self) -> Iterator[Metric]:
        now, probed = self._monitor.sample, self._monitor.probed
        for name, about, value in (
            (
                "memory_used_ratio",
                "Of what the system allows this process",
                now.memory_percent / 100,
            ),
            ("descriptors_used_ratio", "Of what the system allows", now.descriptors_percent / 100),
            ("disk_free_bytes", "Left where the data is", now.disk_free_mib * 1_048_576),
            ("certificate_remaining_seconds", "Until it ends", now.certificate_days * 86_400),
            (
                "window_unconfirmed_ratio",
                "Of the slowest client's window",
                now.window_percent / 100,
            ),
            ("probe_failures", "Probes in a row that have failed", probed.failures),
        ):
            yield GaugeMetricFamily(f"whimbrel_{name}", about, value)
        probes = CounterMetricFamily("whimbrel_probes", "Probes, by result", labels=["result"])
        probes.add_metric(["ok"], probed.done - probed.failed)
        probes.add_metric(["failed"], probed.failed)
        yield probes

    def _queues(self) -> Iterator[Metric]:
        """One label, `queue`; whose a queue is stands in alerts, never in a label."""
        queues = self._monitor.queues
        longest = GaugeMetricFamily(
            "whimbrel_queue_longest", "Entries of the longest one (output: bytes)", labels=["queue"]
        )
        entries = GaugeMetricFamily(
            "whimbrel_queue_entries", "Entries of all of a kind (output: bytes)", labels=["queue"]
        )
        age = GaugeMetricFamily(
            "whimbrel_queue_head_age_seconds", "How long its head has waited", labels=["queue"]
        )
        arrived = CounterMetricFamily(
            "whimbrel_queue_arrived", "Entries that came in (output: bytes)", labels=["queue"]
        )
        served = CounterMetricFamily(
            "whimbrel_queue_served", "Entries that were served (output: bytes)", labels=["queue"]
        )
        for name, queue in queues.all.items():
            longest.add_metric([name], queue.length)
            entries.add_metric([name], queue.total)
            age.add_metric([name], queue.age_s)
        for name, (came, went) in queues.counted.items():
            arrived.add_metric([name], came)
            served.add_metric([name], went)
        yield from (longest, entries, age, arrived, served)

    def _alerts(self) -> Metric:
        active = {alert.name for alert in self._monitor.board.active}
        alerts = GaugeMetricFamily(
            "whimbrel_alert_active", "1: the alert is active", labels=["name", "severity"]
        )
        for rule in RULES:
            severity = "critical" if rule.grave else "warning"
            alerts.add_metric([rule.figure, severity], float(rule.figure in active))
        return alerts


def _events(flat: Mapping[str, float]) -> Iterator[Metric]:
    """Everything else that is counted: one family a part, what it was as a label."""
    families = {
        prefix: CounterMetricFamily(
            f"whimbrel_{name}", about, labels=["code" if name == "refusals" else "event"]
        )
        for prefix, (name, about) in EVENTS.items()
    }
    for figure, value in flat.items():
        prefix = next((each for each in EVENTS if figure.startswith(each)), "")
        if prefix and not figure.startswith(SKIPPED):
            families[prefix].add_metric([figure.removeprefix(prefix)], value)
    yield from families.values()


def _histogram(name: str, about: str, of: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"whimbrel_{name}_seconds", about)
    buckets, seen = [], 0
    for bound, count in zip(BOUNDS_US, of.counts, strict=False):
        seen += count
        buckets.append((f"{bound / 1e6:g}", float(seen)))
    buckets.append(("+Inf", float(seen + of.counts[-1])))
    family.add_metric([], buckets, of.sum_us / 1e6)
    return family
