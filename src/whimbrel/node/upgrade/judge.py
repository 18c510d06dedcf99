"""Is the new version worse? Compares what both did with the same kinds of messages.

Worse is what harms: messages that fail, time, and (if the operator wants it) effects that come
more or less often. A good version may change effects on purpose, so a difference is otherwise
noted and shown. Few messages prove nothing, and that is said too.
"""

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any, NamedTuple

from whimbrel.edge.http.shapes import UpgradeMeasure
from whimbrel.node.upgrade.settings import UpgradeSettings
from whimbrel.runtime.trial import Tally

SIGMAS = 4.0
NOTES_MAX = 12


class Compared(NamedTuple):
    name: str
    old: Tally
    new: Tally


class Judgement(NamedTuple):
    worse: str  # "" or why
    notes: list[str]
    measures: list[UpgradeMeasure]


def compared(old: Mapping[Any, Tally], new: Mapping[Any, Tally]) -> Iterator[Compared]:
    for key in new.keys() & old.keys():
        yield Compared(getattr(key, "__name__", str(key)), old[key], new[key])


def judge(
    pairs: list[Compared], failed_new: int, failures: list[str], settings: UpgradeSettings
) -> Judgement:
    pairs = sorted(
        (pair for pair in pairs if pair.new.calls), key=lambda pair: (-pair.new.calls, pair.name)
    )
    measures = [_measure(pair, settings) for pair in pairs]
    notes = [f"{m.message}: {m.effects}" for m in measures if m.effects]
    if not pairs:
        notes.append("no messages came: nothing could be compared")
    few = [pair.name for pair in pairs if _few(pair, settings)]
    if few:
        more = f" and {len(few) - 4} more" if len(few) > 4 else ""
        notes.append(f"too few to compare: {', '.join(few[:4])}{more}")
    worse = ""
    if failed_new > settings.failures_max:
        what = ", ".join(sorted(set(failures))[:3])
        worse = f"{failed_new} failed on the new version only ({what})"
    elif slow := next((m for m in measures if _slower(m, settings)), None):
        times = slow.new_us / max(slow.old_us, 0.01)
        worse = (
            f"{slow.message} takes {slow.new_us:.0f} us instead of {slow.old_us:.0f} us, "
            f"{times:.1f} times as long ({slow.new_calls} messages)"
        )
    elif settings.effects_roll_back and (odd := next((m for m in measures if m.effects), None)):
        worse = f"{odd.message}: {odd.effects}"
    return Judgement(worse, notes[:NOTES_MAX], measures)


def _measure(pair: Compared, settings: UpgradeSettings) -> UpgradeMeasure:
    return UpgradeMeasure(
        pair.name,
        pair.old.calls,
        pair.new.calls,
        round(pair.old.mean_us, 2),
        round(pair.new.mean_us, 2),
        "" if _few(pair, settings) else "; ".join(_effects(pair, settings)),
    )


def _few(pair: Compared, settings: UpgradeSettings) -> bool:
    return min(pair.old.calls, pair.new.calls) < settings.samples_min


def _slower(measure: UpgradeMeasure, settings: UpgradeSettings) -> bool:
    return (
        min(measure.old_calls, measure.new_calls) >= settings.samples_min
        and measure.new_us > settings.slower_max * measure.old_us
        and measure.new_us - measure.old_us >= settings.slower_us_min
    )


def _effects(pair: Compared, settings: UpgradeSettings) -> Iterator[str]:
    """Kinds of effects whose number per message differs by more than tolerance and chance."""
    old, new = pair.old, pair.new
    for kind in sorted(old.effects.keys() | new.effects.keys(), key=lambda kind: kind.__name__):
        before, after = old.effects[kind] / old.calls, new.effects[kind] / new.calls
        most = max(before, after)
        chance = SIGMAS * sqrt(most / min(old.calls, new.calls))
        if abs(after - before) > settings.effects_tolerance * most + chance:
            yield f"{kind.__name__} {before:.2f} -> {after:.2f} a message"
