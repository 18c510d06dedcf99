"""`python -m tests.fuzz.table [--seconds N] [--seed N] [TARGET ...]` prints the fuzz table.

Markdown, for docs/fuzzing.md; inputs that broke something follow it, ready to be pasted.
"""

import argparse

from tests.fuzz.guided import Report, fuzz
from tests.fuzz.targets import TARGETS

HEAD = """| target | law | executions | seconds | arcs | new | outcomes | new | findings |
|---|---|---|---|---|---|---|---|---|"""


def line(law: str, report: Report) -> str:
    return (
        f"| {report.target} | {law} | {report.executions:,} | {report.seconds:.0f} "
        f"| {report.lines} | {report.lines - report.lines_of_seeds} "
        f"| {report.outcomes} | {report.outcomes - report.outcomes_of_seeds} "
        f"| {len(report.findings)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.table", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names, or parts of them; all if none is given")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(HEAD)
    broken: list[Report] = []
    for target in TARGETS:
        if not options.targets or any(part in target.name for part in options.targets):
            report = fuzz(target, options.seed, seconds=options.seconds)
            print(line(target.law, report), flush=True)
            broken += [report] if report.findings else []
    for report in broken:
        for place, data in report.findings.items():
            print(f"\n{report.target}: {place}\n    {data!r}")


if __name__ == "__main__":
    main()
