"""A client inside the server: a session like any other (edge/session.py), without a socket.

So the server's own messages walk the way of everybody's: accepted, stored, delivered, retried. One
message at a time; whatever comes back is confirmed, so that nothing gathers in the account. A
message that was not accepted when its session ended is sent again under the same number.
Laws 1-3 are those of the session; the queue here is bounded (5).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from whimbrel.domain.errors import Busy, ShuttingDown, TooManyConnections, Unready
from whimbrel.edge.framed import FramedSession
from whimbrel.edge.listener import Listener
from whimbrel.protocol import wire
from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.protocol.native import MsgpackCodec

log = structlog.get_logger("whimbrel.node")

WAITING_MAX = 200
AGAIN_FIRST_S = 0.5
AGAIN_MAX_S = 30.0
INSIDE = "inside"  # the network address that limits count by

_encode_content = msgspec.msgpack.Encoder().encode


class _Line:
    """What the session writes is read here in the next round of the loop (edge/transport.Link)."""

    address = INSIDE
    unsent_bytes = 0
    is_slow = False

    def __init__(self, client: "InnerClient", limit: int) -> None:
        self.session: FramedSession | None = None
        self._client = client
        self._decoder = FrameDecoder(limit)
        self._out: list[bytes] = []
        self._closed = False

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            asyncio.get_running_loop().call_soon(self._read, data)

    def _read(self, data: bytes) -> None:
        for payload in self._decoder.feed(data):
            self._client.received(self, payload)

    def pause_reading(self) -> None:
        """One message is under way at a time: there is nothing to hold back."""

    def resume_reading(self) -> None:
        """See pause_reading."""

    def close(self, code: str = "") -> None:
        self.flush()
        self.abort()

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._ended)

    def _ended(self) -> None:
        if self.session is not None:
            self.session.closed()
        self._client.lost(self)


class InnerClient:
    """keys: gives device and key; None: somebody else has the account; raises Busy or Unready.

    on_delivered: (peer, id up to which all is delivered). on_stored: (peer, id).
    on_refused: (peer, code), for good.
    """

    def __init__(
        self,
        listener: Listener,
        account: str,
        keys: Callable[[], Awaitable[tuple[int, str] | None]],
        on_stored: Callable[[str, int], None],
        on_delivered: Callable[[str, int], None],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._listener = listener
        self._account = account
        self._keys = keys
        self._device, self._key = 0, ""
        self._opening: asyncio.Task[None] | None = None
        self._on_stored = on_stored
        self._on_delivered = on_delivered
        self._on_refused = on_refused
        self._codec = MsgpackCodec(client=True)
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._line: _Line | None = None
        self._welcomed = False
        self._next = 0  # the number that the next message gets
        self._under_way = 0  # the number of the first one waiting, once it was sent; 0: it was not
        self._last = self._era = 0
        self._again_s = AGAIN_FIRST_S
        self._handle: asyncio.TimerHandle | None = None
        self._over = False

    # ---- what the node does --------------------------------------------------------------

    def send(self, to: str, text: str) -> bool:
        """False: too much waits already."""
        if self._over or len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append((to, _encode_content(wire.Content(text=text))))
        self._work()
        return True

    def connect(self) -> None:
        self._handle = None
        if self._over or self._line is not None:
            return
        if not self._key:
            self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        line = _Line(self, 4 * self._listener.limits.frame_bytes_max)
        codec = MsgpackCodec()
        try:
            session = self._listener.admit_other(
                INSIDE, lambda: FramedSession(self._listener, codec, line)
            )
        except (ShuttingDown, TooManyConnections):
            self._later()
            return
        assert isinstance(session, FramedSession)
        line.session, self._line = session, line
        self._say(
            wire.Hello(
                wire.VERSION, self._account, self._device, self._key, self._last, self._era,
                "server",
            )
        )  # fmt: skip

    async def _open(self) -> None:
        try:
            found = await self._keys()
        except (Busy, Unready):
            self._later()
            return
        if found is None:
            self._over = True
            return
        self._device, self._key = found
        self.connect()

    def close(self) -> None:
        self._over = True
        if self._opening is not None:
            self._opening.cancel()
        if self._handle is not None:
            self._handle.cancel()
        if self._line is not None:
            self._line.abort()

    # ---- what the session says -----------------------------------------------------------

    def received(self, line: _Line, payload: bytes) -> None:
        if line is not self._line:
            return
        message: Any = self._codec.decode(payload)
        kind = type(message)
        if kind is wire.Welcome:
            self._on_welcome(message)
        elif kind is wire.Stored:
            self._answered(message.c, message.id)
        elif kind is wire.Refused:
            self._refused(message)
        elif kind is wire.Ping:
            self._say(wire.Pong(message.n))
        elif kind is wire.Replaced or (kind is wire.Error and message.code == "not-authorized"):
            log.warning("the server's own account was taken over", account=self._account)
            self._over = True
        elif isinstance(message, wire.Item):
            self._last = message.q
            if isinstance(message, wire.Receipt):
                self._on_delivered(message.peer, message.delivered)
            self._say(wire.Confirm(message.q))

    def lost(self, line: _Line) -> None:
        if line is self._line:
            self._line, self._welcomed = None, False
            self._later()

    def _later(self) -> None:
        if not self._over and self._handle is None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(self._again_s, self.connect)
            self._again_s = min(self._again_s * 2, AGAIN_MAX_S)

    def _on_welcome(self, welcome: wire.Welcome) -> None:
        self._welcomed, self._again_s = True, AGAIN_FIRST_S
        self._era = welcome.era
        if self._under_way and welcome.submitted >= self._under_way:
            self._answered(self._under_way, 0)  # it was accepted, and the answer was lost
        self._under_way = 0
        self._next = welcome.submitted + 1
        self._work()

    def _answered(self, c: int, id: int) -> None:
        if c != self._under_way:
            return
        to, _ = self._waiting.popleft()
        self._under_way, self._next = 0, c + 1
        self._on_stored(to, id)
        self._work()

    def _refused(self, refused: wire.Refused) -> None:
        if refused.c != self._under_way:
            return
        self._under_way = 0
        if refused.code == "gap":
            self._next = refused.expected
        elif refused.retry_after:
            asyncio.get_running_loop().call_later(refused.retry_after, self._work)
            return
        else:  # for good; the number is used up
            to, _ = self._waiting.popleft()
            self._next = refused.c + 1
            self._on_refused(to, refused.code)
        self._work()

    def _work(self) -> None:
        if self._welcomed and not self._under_way and self._waiting:
            to, body = self._waiting[0]
            self._under_way = self._next
            self._say(wire.Submit(self._next, to, msgspec.Raw(body)))

    def _say(self, message: wire.Wire) -> None:
        line = self._line
        if line is not None and line.session is not None:
            line.session.received(encode_frame(self._codec.encode(message)))
