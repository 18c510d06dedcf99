"""WebSocket frames (RFC 6455 section 5), the server's side: bytes in, whole text messages out.

No socket, no clock, no handshake (edge/http/socket.py). Law: any bytes in any split give the same
messages, answers and fault, never an exception; no more than `limit` bytes of a message are kept.

Why it is our own and what was measured: docs/decisions/0012-websocket.md. The tests hold it against
an independent implementation.
"""

from struct import Struct

from whimbrel.domain.errors import BadFrame, FrameTooBig, Refused

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RESERVED, MASKED = 0x80, 0x70, 0x80
CONTROL_BYTES_MAX = 125

# Close codes, RFC 6455 section 7.4.1 (1013: registered with IANA).
NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED = 1000, 1001, 1002, 1003
NO_CODE, NOT_TEXT, POLICY, TOO_BIG, OUR_FAULT, LATER = 1005, 1007, 1008, 1009, 1011, 1013

# What may stand in a close frame that is received: the rest is reserved or undefined.
_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})

_short = Struct(">H")
_long = Struct(">Q")


def text_frame(payload: bytes) -> bytes:
    """One unmasked text message in one frame (section 5.1: a server never masks)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65_536:
        return b"\x81\x7e" + _short.pack(size) + payload
    return b"\x81\x7f" + _long.pack(size) + payload


def close_frame(code: int) -> bytes:
    """Without a reason: ours stands in the message before it. NO_CODE: an empty frame."""
    return b"\x88\x00" if code == NO_CODE else b"\x88\x02" + _short.pack(code)


def unmask(data: bytes, mask: bytes) -> bytes:
    """Section 5.3: octet i is XORed with octet i mod 4 of the mask; here as two big integers."""
    size = len(data)
    whole = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ whole).to_bytes(size, "little")


class _Broken(Exception):
    """The frame at hand ends the connection."""

    def __init__(self, code: int, fault: Refused) -> None:
        self.code = code
        self.fault = fault


class WebSocketDecoder:
    """`limit` may be raised once the peer has proven who it is.

    After feed(): `answers` are frames to write (pongs; the caller clears them), `frames` counts
    every frame so far, `fault` and `close_code` say why nothing is read any more.
    """

    __slots__ = ("_buffer", "_parts", "answers", "close_code", "closed", "fault", "frames", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = b""
        self._parts: bytearray | None = None  # of a message in fragments
        self.answers: list[bytes] = []
        self.frames = 0
        self.fault: Refused | None = None
        self.closed = False  # the peer's close frame was read: its last word
        self.close_code = 0  # ours for a fault, theirs once `closed`

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._buffer) + len(self._parts or b"")

    def feed(self, data: bytes) -> list[bytes]:
        """Whole text messages, checked to be UTF-8. What follows a fault or a close is dropped."""
        messages: list[bytes] = []
        if self.fault is not None or self.closed:
            return messages
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        try:
            while end - at >= 2 and not self.closed:
                start, stop = self._extent(data, at, end)
                if stop > end:
                    break
                payload = unmask(data[start:stop], data[start - 4 : start]) if stop > start else b""
                self._take(data[at], payload, messages)
                at = stop
        except _Broken as broken:
            self.fault, self.close_code = broken.fault, broken.code
            at = end
            self._parts = None
        if self.closed:
            at = end
        self._buffer = data[at:] if at != end else b""
        return messages

    def _extent(self, data: bytes, at: int, end: int) -> tuple[int, int]:
        """Where the payload of the frame begins and ends; all of its header is checked.

        `stop` is beyond `end` while the header or the payload is not there.
        """
        first, second = data[at], data[at + 1]
        if first & RESERVED:
            raise _broken("a reserved bit is set (compression was not agreed on)")
        if not second & MASKED:
            raise _broken("a client's frame is not masked")  # section 5.1
        opcode, size = first & 0x0F, second & 0x7F
        if opcode >= CLOSE:
            self._check_control(first, opcode, size)
        else:
            self._check_data(opcode)
        start = at + 6
        if size == 126:
            start += 2
            if end < at + 4:
                return start, end + 1
            (size,) = _short.unpack_from(data, at + 2)
            if size < 126:
                raise _broken("a length that is not in its shortest form")
        elif size == 127:
            start += 8
            if end < at + 10:
                return start, end + 1
            (size,) = _long.unpack_from(data, at + 2)
            if size < 65_536 or size >> 63:
                raise _broken("a length that is not in its shortest form, or too long")
        if opcode < CLOSE and size + len(self._parts or b"") > self.limit:
            text = f"a message of {size} bytes and more, at most {self.limit}"
            raise _Broken(TOO_BIG, FrameTooBig(text))
        return start, start + size

    def _check_control(self, first: int, opcode: int, size: int) -> None:
        if opcode > PONG:
            raise _broken(f"the unknown opcode {opcode}")
        if not first & FIN or size > CONTROL_BYTES_MAX:
            raise _broken("a control frame that is long or in fragments")  # section 5.5

    def _check_data(self, opcode: int) -> None:
        if opcode == BINARY:
            raise _Broken(UNSUPPORTED, BadFrame("a binary message; this subprotocol is text"))
        if opcode > BINARY:
            raise _broken(f"the unknown opcode {opcode}")
        if (opcode == CONTINUATION) != (self._parts is not None):
            raise _broken("fragments out of order")  # section 5.4

    def _take(self, first: int, payload: bytes, messages: list[bytes]) -> None:
        self.frames += 1
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self._take_control(opcode, payload)
            return
        parts = self._parts
        if parts is not None:
            parts += payload
            if not first & FIN:
                return
            payload, self._parts = bytes(parts), None
        elif not first & FIN:
            self._parts = bytearray(payload)
            return
        if not payload:
            raise _broken("an empty message")
        _check_text(payload)
        messages.append(payload)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.answers.append(b"\x8a%c%b" % (len(payload), payload))
        elif opcode == CLOSE:
            self.close_code = _code_of(payload)
            self.closed = True
            self._parts = None


def _broken(text: str) -> _Broken:
    return _Broken(PROTOCOL_ERROR, BadFrame(text))


def _check_text(payload: bytes) -> None:
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise _Broken(NOT_TEXT, BadFrame("text that is not UTF-8")) from None


def _code_of(payload: bytes) -> int:
    """The code of a received close frame, NO_CODE if it has none (section 5.5.1)."""
    if not payload:
        return NO_CODE
    if len(payload) == 1:
        raise _broken("a close frame of one byte")
    (code,) = _short.unpack_from(payload)
    if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _NEVER_SENT:
        raise _broken(f"the close code {code}")
    _check_text(payload[2:])
    return int(code)
