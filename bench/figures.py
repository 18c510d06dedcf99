"""Figures: what a scenario hands back, the goals they are held against, and the report.

A name ends in its unit. Goals come from the issue that asked for them; a figure without a
goal is there to explain those that have one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    value: float
    bound: str = ""  # what bounds it: shown once for figures that stand together


Figures = dict[str, Figure]

# at most so much
GOALS: dict[str, float] = {
    "native_tls_500x1_cpu_us_per_message": 60,
    "native_tls_50x10_cpu_us_per_message": 20,
    "native_tls_idle_kib_per_connection": 24,
    "native_tls_login_cpu_ms": 0.7,
    "native_tls_500ps_delivered_p99_ms": 20,
    "backlog_100k_growth_mib": 50,
    "backlog_100k_others_p99_ms": 50,
    "start_1m_users_s": 2,
}


def verdict(name: str, value: float) -> str:
    goal = GOALS.get(name)
    if goal is None:
        return ""
    return "ok" if value <= goal else "MISS"


def missed(figures: Mapping[str, Figure]) -> list[str]:
    return [name for name, figure in figures.items() if verdict(name, figure.value) == "MISS"]


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"


def short(count: int) -> str:
    """1_000_000 is 1m, 100_000 is 100k."""
    if count % 1_000_000 == 0:
        return f"{count // 1_000_000}m"
    return f"{count // 1_000}k" if count % 1_000 == 0 else str(count)


HEAD = f"{'figure':<44} {'value':>10} {'goal':>8} {'':<4}  what bounds it"


def line(name: str, figure: Figure) -> str:
    goal = GOALS.get(name)
    wanted = "" if goal is None else f"<= {goal:g}"
    text = f"{name:<44} {shown(figure.value):>10} {wanted:>8} {verdict(name, figure.value):<4}"
    return f"{text}  {figure.bound}".rstrip()


def write_json(path: Path, figures: Mapping[str, Figure], facts: Mapping[str, object]) -> None:
    """One flat object, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table: dict[str, object] = dict(facts)
    table.update({name: round(figure.value, 4) for name, figure in figures.items()})
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(table, indent=1) + "\n")
    fresh.rename(path)
