"""whimbrel audit: is every accepted message confirmed, waiting, on its way or given back?

Reads the database beside a running server, or without one; changes nothing.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from whimbrel.cli.spoken import spoken
from whimbrel.cli.users import DEFAULT_DATA, DataOption
from whimbrel.client import ClientError

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="The server's configuration.", dir_okay=False)
]


@spoken
def audit(data: DataOption = DEFAULT_DATA, config: ConfigOption = None) -> None:
    """Reconcile the ledger of all messages; exit code 1 if something is unexplained."""
    from whimbrel.domain.errors import Unready  # a chat does not pay for the server's code
    from whimbrel.node.audit import run_audit
    from whimbrel.node.config import ConfigError, load_config
    from whimbrel.storage.ledger import CLASSES

    started_s = time.monotonic()
    try:
        limits = load_config(config).limits
        found = run_audit(data, limits, time.time_ns() // 1_000)
    except (Unready, ConfigError) as error:
        raise ClientError(str(error)) from None
    assert found is not None
    console = Console()
    table = Table("where", "messages", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name in CLASSES:
        table.add_row(name, f"{found.classes[name]:,}")
    console.print(table)
    for finding in found.findings:
        who = f"from {finding.sender} to {finding.recipient}" if finding.sender else ""
        who = who or f"account {finding.recipient}"
        about = f"message {finding.id} " if finding.id else ""
        console.print(f"  {about}{who}: {finding.what}", style="red", highlight=False)
    if found.unexplained > len(found.findings):
        console.print(f"  ... and {found.unexplained - len(found.findings):,} more")
    console.print(
        f"{found.unexplained:,} unexplained of {found.messages:,} messages, "
        f"{found.accounts:,} accounts, {time.monotonic() - started_s:.2f} s",
        style="bold red" if found.unexplained else "bold green",
        highlight=False,
    )
    if found.unexplained:
        raise typer.Exit(1)
