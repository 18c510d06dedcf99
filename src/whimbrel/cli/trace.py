"""whimbrel trace: the timeline of one message, from its acceptance to its wipe.

The durable facts come from the database; what only memory knows (attempts, pushes) from the
running server, if one runs. Its text is never read.
"""

import asyncio
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

import aiohttp
import msgspec
import typer
from rich.console import Console

from whimbrel.cli.spoken import spoken
from whimbrel.cli.users import DEFAULT_DATA, DataOption, admin_of, admin_request
from whimbrel.client import ClientError
from whimbrel.node.timeline import LiveFacts, timeline
from whimbrel.storage.ledger import Traced


@spoken
def trace(
    message: Annotated[int, typer.Argument(metavar="MESSAGE-ID", help="As the log shows it.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Print the timeline of one message."""
    from whimbrel.domain.errors import Unready
    from whimbrel.storage.ledger import opened, traced

    try:
        with opened(data) as db:
            found = traced(db, message)
    except Unready as error:
        raise ClientError(str(error)) from None
    if not found:
        raise ClientError(
            f"nobody has sent a message {message}, or its traces have been removed since"
        )
    console = Console(highlight=False)
    for one in found:
        live = asyncio.run(_live(data, one))
        console.print(
            f"[bold]message {one.id}[/bold]  {one.sender} (device {one.device}, "
            f"c {one.c}) -> {one.recipient}"
        )
        for at_us, what, more in timeline(one, live):
            console.print(f"  {_when(at_us):<15}  {what:<10}  [dim]{more}[/dim]")


async def _live(data: object, one: Traced) -> LiveFacts | None:
    """None if no server runs."""
    admin = admin_of(data)  # type: ignore[arg-type]
    if admin is None or not one.recipient:
        return None
    query = urlencode({"sender": one.sender, "recipient": one.recipient})
    url = f"{admin.url.rstrip('/')}/admin/messages/{one.id}?{query}"
    try:
        return msgspec.convert(await admin_request("GET", url, admin, None), LiveFacts)
    except (aiohttp.ClientError, TimeoutError, ClientError):
        return None


def _when(at_us: int) -> str:
    if not at_us:
        return ""
    return datetime.fromtimestamp(at_us / 1e6, tz=UTC).astimezone().strftime("%H:%M:%S.%f")
