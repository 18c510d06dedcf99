"""The raw client as a browser would be: JSON in WebSocket frames, after an HTTP upgrade.

The mask is zero, which RFC 6455 allows and which costs the generator nothing; the server does all
the work of removing it.
"""

from struct import Struct
from typing import Any

import msgspec

from bench.raw import RawClient
from whimbrel.protocol import wire

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.ToDevice).decode
_unpack = msgspec.msgpack.Decoder().decode
_short = Struct(">H")

REQUEST = (
    "GET /v1/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"Sec-WebSocket-Protocol: {wire.SUBPROTOCOL}\r\n\r\n"
).encode()


class WebClient(RawClient):
    upgraded = False

    def begin(self) -> None:
        self.out.append(REQUEST)
        self.flush()

    def framed(self, message: wire.Wire) -> bytes:
        if type(message) is wire.Submit:
            body = msgspec.Raw(_encode(_unpack(message.body)))
            message = wire.Submit(message.c, message.to, body)
        payload = _encode(message)
        size = len(payload)
        if size < 126:
            return b"\x81%c\0\0\0\0%b" % (0x80 | size, payload)
        return b"\x81\xfe" + _short.pack(size) + b"\0\0\0\0" + payload

    def cut(self, data: bytes) -> list[Any]:
        if not self.upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.buffer = head
                return []
            if not head.startswith(b"HTTP/1.1 101 "):
                raise ConnectionError(f"{self.account}: {head.splitlines()[0]!r}")
            self.upgraded = True
            super().begin()
        messages: list[Any] = []
        at, end_at = 0, len(data)
        while end_at - at >= 4:  # no message of ours is shorter
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = _short.unpack_from(data, at + 2)[0], at + 4
            elif size == 127:
                raise ConnectionError("a message that large was not expected")
            stop = start + size
            if stop > end_at:
                break
            if data[at] == 0x81:
                messages.append(_decode(data[start:stop]))
            at = stop
        self.buffer = data[at:]
        return messages
