"""Frames: a 4-byte big-endian length, then that many bytes. docs/protocol.md section 1.

Bytes in, payloads out; no socket, no clock. Law: any bytes in any split give the same
frames, or one of FrameTooBig and BadFrame, never anything else.
"""

from struct import Struct

from whimbrel.domain.errors import BadFrame, FrameTooBig

HEADER_BYTES = 4
_size_at = Struct(">I").unpack_from


def encode_frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameDecoder:
    """`limit` may be raised once the peer has proven who it is."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = b""

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Whole payloads in `data` and what was left before; raises FrameTooBig, BadFrame."""
        if self._buffer:
            data = self._buffer + data
        frames: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= HEADER_BYTES:
            (size,) = _size_at(data, at)
            if size > self.limit:
                raise FrameTooBig(f"a frame of {size} bytes, at most {self.limit}")
            if size == 0:
                raise BadFrame("an empty frame")
            stop = at + HEADER_BYTES + size
            if stop > end:
                break
            frames.append(data[at + HEADER_BYTES : stop])
            at = stop
        self._buffer = data[at:] if at != end else b""
        return frames
