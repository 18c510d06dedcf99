"""A session on a plain stream of bytes: TLS (or TCP) with length-prefixed MessagePack frames.

The session itself stands in session.py; here only bytes become its messages. A WebSocket does
the same in websocket.py. docs/protocol.md section 1.2.
"""

from typing import ClassVar

from whimbrel.domain.errors import Refused
from whimbrel.edge.session import Edge, Session
from whimbrel.edge.transport import Link
from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.protocol.native import Codec


class FramedSession(Session):
    """Session and application of its connection in one object: it is held for every device."""

    front: ClassVar[str] = "native"
    __slots__ = ("_feed",)

    def __init__(self, edge: Edge, codec: Codec, link: Link) -> None:
        decoder = FrameDecoder(edge.limits.hello_bytes_max)
        self._feed = decoder.feed
        super().__init__(edge, codec, link, decoder, encode_frame)

    def connected(self, connection: object) -> "FramedSession":
        return self

    def opened(self) -> None:
        """The handshake is done; the device speaks first."""

    def received(self, data: bytes) -> None:
        if self.over:
            return
        try:
            frames = self._feed(data)
        except Refused as error:
            self.refuse(error)
            return
        self.take(frames, len(data), len(frames))
