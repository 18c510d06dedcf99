"""A scripted server for the client's tests: real sockets, every answer written by the test.

peer = await server.accept()          # the client's hello was read
peer.welcome(submitted=0)
submit = await peer.next(wire.Submit)
peer.say(wire.Stored(submit.c, 1001))
"""

import asyncio
import contextlib
import ssl
from typing import TypeVar

import msgspec

from whimbrel.protocol import wire

TIMEOUT_S = 5.0
W = TypeVar("W", bound=wire.Wire)
_decode = msgspec.msgpack.Decoder(wire.FromDevice).decode
_encode = msgspec.msgpack.encode


def text_body(text: str) -> msgspec.Raw:
    return msgspec.Raw(_encode(wire.Content(text=text)))


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.hello: wire.Hello = None  # type: ignore[assignment]

    async def read(self) -> wire.Wire:
        async with asyncio.timeout(TIMEOUT_S):
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            message: wire.Wire = _decode(await self._reader.readexactly(size))
            return message

    async def next(self, kind: type[W]) -> W:
        """The next frame, which must be of this kind."""
        message = await self.read()
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message}"
        return message

    async def silent(self) -> None:
        """Whatever the client has written is read: answers a ping after it, in order."""
        self.say(wire.Ping(77))
        assert await self.next(wire.Pong) == wire.Pong(77)

    def say(self, *messages: wire.Wire) -> None:
        out = b""
        for message in messages:
            payload = _encode(message)
            out += len(payload).to_bytes(4, "big") + payload
        self._writer.write(out)

    def welcome(
        self,
        *,
        submitted: int = 0,
        confirmed: int = 0,
        era: int = 1,
        submits_max: int = 64,
        ping_s: int = 60,
    ) -> None:
        hello = self.hello
        self.say(
            wire.Welcome(
                hello.account, hello.device, era, submitted, confirmed, confirmed, 0, 65536,
                submits_max, ping_s,
            )
        )  # fmt: skip

    def drop(self) -> None:
        self._writer.transport.abort()

    async def read_all(self) -> bytes:
        """Everything the client says until it closes."""
        found = b""
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                while data := await self._reader.read(65536):
                    found += data
        return found

    @property
    def alpn(self) -> str | None:
        name: str | None = self._writer.get_extra_info("ssl_object").selected_alpn_protocol()
        return name

    @property
    def tls_version(self) -> str | None:
        version: str | None = self._writer.get_extra_info("ssl_object").version()
        return version

    async def closed(self) -> None:
        """The client closed this connection."""
        await self.read_all()


class FakeServer:
    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._accepted: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._peers: list[Peer] = []

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._on_peer, self.host, self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _on_peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._peers.append(peer)
        self._accepted.put_nowait(peer)

    async def accept(self) -> Peer:
        """The next connection, its hello read."""
        async with asyncio.timeout(TIMEOUT_S):
            peer = await self._accepted.get()
        peer.hello = await peer.next(wire.Hello)
        return peer

    async def accept_silent(self) -> Peer:
        """The next connection, nothing read."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._accepted.get()

    @property
    def waiting(self) -> int:
        """Connections nobody accepted yet."""
        return self._accepted.qsize()

    async def stop(self) -> None:
        for peer in self._peers:
            peer.drop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
