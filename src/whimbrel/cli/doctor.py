"""`whimbrel doctor`: look at an installation and say what is wrong and what to do."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from whimbrel.node.doctor.examine import examine
from whimbrel.node.doctor.finding import BAD, GOOD, LEVELS, UNKNOWN, WARNING, Finding, exit_code

SIGNS = {GOOD: ("✓", "green"), UNKNOWN: ("?", "cyan"), WARNING: ("!", "yellow"), BAD: ("✗", "red")}
SUBJECT_COLUMNS = 20


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file (TOML).")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder; default ./whimbrel-data.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody else: no DNS.")] = False,
) -> None:
    """Check an installation. Exit code 0: well; 1: warnings; 2: something is bad."""
    console = Console(highlight=False)
    found: list[Finding] = []
    for finding in examine(config, data, not offline):
        found.append(finding)
        if not json:
            console.print(shown(finding))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        console.print(summary(found))
    raise typer.Exit(exit_code(found))


def shown(finding: Finding) -> Table:
    """A sign, the subject, and what was found; under that what to do."""
    sign, colour = SIGNS[finding.level]
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2, justify="right")
    table.add_column(width=SUBJECT_COLUMNS, overflow="fold")
    table.add_column(overflow="fold")
    what = Text(finding.what)
    if finding.advice:
        what.append(f"\n→ {finding.advice}", style=colour)
    table.add_row(Text(sign, f"bold {colour}"), Text(finding.subject, "bold"), what)
    return table


def summary(found: list[Finding]) -> Text:
    counts = [
        f"{sum(each.level == level for each in found)} {level}"
        for level in LEVELS
        if any(each.level == level for each in found)
    ]
    return Text("\n " + ", ".join(counts), style="bold")
