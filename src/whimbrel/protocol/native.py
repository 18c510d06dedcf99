"""The two codecs of the own protocol: MessagePack behind TLS, JSON text behind WebSocket.

One interface, both directions. A message is one of the types of wire.py. Law: for any bytes
decode() returns a message or raises BadMessage; bodies cross unchanged (MessagePack) or
transcoded without loss (JSON).
"""

from typing import Any, Protocol

import msgspec

from whimbrel.domain.errors import BadMessage
from whimbrel.protocol import wire
from whimbrel.protocol.body import body_from_json, body_to_json, check_body

NULL = msgspec.Raw(b"\xc0")


class Codec(Protocol):
    """What an edge needs of a codec."""

    name: str

    def decode(self, payload: bytes) -> Any: ...
    def encode(self, message: wire.Wire) -> bytes: ...
    def check_body(self, raw: bytes, limit: int) -> bytes: ...


class MsgpackCodec:
    """The server's side by default; `client=True` reads what servers send."""

    __slots__ = ("_decode", "encode")

    name = "msgpack"

    def __init__(self, client: bool = False) -> None:
        types: Any = wire.ToDevice if client else wire.FromDevice
        self._decode = msgspec.msgpack.Decoder(types).decode
        self.encode = msgspec.msgpack.Encoder().encode

    def decode(self, payload: bytes) -> Any:
        """One message; raises BadMessage."""
        try:
            return self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadMessage(str(error)) from None

    def check_body(self, raw: bytes, limit: int) -> bytes:
        return check_body(raw, limit)


class JsonCodec:
    """The same arrays as JSON text; bodies are JSON objects here and MessagePack in store."""

    __slots__ = ("_client", "_decode", "_encode")

    name = "json"

    def __init__(self, client: bool = False) -> None:
        types: Any = wire.ToDevice if client else wire.FromDevice
        self._client = client
        self._decode = msgspec.json.Decoder(types).decode
        self._encode = msgspec.json.Encoder().encode

    def decode(self, payload: bytes) -> Any:
        """One message; raises BadMessage. A body stays raw JSON until check_body."""
        try:
            return self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadMessage(str(error)) from None

    def encode(self, message: wire.Wire) -> bytes:
        """A server's Message and Copy carry the stored body; a client's Submit carries JSON."""
        if not self._client and isinstance(message, wire.Message | wire.Copy):
            body = msgspec.Raw(body_to_json(bytes(message.body)))
            message = msgspec.structs.replace(message, body=body)
        return self._encode(message)

    def check_body(self, raw: bytes, limit: int) -> bytes:
        return body_from_json(raw, limit)
