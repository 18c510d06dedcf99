"""`python -m bench`: runs the scenarios one after the other, prints one table, writes JSON.

    --only NAME,...   scenarios whose names begin so (default: all)
    --quick           shorter runs and smaller crowds: to see that it works, not to compare
    --list            the names

Exit code 0 also when a goal is missed (the table says so); 1 when a scenario failed.
"""

import argparse
import os
import platform
import sys
import time
import traceback
from pathlib import Path

from bench.figures import HEAD, Figures, line, missed, write_json
from bench.scenarios import SCENARIOS, Scenario

OUT = Path(__file__).parent / "out" / "latest.json"


def chosen(only: str) -> list[Scenario]:
    """Raises SystemExit for a name that is none."""
    if not only:
        return list(SCENARIOS)
    wanted = [part.strip() for part in only.split(",") if part.strip()]
    for part in wanted:
        if not any(scenario.name.startswith(part) for scenario in SCENARIOS):
            names = ", ".join(scenario.name for scenario in SCENARIOS)
            raise SystemExit(f"no scenario begins with {part!r}; there are: {names}")
    return [s for s in SCENARIOS if any(s.name.startswith(part) for part in wanted)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("bench", description="Reproducible figures of the server.")
    parser.add_argument("--only", default="", metavar="NAME,...")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    scenarios = chosen(options.only)
    if options.list:
        print("\n".join(scenario.name for scenario in scenarios))
        return 0
    figures: Figures = {}
    failed = []
    print(HEAD, flush=True)
    for scenario in scenarios:
        started = time.monotonic()
        try:
            found = scenario.run(options.quick)
        except Exception:
            failed.append(scenario.name)
            traceback.print_exc()
            continue
        figures.update(found)
        for name, figure in found.items():
            print(line(name, figure))
        print(f"    {scenario.name}: {time.monotonic() - started:.0f} s", flush=True)
    write_json(options.out, figures, facts(options.quick, failed))
    for name in missed(figures):
        print(f"goal missed: {name}")
    for name in failed:
        print(f"scenario failed: {name}")
    return 1 if failed else 0


def facts(quick: bool, failed: list[str]) -> dict[str, object]:
    """What a reader of the JSON must know besides the figures."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "quick": quick,
        "failed": failed,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
