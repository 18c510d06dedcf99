"""The ports: what the inside needs from the world, as small protocols.

Time, chance, the store and the router are arguments; the simulator gives its own.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from whimbrel.domain.answers import ToSession
from whimbrel.domain.batch import Batch
from whimbrel.domain.messages import ToActor
from whimbrel.domain.wants import Want


class Clock(Protocol):
    """Wall time for people and ids, monotonic time for waiting."""

    def now_us(self) -> int:
        """Microseconds since 1970."""
        ...

    def monotonic_us(self) -> int:
        """Microseconds since some start; never goes back."""
        ...


class Outcome(enum.Enum):
    """What became of a batch."""

    COMMITTED = "committed"
    FAILED = "failed"  # nothing of it was written
    FENCED = "fenced"  # this process is not the owner any more; nothing was written
    UNKNOWN = "unknown"  # it may have been written or not: nobody may be answered


class Store(Protocol):
    """Durable rows. All calls come from the loop's thread, and so do the answers.

    One commit is under way at a time; the engine gathers the next batch meanwhile.
    """

    era: int  # raised by every restore
    inline: bool  # load() answers before it returns

    def commit(self, batch: Batch, done: Callable[[Outcome, str], None]) -> None:
        """Write the batch in one transaction; done(outcome, reason) after the fsync."""
        ...

    def load(self, wants: Sequence[Want], done: Callable[[list[object] | Exception], None]) -> None:
        """Answers in the order of the wants (shapes: domain/wants.py), or Unready."""
        ...

    def recover(self, done: Callable[[bool, str], None]) -> None:
        """After FAILED, FENCED or UNKNOWN: make the store sound again, or say why not."""
        ...

    def close(self) -> None: ...


class Router(Protocol):
    """All that an edge sees of the inside."""

    def tell(self, account: int, message: ToActor) -> bool:
        """Hand a message to an actor. False: its mailbox is full (`busy`)."""
        ...


class Cluster(Protocol):
    """Other nodes, as the interpreter sees them. What is handed over may be lost on the way,
    come twice or late: actors and sessions repeat whatever matters until it is answered.
    """

    def owns(self, account: int) -> bool:
        """Does this account's actor live here, as far as this node knows?"""
        ...

    def tenure(self, account: int) -> int:
        """The epoch under which this node owns the account's shard; -1: it does not."""
        ...

    def tell(self, account: int, message: ToActor) -> bool:
        """To the node that owns the account. False: not taken here; retries do the rest."""
        ...

    def push(self, session: int, answer: ToSession) -> None:
        """To the node where the session lives."""
        ...

    def reply(self, number: int, answer: ToSession | None) -> None:
        """To the node where somebody waits under this number. None: ask again later."""
        ...

    def forgot(self) -> None:
        """All actors of this node lost their memory: their sessions on other nodes hear it."""
        ...


class Bus(Protocol):
    """Carries packs between nodes, at most once."""

    pack_bytes_max: int

    @property
    def open(self) -> bool:
        """False: the line is down, or more waits for it than it may hold."""
        ...

    def send(self, node: int, pack: bytes) -> bool:
        """To one node, or to all others (-1). False: not taken."""
        ...


class SessionSink(Protocol):
    """What the inside sees of a session."""

    @property
    def account(self) -> int:
        """Whose it is; 0: nobody has logged in yet."""
        ...

    def deliver(self, answer: ToSession) -> None:
        """Take an answer; bytes go out with the next flush()."""
        ...

    def flush(self) -> None: ...


class PinSender(Protocol):
    """Sends a PIN to a telephone. Raises SmsFailed."""

    name: str

    async def send(self, number: str, pin: str) -> None: ...

    async def close(self) -> None: ...
