"""`whimbrel restart`: the server becomes a new process without losing anybody or anything.

Speaks to the running server through a socket in its data folder (node/restart.py), so it works for
the server's user and for root, and whether HTTP is on or not.
"""

import json
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from whimbrel.cli.spoken import fail, spoken
from whimbrel.cli.users import DEFAULT_DATA, DataOption
from whimbrel.client import ClientError

SOCKET = "control.socket"


@spoken
def restart(
    data: DataOption = DEFAULT_DATA,
    python: Annotated[
        str,
        typer.Option("--python", help="Another interpreter, such as that of a new environment."),
    ] = "",
    migrate: Annotated[
        bool,
        typer.Option("--migrate", help="The new version may change the database for good."),
    ] = False,
) -> None:
    """Start a new process in place of the running one: new code, Python, configuration.

    If the new one does not become healthy, the old one goes on, and exit code 1.
    """
    with connected(data) as server:
        wish = {"python": python and str(Path(python).absolute()), "migrate": migrate}
        server.sendall(json.dumps(wish).encode() + b"\n")
        with server.makefile("rb") as answers:
            for answer in answers:
                line = json.loads(answer)
                if line.get("failed"):
                    fail(line["text"])
                typer.echo(line["text"])
                if line.get("over"):
                    return
    raise ClientError("the server has ended before it said how it went; look at its log")


def connected(data: Path) -> socket.socket:
    """To the server that runs on this folder. Raises ClientError."""
    try:
        folder = os.open(data, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise ClientError(f"{data}: {error.strerror}; name the data folder with --data") from None
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:  # by this way, because the whole path may have only 107 bytes
        server.connect(f"/proc/self/fd/{folder}/{SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError):
        server.close()
        raise ClientError(f"no server runs on {data}; start it with: whimbrel serve") from None
    finally:
        os.close(folder)
    return server
