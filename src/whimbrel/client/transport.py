"""One connection: frames in batches on one side, one write per loop iteration on the other.

Below client.py, above asyncio. Knows no meaning of messages. Law: nothing is written before
the certificate was accepted.
"""

import asyncio
from typing import Protocol, cast

from whimbrel.client.codec import Decoder, encode
from whimbrel.domain.errors import Refused
from whimbrel.protocol.wire import Wire


class Owner(Protocol):
    """Who listens to a transport."""

    def on_frames(self, messages: list[Wire]) -> None: ...

    def on_closed(self, transport: "Transport", reason: str) -> None: ...

    def before_write(self) -> None:
        """The last chance to add frames to this write."""
        ...


class Transport(asyncio.Protocol):
    __slots__ = (
        "_decoder",
        "_loop",
        "_out",
        "_owner",
        "_raw",
        "_scheduled",
        "heard_at",
        "is_closed",
        "reason",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, frame_max: int) -> None:
        self._owner = owner
        self._loop = loop
        self._decoder = Decoder(frame_max)
        self._raw: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._scheduled = False
        self.is_closed = False
        self.reason = ""
        self.heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # uvloop's is not registered as one
        self.heard_at = self._loop.time()

    def peer_certificate(self) -> bytes | None:
        """The server's certificate (DER), None without TLS."""
        assert self._raw is not None
        ssl_object = self._raw.get_extra_info("ssl_object")
        if ssl_object is None:
            return None
        certificate: bytes | None = ssl_object.getpeercert(binary_form=True)
        return certificate or b""

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            messages = self._decoder.feed(data)
        except Refused as error:
            self.abort(f"the server sent what is not the protocol: {error.code}")
            return
        if messages and not self.is_closed:
            self._owner.on_frames(messages)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_closed:
            self.is_closed = True
            if not self.reason:
                self.reason = str(error) if error else "the server closed the connection"
            self._owner.on_closed(self, self.reason)

    def write(self, message: Wire) -> None:
        self._out.append(encode(message))
        self.write_soon()

    def write_soon(self) -> None:
        if not self._scheduled and not self.is_closed:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        if self.is_closed or self._raw is None:
            return
        self._scheduled = True  # frames added by the owner need no further turn
        self._owner.before_write()
        self._scheduled = False
        if self._out:
            out, self._out = self._out, []
            self._raw.write(out[0] if len(out) == 1 else b"".join(out))

    def finish(self) -> None:
        """Write what is left, then close."""
        self.flush()
        if self._raw is not None:
            self._raw.close()

    def abort(self, reason: str) -> None:
        """Drop the connection now; the owner hears of it in the next turn of the loop."""
        if not self.reason:
            self.reason = reason
        if self._raw is not None:
            self._raw.abort()
