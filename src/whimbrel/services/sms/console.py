"""PINs for the operator's own eyes: written to the server's terminal, and kept for a page.

The default, so that a fresh server works without a provider. The local page (edge/http) reads
`shown`. Law: this is the only place where a PIN is shown.
"""

import sys
import time
from collections import deque
from collections.abc import Callable

SHOWN_MAX = 50


def _terminal(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class ConsoleSender:
    name = "console"

    def __init__(
        self, write: Callable[[str], None] = _terminal, now: Callable[[], float] = time.time
    ) -> None:
        self._write = write
        self._now = now
        self.shown: deque[tuple[float, str, str]] = deque(maxlen=SHOWN_MAX)  # s, number, PIN

    async def send(self, number: str, pin: str) -> None:
        self.shown.append((self._now(), number, pin))
        self._write(f"PIN for {number}: {pin}")

    async def close(self) -> None:
        self.shown.clear()
