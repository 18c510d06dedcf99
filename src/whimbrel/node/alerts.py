"""Alerts: what is too long, whose it is, where it goes, and what most likely causes it.

A rule fires when its figure has been over the threshold for `alerts.hold_s`, and clears when it has
been well under it (`Rule.part`; of free space: over twice) for `alerts.clear_s`: so a figure that
swings does not ring twice. Nothing reacts to an alert but people; the server itself only ever slows
down who sends (law 5). Neighbours: monitor.py measures, samples.py names the figures, causes.py
reads them together, webhook.py and chatter.py tell.
"""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.node.causes import likely_cause
from whimbrel.node.samples import RULES, AlertSettings, Rule, Sample

HISTORY_MAX = 200
TREND_SAMPLES = 10


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
        good = value >= 2 * threshold if rule.below else value < max(threshold * rule.part, 1)
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
        text = rule.title.format(_figure(value, rule.unit)) + self._trend(rule, value)
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
        text = rule.title.format(_figure(value, rule.unit))
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
        if abs(rate) < 0.5 or abs(rate) * 10 < max(abs(value) / 10, 1):
            return ", steady"
        unit = f" {rule.unit}" if rule.unit else ""
        return f", {'growing' if rate > 0 else 'falling'} by {abs(rate):,.0f}{unit} a second"


def _figure(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return f"{number}{'' if unit in ('', '%') else ' '}{unit}"


__all__ = ["RULES", "Alert", "AlertSettings", "Board", "Rule", "Sample"]
