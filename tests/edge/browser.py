"""WebSocket clients for the tests: an independent library's, and a bare one that may break rules.

Both have the manners of house.Stranger, so that a dialogue runs on either transport. The bare one
writes whatever bytes it is told; what it reads is cut by the few lines below, not by our decoder.
"""

import asyncio
import base64
import os
import ssl
from collections.abc import Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.edge.house import PATIENCE_S, House, Stranger, open_stream
from whimbrel.protocol import wire
from whimbrel.protocol.native import JsonCodec
from whimbrel.protocol.websocket import unmask

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
JSON = JsonCodec(client=True)


def json_of(message: wire.Wire) -> bytes:
    """As JavaScript would write it: bodies as they are in JSON."""
    if isinstance(message, wire.Submit):
        body = msgspec.json.encode(msgspec.msgpack.decode(message.body))
        message = msgspec.structs.replace(message, body=msgspec.Raw(body))
    return JSON.encode(message)


def read_json(text: bytes) -> Any:
    """A message of the server; its body in MessagePack, as on every other way."""
    message = JSON.decode(text)
    if isinstance(message, wire.Message | wire.Copy):
        body = msgspec.Raw(msgspec.msgpack.encode(msgspec.json.decode(message.body)))
        message = msgspec.structs.replace(message, body=body)
    return message


def frame_of(payload: bytes, opcode: int = TEXT, *, fin: bool = True, mask: bytes = b"") -> bytes:
    """A client's frame, masked."""
    mask = mask or os.urandom(4)
    size = len(payload)
    first = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head = first + bytes([0x80 | size])
    elif size < 65_536:
        head = first + b"\xfe" + size.to_bytes(2, "big")
    else:
        head = first + b"\xff" + size.to_bytes(8, "big")
    return head + mask + unmask(payload, mask)


def request(port: int, **headers: str | None) -> bytes:
    """The opening handshake; a header that is None is left out."""
    fields: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": wire.SUBPROTOCOL,
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(["GET /v1/socket HTTP/1.1", *lines, "", ""]).encode()


class RawSocket(Stranger):
    """A WebSocket made of bytes. `close_code` is what the server's close frame said."""

    close_code = 0
    polite = True  # answers a close frame

    def send(self, *messages: wire.Wire) -> None:
        self.writer.write(b"".join(frame_of(json_of(message)) for message in messages))

    async def frame(self) -> tuple[int, bytes] | None:
        """One frame of the server; None when it has closed."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                first, second = await self.reader.readexactly(2)
                assert first & 0x80, "the server does not fragment"
                assert not second & 0x80, "the server does not mask"
                size = second
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                elif size == 127:
                    size = int.from_bytes(await self.reader.readexactly(8), "big")
                return first & 0x0F, await self.reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                return None

    async def next(self) -> Any:
        while True:
            got = await self.frame()
            if got is None:
                self.writer.close()
                return None
            opcode, payload = got
            if opcode == TEXT:
                return read_json(payload)
            if opcode == CLOSE:
                self.close_code = int.from_bytes(payload, "big") or 1005
                if self.polite:
                    self.writer.write(frame_of(payload, CLOSE))


class Browser:
    """The `websockets` library, which knows nothing of our code."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *messages: wire.Wire) -> None:
        for message in messages:
            await self.socket.send(json_of(message).decode())

    async def next(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            try:
                text = await self.socket.recv()
            except ConnectionClosed:
                return None
            assert isinstance(text, str)
            return read_json(text.encode())

    async def next_of(self, kind: type) -> Any:
        while True:
            message = await self.next()
            if message is None or isinstance(message, kind):
                return message

    async def answers(self, kind: type, count: int) -> Sequence[Any]:
        return [await self.next_of(kind) for _ in range(count)]

    @property
    def close_code(self) -> int | None:
        return self.socket.close_code

    async def close(self) -> None:
        await self.socket.close()


def trusting() -> ssl.SSLContext:
    """A person who has accepted the self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def browser(home: House, *, tls: bool = False, origin: str | None = None) -> Browser:
    """`origin` None: not a browser; "": a page of this server."""
    port = home.node.ports["https" if tls else "http"]
    scheme = "https" if tls else "http"
    context = trusting() if tls else None
    socket = await connect(
        f"{'wss' if tls else 'ws'}://localhost:{port}/v1/socket",
        ssl=context,
        subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
        origin=f"{scheme}://localhost:{port}" if origin == "" else origin,  # type: ignore[arg-type]
        host="127.0.0.1",
        port=port,
        proxy=None,
        ping_interval=None,
    )
    assert socket.subprotocol == wire.SUBPROTOCOL
    one = Browser(socket)
    home.at_the_end(one.close)
    return one


async def raw_socket(
    home: House, *, tls: bool = False, local: str = "127.0.0.1", narrow: bool = False
) -> RawSocket:
    """Open, with the handshake done; nothing was said yet."""
    port = home.node.ports["https" if tls else "http"]
    context = trusting() if tls else None
    reader, writer = await open_stream(port, context, local, narrow)
    socket = RawSocket(reader, writer)
    home.keep(socket)
    writer.write(request(port))
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return socket
