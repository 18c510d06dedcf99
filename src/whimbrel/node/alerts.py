"""Alerts: what is too long, whose it is, where it goes, and what most likely causes it.

A rule fires when its figure has been over the threshold for `alerts.hold_s`, and clears when it has
been under half of it (of free space: over twice) for `alerts.clear_s`: so a figure that swings does
not ring twice. Nothing reacts to an alert but people; the server itself only ever slows down who
sends (law 5). Neighbours: monitor.py measures, webhook.py tells.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from whimbrel.domain.discreet import discreet

HISTORY_MAX = 200
TREND_SAMPLES = 10


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section [alerts] of the configuration; a threshold of 0 switches its alert off."""

    webhook: str = ""  # told in the format of Alertmanager (version 4) with every change
    hold_s: float = 3.0  # a figure has to be too high for so long
    clear_s: float = 10.0  # and low again for so long
    turn_queue_length: int = 5_000  # messages that wait for a turn
    turn_queue_age_ms: int = 1_000  # the oldest of them
    mailbox_length: int = 500  # messages that wait for one actor
    output_bytes: int = 262_144  # that one connection has not read yet
    commit_ms: int = 500  # the longest commit of the last second
    loop_lag_ms: int = 500  # how long nothing at all was served, in the last second
    timers: int = 200_000
    descriptors_percent: int = 80  # of what the system allows
    disk_free_mib: int = 512  # left where the data is
    certificate_days: int = 14  # until it ends
    audit_findings: int = 1  # messages that the audit cannot explain
    __repr__ = discreet

    def mistake(self) -> str:
        """What is wrong with it, or ""."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not isinstance(value, str) and value < 0:
                return f"{name}: write 0 or more"
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            return "webhook: write an address that begins with https:// or http://"
        return ""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in one second. Largest values are those of this second."""

    at_s: float = 0.0  # monotonic
    turn_queue_length: int = 0
    turn_queue_age_ms: float = 0.0
    arrived_per_s: float = 0.0
    served_per_s: float = 0.0
    mailbox_length: int = 0
    mailbox_owner: str = ""
    output_bytes: int = 0
    output_owner: str = ""
    commit_ms: float = 0.0
    turn_ms: float = 0.0
    loop_lag_ms: float = 0.0
    timers: int = 0
    actors: int = 0
    sessions: int = 0
    memory_mib: float = 0.0
    descriptors_percent: float = 0.0
    disk_free_mib: float = 0.0
    certificate_days: float = 0.0
    audit_findings: int = 0


class Rule(NamedTuple):
    """figure: a field of Sample and of AlertSettings. below: too little of it is what is bad."""

    figure: str
    title: str
    unit: str
    owner: Callable[[Sample], str] = lambda sample: "the server"
    below: bool = False
    grave: bool = False


RULES = (
    Rule("turn_queue_length", "messages wait for a turn", ""),
    Rule("turn_queue_age_ms", "the oldest message waits for a turn", "ms"),
    Rule("mailbox_length", "messages wait for one actor", "", lambda s: s.mailbox_owner),
    Rule("output_bytes", "bytes wait for a reader", "bytes", lambda s: s.output_owner),
    Rule("commit_ms", "a commit took long", "ms", lambda s: "the database"),
    Rule("loop_lag_ms", "nothing was served", "ms", lambda s: "the event loop"),
    Rule("timers", "timers are set", ""),
    Rule("descriptors_percent", "of all file descriptors are in use", "%", grave=True),
    Rule("disk_free_mib", "left on the disk", "MiB", lambda s: "the disk", True, True),
    Rule("certificate_days", "until the certificate ends", "days", lambda s: "TLS", True, True),
    Rule("audit_findings", "messages that the audit cannot explain", "", grave=True),
)


class Alert(msgspec.Struct, frozen=True):
    """name: of the figure. active: False: it has cleared. since_s, at_s: seconds since 1970."""

    name: str
    active: bool
    grave: bool
    owner: str
    text: str
    cause: str
    value: float
    threshold: float
    since_s: float
    at_s: float
    __repr__ = discreet


class _State:
    __slots__ = ("alert", "bad_s", "good_s")

    def __init__(self) -> None:
        self.alert: Alert | None = None  # that is active
        self.bad_s = -1.0  # since when the figure is too high, or -1
        self.good_s = -1.0  # and since when it is low again


class Board:
    """Which alerts are active. tell: every change, at once."""

    def __init__(
        self,
        settings: AlertSettings,
        tell: Sequence[Callable[[Alert], None]],
        wall_s: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.history: deque[Alert] = deque(maxlen=HISTORY_MAX)
        self._tell = tell
        self._wall_s = wall_s
        self._states = {rule.figure: _State() for rule in RULES}
        self._recent: deque[Sample] = deque(maxlen=TREND_SAMPLES)

    @property
    def active(self) -> list[Alert]:
        return [state.alert for state in self._states.values() if state.alert is not None]

    def look(self, sample: Sample) -> None:
        self._recent.append(sample)
        for rule in RULES:
            threshold = float(getattr(self.settings, rule.figure))
            if threshold:
                self._judge(rule, threshold, float(getattr(sample, rule.figure)), sample)

    def _judge(self, rule: Rule, threshold: float, value: float, sample: Sample) -> None:
        state = self._states[rule.figure]
        bad = value < threshold if rule.below else value >= threshold
        good = value >= 2 * threshold if rule.below else value < max(threshold / 2, 1)
        if state.alert is None:
            state.bad_s = -1.0 if not bad else sample.at_s if state.bad_s < 0 else state.bad_s
            if bad and sample.at_s - state.bad_s >= self.settings.hold_s:
                self._fire(rule, threshold, value, sample)
            return
        state.good_s = -1.0 if not good else sample.at_s if state.good_s < 0 else state.good_s
        if good and sample.at_s - state.good_s >= self.settings.clear_s:
            self._clear(rule, value)

    def _fire(self, rule: Rule, threshold: float, value: float, sample: Sample) -> None:
        now_s = self._wall_s()
        text = f"{_figure(value, rule.unit)} {rule.title}{self._trend(rule, value)}"
        cause = likely_cause(rule, sample, self.settings)
        alert = Alert(
            rule.figure, True, rule.grave, rule.owner(sample), text, cause, value, threshold,
            now_s, now_s,
        )  # fmt: skip
        state = self._states[rule.figure]
        state.alert, state.good_s = alert, -1.0
        self._say(alert)

    def _clear(self, rule: Rule, value: float) -> None:
        state = self._states[rule.figure]
        assert state.alert is not None
        text = f"{_figure(value, rule.unit)} {rule.title}"
        over = msgspec.structs.replace(
            state.alert, active=False, text=text, value=value, at_s=self._wall_s()
        )
        state.alert, state.bad_s = None, -1.0
        self._say(over)

    def _say(self, alert: Alert) -> None:
        self.history.append(alert)
        for tell in self._tell:
            tell(alert)

    def _trend(self, rule: Rule, value: float) -> str:
        """How fast it grows, from the samples of the last seconds."""
        first = self._recent[0]
        seconds = self._recent[-1].at_s - first.at_s
        if seconds <= 0:
            return ""
        rate = (value - float(getattr(first, rule.figure))) / seconds
        if abs(rate) * 10 < max(abs(value) / 10, 1):
            return ", steady"
        unit = f" {rule.unit}" if rule.unit else ""
        return f", {'growing' if rate > 0 else 'falling'} by {abs(rate):,.0f}{unit} a second"


def _figure(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return f"{number}{'' if unit in ('', '%') else ' '}{unit}"


def likely_cause(rule: Rule, sample: Sample, settings: AlertSettings) -> str:
    """What the other figures of the same second say."""
    if rule.figure == "output_bytes":
        return (
            "this client reads more slowly than it is written to; it is held back, others are not"
        )
    if rule.figure in ("disk_free_mib", "certificate_days", "descriptors_percent"):
        return {
            "disk_free_mib": "what waits for people who do not come, media, or other programs",
            "certificate_days": "nobody has renewed it",
            "descriptors_percent": "many connections; raise the limit of open files",
        }[rule.figure]
    if rule.figure == "audit_findings":
        return "see `whimbrel audit`: a restored backup, a damaged disk, or a bug"
    if rule.figure == "commit_ms" or 0 < settings.commit_ms <= sample.commit_ms:
        return f"slow disk: a commit took {sample.commit_ms:,.0f} ms"
    if sample.turn_ms >= max(sample.loop_lag_ms / 2, 100):
        return f"long turns: one took {sample.turn_ms:,.0f} ms"
    if 0 < settings.loop_lag_ms <= sample.loop_lag_ms:
        return f"the loop was held up outside of turns for {sample.loop_lag_ms:,.0f} ms"
    if sample.mailbox_length >= max(sample.turn_queue_length / 2, 20):
        return f"one hot actor: {sample.mailbox_length:,} messages are for {sample.mailbox_owner}"
    if sample.arrived_per_s > sample.served_per_s * 1.05:
        return (
            f"more comes in ({sample.arrived_per_s:,.0f} a second)"
            f" than is served ({sample.served_per_s:,.0f})"
        )
    return "load"
