"""`python -m tests.faults.table [--rounds N]`: the fault table of docs/operations.md."""

import argparse
import asyncio
import tempfile
from pathlib import Path
from statistics import median

from tests.faults.faults import FAULTS, Row, suffer
from tests.faults.restoring import restored

HEAD = (
    "| fault | rounds | acknowledged | lost | shown twice | out of order | marks that lie "
    "| ready again (median, worst) |\n|---|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    seen = row.verdict
    times = f"{median(row.ready_s):.2f} s, {max(row.ready_s):.2f} s"
    return (
        f"| {row.name} | {row.rounds} | {seen['acknowledged']:,} | {seen['lost']} "
        f"| {seen['shown_twice']} | {seen['out_of_order']} | {seen['marks_that_lie']} | {times} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    bad = 0
    print(HEAD)
    for play in [*(_one(name) for name in FAULTS), restored]:
        with tempfile.TemporaryDirectory(prefix="whimbrel-faults-") as folder:
            row = asyncio.run(play(Path(folder), options.rounds))
        print(line(row), flush=True)
        bad += sum(count for name, count in row.verdict.items() if name != "acknowledged")
    return 1 if bad else 0


def _one(name: str):  # type: ignore[no-untyped-def]
    return lambda folder, rounds: suffer(FAULTS[name], folder, rounds)


if __name__ == "__main__":
    raise SystemExit(main())
