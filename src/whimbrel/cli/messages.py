"""whimbrel send | listen: for scripts. One message out, or a stream of messages in."""

import asyncio
import sys
from datetime import datetime
from typing import Annotated, Literal

import msgspec
import typer

from whimbrel.cli.account import AccountOption
from whimbrel.cli.home import Home, compact
from whimbrel.cli.printable import printable
from whimbrel.cli.spoken import run, spoken, wait_online
from whimbrel.client import Client, ClientError, Incoming, SentMessage
from whimbrel.client.errors import wait_text
from whimbrel.client.streams import Events
from whimbrel.client.words import Connection, Delayed

Mark = Literal["stored", "delivered", "read"]
WORDS = ("queued", "stored", "delivered", "read", "failed")
PATIENCE_S = 5.0  # a server that asks to wait longer than this is reported


@spoken
def send(
    peer: Annotated[str, typer.Argument(help="To whom: a number or a name.")],
    text: Annotated[str, typer.Argument(help="What; '-' reads it from the standard input.")],
    wait: Annotated[Mark, typer.Option("--wait", help="For which check mark.")] = "stored",
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for it.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    account: AccountOption = None,
) -> None:
    """Send one message and wait for its check mark."""
    said = sys.stdin.read().rstrip("\n") if text == "-" else text
    message = run(_send(account, compact(peer), said, wait, timeout))
    if as_json:
        print(msgspec.json.encode(_described(message)).decode())
    else:
        print(f"{WORDS[message.state]}: {message.to} {message.time:%Y-%m-%d %H:%M:%S} UTC")


async def _send(
    account: str | None, peer: str, text: str, wait: Mark, timeout_s: float
) -> SentMessage:
    home = Home()
    async with home.client(home.pick(account)) as client:
        await wait_online(client)
        refusals = asyncio.ensure_future(_long_delay(client.events()))
        message = await client.send(peer, text)
        mark = asyncio.ensure_future(getattr(message, wait))
        done, _ = await asyncio.wait(
            (mark, refusals), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        refusals.cancel()
        if mark in done:
            mark.result()
            return message
        mark.cancel()
        if refusals in done:
            raise refusals.result()
        raise ClientError(
            f"not {wait} after {timeout_s:g} seconds (it is {WORDS[message.state]}); "
            "nothing is lost, it goes on by itself"
        )


async def _long_delay(events: Events) -> ClientError:
    """Gives an error when the server asks to wait for longer than people like to."""
    async for event in events:
        if isinstance(event, Delayed) and event.retry_s > PATIENCE_S:
            return ClientError(
                f"the server takes no message now ({event.code}); try again in "
                f"{wait_text(round(event.retry_s))}. The message waits here and goes out with "
                "the next connection"
            )
    never: asyncio.Future[ClientError] = asyncio.get_running_loop().create_future()
    return await never


def _described(message: SentMessage) -> dict[str, object]:
    marks = (message.stored_us, message.delivered_us, message.read_us)
    return {
        "to": message.to,
        "c": message.c,
        "id": message.id,
        "state": WORDS[message.state],
        **{word + "_us": us or None for word, us in zip(WORDS[1:4], marks, strict=True)},
    }


@spoken
def listen(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    count: Annotated[int, typer.Option("--count", help="Stop after so many; 0: never.")] = 0,
    account: AccountOption = None,
) -> None:
    """Print incoming messages; each is confirmed when it was printed."""
    run(_listen(account, as_json, count))


async def _listen(account: str | None, as_json: bool, count: int) -> None:
    home = Home()
    async with home.client(home.pick(account)) as client:
        reports = asyncio.ensure_future(_report_connection(client))
        try:
            messages = client.messages()
            printed = 0
            async for message in messages:
                print(_as_json(message) if as_json else _as_text(message), flush=True)
                printed += 1
                if printed == count:
                    messages.handled()
                    return
        finally:
            reports.cancel()


async def _report_connection(client: Client) -> None:
    """Trouble goes to the standard error, once until it is over."""
    troubled = False
    async for event in client.events():
        if isinstance(event, Connection):
            if event.state == "offline" and not troubled:
                print(f"whimbrel: {event.reason}; trying again", file=sys.stderr, flush=True)
                troubled = True
            elif event.state == "online" and troubled:
                print("whimbrel: connected again", file=sys.stderr, flush=True)
                troubled = False


def _as_json(message: Incoming) -> str:
    described = {
        "from": message.sender,
        "text": message.text,
        "content": message.content,
        "id": message.id,
        "device": message.device,
        "c": message.c,
        "time": message.time.isoformat(),
    }
    return msgspec.json.encode(described).decode()


def _as_text(message: Incoming) -> str:
    at: datetime = message.time.astimezone()
    return f"{at:%H:%M} {message.sender}: {printable(message.text)}"
