"""`whimbrel top`: where the server is, and with which token it is asked."""

import os
from pathlib import Path
from typing import Annotated

import typer

from whimbrel.cli.spoken import spoken
from whimbrel.cli.users import DEFAULT_DATA, Admin, DataOption, admin_of
from whimbrel.client import ClientError


@spoken
def top(
    data: DataOption = DEFAULT_DATA,
    url: Annotated[
        str, typer.Option("--url", help="Of another server, like http://127.0.0.1:8080.")
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="With --url: a file with a token.", dir_okay=False),
    ] = None,
    light: Annotated[bool, typer.Option("--light", help="Dark letters on a light ground.")] = False,
) -> None:
    """Watch the server: queues, rates, busiest actors, connections, alerts."""
    from whimbrel.cli.top.app import TopApp  # textual takes a moment to load
    from whimbrel.cli.top.feed import Feed

    if url:
        admin = Admin(url, _token(token_file))
        feed = Feed(lambda: admin)
    else:
        if not data.is_dir():
            raise ClientError(f"there is no data folder {data}; name it with --data, or --url")
        feed = Feed(lambda: _admin(data))
    app = TopApp(feed)
    if light:
        app.theme = "textual-light"
    app.run()


def _token(file: Path | None) -> str:
    """Never an argument: others of this machine see those."""
    token = os.environ.get("WHIMBREL_TOKEN", "")
    if file is not None:
        try:
            token = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClientError(f"cannot read {file}: {type(error).__name__}") from None
    if not token:
        raise ClientError(
            "--url wants a token: --token-file FILE, or WHIMBREL_TOKEN in the environment "
            "(made by: whimbrel token create top --scope read)"
        )
    return token


def _admin(data: Path) -> Admin | None:
    """Read anew each time: after a restart the port may be another one."""
    try:
        return admin_of(data)
    except ClientError:
        return None  # it is being written
