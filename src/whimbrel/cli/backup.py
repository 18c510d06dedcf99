"""whimbrel backup and whimbrel restore: a data folder's copy, and the way back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from whimbrel.cli.acting import note_act
from whimbrel.cli.spoken import spoken
from whimbrel.cli.users import DEFAULT_DATA, DataOption
from whimbrel.client import ClientError

PAGE_BYTES = 4_096


@spoken
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder for the backup.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Copy the data folder as it is at this moment, also while the server runs."""
    from whimbrel.domain.errors import Unready
    from whimbrel.storage.backup import back_up

    columns = (TextColumn("copying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("copying")
            manifest = back_up(
                data,
                target,
                lambda done, total: bar.update(
                    task, completed=done * PAGE_BYTES, total=total * PAGE_BYTES
                ),
            )
    except Unready as error:
        raise ClientError(str(error)) from None
    note_act(data, "backup", str(target))
    made = datetime.fromtimestamp(manifest.made_us / 1e6, tz=UTC).astimezone()
    console = Console(highlight=False)
    console.print(
        f"[bold green]{target}[/bold green]: {manifest.accounts:,} accounts, "
        f"{manifest.database_bytes / 1e6:.1f} MB, {made:%Y-%m-%d %H:%M:%S}, checked"
    )
    console.print("It holds messages, keys and the certificate: keep it as safe as the server.")


@spoken
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that whimbrel backup made.")],
    data: DataOption = DEFAULT_DATA,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put what is in the data folder aside first.")
    ] = False,
) -> None:
    """Bring a backup back. The server must not run; a new era begins."""
    from whimbrel.domain.errors import Unready
    from whimbrel.storage.backup import restore as bring_back

    try:
        era, aside = bring_back(source, data, replace)
    except Unready as error:
        raise ClientError(str(error)) from None
    note_act(data, "restore", str(source))
    console = Console(highlight=False)
    console.print(f"[bold green]restored[/bold green] {source} to {data} (era {era})")
    if aside is not None:
        console.print(f"what was there before is in {aside}")
    console.print(
        "Phones that come back notice the new era: they send again what this backup does not "
        "know,\nand show nothing twice. Start the server: whimbrel serve --data " + str(data)
    )
