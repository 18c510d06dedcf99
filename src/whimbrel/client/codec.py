"""Bytes <-> messages from the device's side: the frames and the codec of the own protocol."""

from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.protocol.native import MsgpackCodec
from whimbrel.protocol.wire import Wire

_codec = MsgpackCodec(client=True)
_encode = _codec.encode
_decode = _codec.decode


def encode(message: Wire) -> bytes:
    return encode_frame(_encode(message))


class Decoder:
    """Any bytes, any split; the same messages, or one of the refusals of domain/errors.py."""

    __slots__ = ("_frames",)

    def __init__(self, frame_max: int) -> None:
        self._frames = FrameDecoder(frame_max)

    def feed(self, data: bytes) -> list[Wire]:
        return [_decode(payload) for payload in self._frames.feed(data)]
