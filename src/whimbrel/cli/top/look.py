"""How figures look on a terminal: numbers, times, sparklines. Pure functions."""

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
UNITS = ("", "k", "M", "G")


def spark(values: Sequence[float], width: int) -> str:
    """The newest values from the right; more values than columns are shown by their largest."""
    if width <= 0 or not values:
        return ""
    group = -(-len(values) // width)
    tail = list(values)
    first = len(tail) % group
    groups = ([tail[:first]] if first else []) + [
        tail[at : at + group] for at in range(first, len(tail), group)
    ]
    shown = [max(each) for each in groups][-width:]
    top = max(shown)
    if top <= 0:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[min(7, int(value / top * 7.999))] for value in shown)


def count(value: float) -> str:
    """At most seven characters: 999, 12,345, 1.2M."""
    if value < 0:
        return "–"
    if value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 100_000:
        return f"{value:,.0f}"
    for unit in UNITS:
        if value < 999.5:
            return f"{value:.1f}{unit}" if value < 100 else f"{value:.0f}{unit}"
        value /= 1_000
    return f"{value:,.0f}T"


def milliseconds(value: float) -> str:
    if value < 0:
        return "–"
    if value < 10:
        return f"{value:.2f} ms" if value else "0 ms"
    if value < 1_000:
        return f"{value:.0f} ms"
    return seconds(value / 1e3)


def seconds(value: float) -> str:
    """Two units at most: 12 s, 3 m 20 s, 5 h 2 m, 3 d 4 h."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes} m {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} m"
    return f"{hours // 24} d {hours % 24} h"


def size(value: float) -> str:
    """Bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1_000 or unit == "GiB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1_024
    raise AssertionError


def mebibytes(value: float) -> str:
    return size(value * 1_048_576)


def ago(at_us: int, now_us: int) -> str:
    return f"{seconds(max(0, now_us - at_us) / 1e6)} ago" if at_us else "never"
