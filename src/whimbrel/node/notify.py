"""A word to the service manager (sd_notify(3)), where one listens: NOTIFY_SOCKET names it."""

import os
import socket
from contextlib import suppress


def is_watched() -> bool:
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*lines: str) -> None:
    """`READY=1`, `STOPPING=1`, `MAINPID=...`, `STATUS=...`. Nobody there: nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
    ):
        out.settimeout(1.0)
        out.connect(address)
        out.send("\n".join(lines).encode())
