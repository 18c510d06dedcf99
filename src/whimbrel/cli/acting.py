"""What the command line does to a data folder is an administrative act too: it is written down.

Where a server runs, it writes it down itself (node/acts.py) when the command line asks it.
"""

import getpass
import time
from pathlib import Path

from whimbrel.client import ClientError


def note_act(data: Path, act: str, on: str, result: str = "ok") -> None:
    """Raises ClientError: whoever cannot be watched is told so."""
    from whimbrel.node.acts import ActLog  # a chat does not pay for the server's code

    try:
        ActLog(data, now_us).write(by_hand(), act, on, result, "cli")
    except OSError as error:
        raise ClientError(
            f"done, but it could not be written down in {data}: {error.strerror}"
        ) from None


def user_name() -> str:
    """Who sits at this terminal."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def by_hand() -> str:
    return f"cli {user_name()}"


def now_us() -> int:
    return time.time_ns() // 1_000
