"""whimbrel migrate: from the store of one machine to PostgreSQL, for several."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from whimbrel.cli.spoken import spoken
from whimbrel.client import ClientError


@spoken
def migrate(
    from_: Annotated[str, typer.Option("--from", help="sqlite:FOLDER, a server's data folder.")],
    to: Annotated[str, typer.Option("--to", help="postgresql://USER:PASSWORD@HOST/DATABASE")],
) -> None:
    """Move an installation to PostgreSQL. The server must not run. Repeat it if it broke off."""
    from whimbrel.domain.errors import Unready
    from whimbrel.storage.moving import move

    kind, _, folder = from_.partition(":")
    if kind != "sqlite" or not folder:
        raise ClientError("--from: write sqlite:FOLDER, with the server's data folder")
    if not to.startswith(("postgresql://", "postgres://")):
        raise ClientError("--to: write postgresql://USER:PASSWORD@HOST/DATABASE")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("copying")
            moved = asyncio.run(
                move(
                    Path(folder),
                    to,
                    lambda what, done, total: bar.update(
                        task, description=what, completed=done, total=total
                    ),
                )
            )
    except Unready as error:
        raise ClientError(str(error)) from None
    console = Console(highlight=False)
    rows = ", ".join(f"{name} {count:,}" for name, count in moved.rows.items() if count)
    console.print(f"[bold green]moved[/bold green] and compared: {rows or 'nothing'}")
    if moved.resumed:
        console.print(f"{moved.resumed:,} rows were there from an earlier run")
    console.print(
        "Name the database under \\[store] url in the configuration, and start the server."
    )
