"""The words of the client library: messages, marks and events, as a program sees them.

Times are aware datetimes (UTC); inside they are microseconds since 1970, 0 for "not yet".
"""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import msgspec

from whimbrel.client.errors import Undelivered
from whimbrel.protocol.wire import Content

# states of a sent message, rising, except FAILED
QUEUED, STORED, DELIVERED, READ, FAILED = 0, 1, 2, 3, 4

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decode_content = msgspec.msgpack.Decoder(Content).decode
encode_content = msgspec.msgpack.Encoder().encode


def as_time(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def read_content(body: bytes) -> Content:
    """What a body says; a body of an unknown shape says nothing rather than failing."""
    try:
        return _decode_content(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Content()


class Step(msgspec.Struct, frozen=True):
    """One line of a message's timeline: written, stored (one mark), delivered (two), read
    (blue) or failed, with the code of why. at: None if nobody noted the time.
    """

    what: str
    at: datetime | None
    code: str = ""


class SentMessage:
    """A message on its way. `await` its marks: each gives the time it was reached.

    A mark raises Undelivered if the message was refused or failed, or the error that ended
    the client. `stored`: the server has it on disk; `delivered`: another device confirmed
    it; `read`: a person read it. A later mark implies the earlier ones.
    """

    __slots__ = (
        "_waiters",
        "body",
        "c",
        "code",
        "delivered_us",
        "device",
        "id",
        "key",
        "queued_us",
        "read_us",
        "retries",
        "state",
        "stored_us",
        "to",
    )

    def __init__(self, key: int, device: int, c: int, to: str, body: bytes, queued_us: int) -> None:
        self.key = key  # the local one, never changes
        self.device = device
        self.c = c  # the submit number; changes only if the server refuses it
        self.to = to
        self.body = body
        self.id = 0  # given by the server
        self.state = QUEUED
        self.code = ""  # why it failed
        self.queued_us = queued_us
        self.stored_us = 0
        self.delivered_us = 0
        self.read_us = 0
        self.retries = 0
        self._waiters: list[tuple[int, asyncio.Future[datetime]]] | None = None

    @property
    def text(self) -> str:
        return self.content.text

    @property
    def content(self) -> Content:
        return read_content(self.body)

    @property
    def time(self) -> datetime:
        """When it was accepted by the server, or written if it was not yet."""
        return as_time(self.id or self.queued_us)

    @property
    def timeline(self) -> list["Step"]:
        """What has happened to it so far; also of messages from before a restart."""
        steps = [Step("written", as_time(self.queued_us))]
        named = (
            ("stored", self.stored_us),
            ("delivered", self.delivered_us),
            ("read", self.read_us),
        )
        steps += [Step(what, as_time(at_us)) for what, at_us in named if at_us]
        if self.state == FAILED:
            steps.append(Step("failed", None, self.code))
        return steps

    @property
    def stored(self) -> Awaitable[datetime]:
        """One check mark."""
        return self._mark(STORED)

    @property
    def delivered(self) -> Awaitable[datetime]:
        """Two check marks."""
        return self._mark(DELIVERED)

    @property
    def read(self) -> Awaitable[datetime]:
        """Blue."""
        return self._mark(READ)

    def _mark(self, state: int) -> "asyncio.Future[datetime]":
        future: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append((state, future))
        self.wake()
        return future

    def reach(self, state: int, now_us: int) -> bool:
        """Raise the state; False if it was there already or has failed."""
        if self.state >= state:
            return False
        if state >= STORED and not self.stored_us:
            self.stored_us = self.id or now_us
        if state >= DELIVERED and not self.delivered_us:
            self.delivered_us = now_us
        if state >= READ:
            self.read_us = now_us
        self.state = state
        self.wake()
        return True

    def fail(self, code: str) -> bool:
        """Final, unless it was delivered already."""
        if self.state >= DELIVERED:
            return False
        self.state, self.code = FAILED, code
        self.wake()
        return True

    def wake(self) -> None:
        """Answer those who wait for a mark that has been reached."""
        if not self._waiters:
            return
        left = []
        for wanted, future in self._waiters:
            if future.done():
                continue
            if self.state == FAILED and not (wanted == STORED and self.stored_us):
                future.set_exception(Undelivered(self.code))
                future.exception()  # nobody has to listen
            elif wanted <= self.state:
                times = (0, self.stored_us, self.delivered_us, self.read_us)
                future.set_result(as_time(times[wanted]))
            else:
                left.append((wanted, future))
        self._waiters = left or None

    def abandon(self, error: Exception) -> None:
        """The client ended: the marks will not be heard of any more."""
        for _, future in self._waiters or ():
            if not future.done():
                future.set_exception(error)
                future.exception()
        self._waiters = None


class Incoming:
    """A message for this account. Asking for the next one confirms it.

    (sender, device, c) is its identity for ever; `id` orders it and is its time.
    """

    __slots__ = ("body", "c", "device", "era", "id", "key", "prev", "q", "sender")

    def __init__(
        self,
        key: int,
        sender: str,
        id: int,
        device: int,
        c: int,
        body: bytes,
        prev: int,
        q: int,
        era: int,
    ) -> None:
        self.key = key  # the local one, rising
        self.sender = sender
        self.id = id
        self.device = device
        self.c = c
        self.body = body
        self.prev = prev  # the item before it
        self.q = q
        self.era = era  # of q

    @property
    def content(self) -> Content:
        return read_content(self.body)

    @property
    def text(self) -> str:
        return self.content.text

    @property
    def time(self) -> datetime:
        return as_time(self.id)


class Event(msgspec.Struct, frozen=True):
    """Base of what events() gives."""


class Connection(Event, frozen=True):
    """state: connecting, online, offline (retry_s: until the next try) or ended."""

    state: str
    reason: str = ""
    retry_s: float = 0.0


class Typing(Event, frozen=True):
    peer: str
    on: bool


class Presence(Event, frozen=True):
    """last_seen: None if the server does not know it."""

    peer: str
    online: bool
    last_seen: datetime | None


class Marked(Event, frozen=True):
    """A sent message got its next mark, or failed (state FAILED, `code` says why)."""

    message: SentMessage


class Delayed(Event, frozen=True):
    """The server does not take messages now (busy, rate-limited); tried again by itself."""

    code: str
    retry_s: float


class Watermarks(Event, frozen=True):
    """All that was sent to `peer` is delivered up to one id and read up to another."""

    peer: str
    delivered: int
    read: int


class Failed(Event, frozen=True):
    """Messages to `peer` with first <= id <= last will not be delivered."""

    peer: str
    first: int
    last: int
    code: str


class Trimmed(Event, frozen=True):
    """Waiting messages were removed on the server before this device came."""

    first: int
    last: int
    code: str


class Copied(Event, frozen=True):
    """Another device of this account sent this."""

    peer: str
    id: int
    device: int
    c: int
    content: Content


class CaughtUp(Event, frozen=True):
    """All that had waited was received."""


class ReadStored(Event, frozen=True):
    peer: str
    id: int


class Restored(Event, frozen=True):
    """The server was restored from a backup; kept messages are sent again."""

    era: int


class Lost(Event, frozen=True):
    """This reader was too slow: so many older events were left out."""

    count: int
