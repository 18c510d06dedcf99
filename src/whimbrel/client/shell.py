"""What the sans-I/O parts (outbox, inbox) ask of the client around them."""

from collections.abc import Callable
from typing import Any, Protocol

from whimbrel.client.store import Change
from whimbrel.client.words import Event
from whimbrel.protocol.wire import Wire


class Shell(Protocol):
    """Given by client.py; by a plain object in tests."""

    def frame(self, message: Wire) -> None:
        """Goes out with the next write; lost if the connection is."""
        ...

    def change(self, change: Change) -> None:
        """Joins the next commit."""
        ...

    def then(self, action: Callable[..., None], *args: Any) -> None:
        """Runs when all changes so far are durable."""
        ...

    def stored(self) -> None:
        """Items are durable: there may be messages to show, and something to confirm."""
        ...

    def event(self, event: Event) -> None: ...

    def later(self, seconds: float, action: Callable[[], None]) -> None: ...

    def now_us(self) -> int: ...

    def backoff_s(self, attempt: int) -> float:
        """How long to wait before try number `attempt` (0: the first repetition)."""
        ...

    def reconnect(self, reason: str) -> None:
        """The connection makes no sense any more: drop it and resume."""
        ...
