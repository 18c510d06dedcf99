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
from whimbrel.storage.ledger import Traced

Line = tuple[int, str, str]  # when (0: not known), what, more


class _Session(msgspec.Struct):
    device: int
    pushed: int
    confirmed: int


class Live(msgspec.Struct):
    """The running server's part of the story."""

    attempts: int
    retry_in_s: float
    sessions: list[_Session]


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


def timeline(one: Traced, live: Live | None) -> list[Line]:
    """What happened, in the order in which it must have happened."""
    from whimbrel.domain.rows import DELIVERED, OPEN, READ, REFUSED, REMOVED

    lines: list[Line] = [(one.accepted_us, "accepted", "on the sender's disk: first check mark")]
    stored = one.stored_id >= one.id
    if one.state == OPEN:
        lines += _under_way(one, live, stored)
    if one.state in (REFUSED, REMOVED):
        lines.append((one.final_us, "given back", f"{one.code}: the sender was told"))
        return lines
    if stored or one.stored_us:
        place = f", item {one.q}" if one.q else ""
        at_us = one.waits_since_us or one.stored_us
        lines.append((at_us, "stored", f"in {one.recipient}'s inbox{place}"))
    lines += _pushed(one, live)
    if one.delivered_us:
        lines.append((one.delivered_us, "confirmed", "a device has it: second check mark"))
    elif one.delivered_id >= one.id:
        lines.append((0, "confirmed", "a device has it; the sender will hear it"))
    if one.read_us:
        lines.append((one.read_us, "read", "blue check marks"))
    if not one.q and one.state in (DELIVERED, READ):
        lines.append((0, "wiped", "no text of it is left on the server"))
    elif one.q and not one.waits_with_body:
        lines.append((0, "wiped", "its text is gone"))
    elif one.q and one.delivered_id >= one.id:
        lines.append((0, "waiting", "for the recipient's other devices"))
    elif one.q:
        lines.append((0, "waiting", "for a device of the recipient"))
    return lines


def _under_way(one: Traced, live: Live | None, stored: bool) -> list[Line]:
    if stored:
        return [(0, "told", "the answer of the recipient's actor is on its way")]
    if live is None:
        return [(0, "under way", "tried again when the server runs")]
    if live.attempts:
        return [(0, "told", f"{live.attempts} attempts, the next in {live.retry_in_s:.1f} s")]
    return [(0, "queued", "behind older messages to the same person")]


def _pushed(one: Traced, live: Live | None) -> list[Line]:
    lines: list[Line] = []
    for session in live.sessions if live is not None and one.q else ():
        if session.confirmed < one.q:
            word = "pushed" if session.pushed >= one.q else "lagging"
            lines.append((0, word, f"device {session.device} is at item {session.confirmed}"))
    return lines


async def _live(data: object, one: Traced) -> Live | None:
    """None if no server runs."""
    admin = admin_of(data)  # type: ignore[arg-type]
    if admin is None or not one.recipient:
        return None
    query = urlencode({"sender": one.sender, "recipient": one.recipient})
    url = f"{admin.url.rstrip('/')}/admin/messages/{one.id}?{query}"
    try:
        return msgspec.convert(await admin_request("GET", url, admin, None), Live)
    except (aiohttp.ClientError, TimeoutError, ClientError):
        return None


def _when(at_us: int) -> str:
    if not at_us:
        return ""
    return datetime.fromtimestamp(at_us / 1e6, tz=UTC).astimezone().strftime("%H:%M:%S.%f")
