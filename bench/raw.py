"""A raw client for load: one small object a connection, no tasks, one write a read.

It speaks the own protocol (docs/protocol.md) over TLS or plain, with the TLS engine in
memory, because the generator shares two cores with the server it measures.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import msgspec

from whimbrel.protocol import wire

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(wire.ToDevice).decode


OnBatch = Callable[["RawClient", list[Any]], None]


def frame(message: wire.Wire) -> bytes:
    payload = _encode(message)
    return len(payload).to_bytes(4, "big") + payload


def client_context() -> ssl.SSLContext:
    """Bench only: the server is our own child on loopback, its certificate is not checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([wire.ALPN])
    return context


class RawClient(asyncio.Protocol):
    """`on_batch(client, messages)` is called once a read; `send` then goes out in one write."""

    def __init__(
        self,
        account: str,
        key: str,
        device: int,
        context: ssl.SSLContext | None,
        on_batch: OnBatch,
    ) -> None:
        self.account = account
        self.key = key
        self.device = device
        self.on_batch = on_batch
        self.loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[wire.Welcome] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.last = 0  # highest item seen
        self.era = 0  # that `last` belongs to
        self.next_c = 1
        self.state: Any = None  # of the scenario
        self.out: list[bytes] = []
        self.buffer = b""
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._greeted = False
        if context is not None:
            self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self.outgoing, server_hostname=None)

    # ---- asyncio -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._tls is None:
            self.begin()
        else:
            self._handshake()

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            self._feed(data)
            return
        self._incoming.write(data)
        if not self._greeted and not self._handshake():
            return
        parts = []
        while self._incoming.pending or self._tls.pending():
            try:
                part = self._tls.read(65_536)
            except ssl.SSLWantReadError:
                break
            if not part:
                break
            parts.append(part)
        if parts:
            self._feed(parts[0] if len(parts) == 1 else b"".join(parts))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionError(f"{self.account}: closed before welcome"))
        if not self.closed.done():
            self.closed.set_result(None)

    # ---- protocol ------------------------------------------------------------------------

    def _handshake(self) -> bool:
        assert self._tls is not None
        assert self._transport is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(self.outgoing.read())
            return False
        self._greeted = True
        self.begin()
        return True

    def begin(self) -> None:
        """The connection stands: say hello."""
        hello = wire.Hello(wire.VERSION, self.account, self.device, self.key, self.last, self.era)
        self.send(hello)
        self.flush()

    def send(self, message: wire.Wire) -> None:
        self.out.append(self.framed(message))

    def framed(self, message: wire.Wire) -> bytes:
        return frame(message)

    def submit(self, to: str, body: msgspec.Raw) -> int:
        c = self.next_c
        self.next_c = c + 1
        self.out.append(self.framed(wire.Submit(c, to, body)))
        return c

    def flush(self) -> None:
        if not self.out or self._transport is None:
            return
        data = b"".join(self.out)
        self.out.clear()
        if self._tls is not None:
            self._tls.write(data)
            data = self.outgoing.read()
        self._transport.write(data)

    def stop_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def read_on(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _feed(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        messages = self.cut(data)
        if not messages:
            return
        if not self.welcome.done():
            first = messages.pop(0)
            if isinstance(first, wire.Welcome):
                self.next_c = first.submitted + 1
                self.welcome.set_result(first)
            else:
                self.welcome.set_exception(ConnectionError(f"{self.account}: {first}"))
                return
        self.on_batch(self, messages)
        self.flush()

    def cut(self, data: bytes) -> list[Any]:
        """Whole messages; what is left goes to `buffer`."""
        messages: list[Any] = []
        at, end = 0, len(data)
        while end - at >= 4:
            stop = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if stop > end:
                break
            messages.append(_decode(data[at + 4 : stop]))
            at = stop
        self.buffer = data[at:]
        return messages


async def connect(client: RawClient, host: str, port: int, timeout_s: float = 60.0) -> RawClient:
    """Connect and wait for the welcome."""
    await client.loop.create_connection(lambda: client, host, port)
    await asyncio.wait_for(asyncio.shield(client.welcome), timeout_s)
    return client
