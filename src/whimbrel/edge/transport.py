"""One connection, with our own TLS layer: SSLObject over memory, one read buffer for all.

An asyncio BufferedProtocol for uvloop. The application above gets plain bytes and writes
plain bytes; what it writes during one loop iteration leaves in one record and one send.
Measured: half the CPU of asyncio's TLS and a tenth of its memory (docs/decisions/0004).
Laws: no byte reaches the application before the handshake is done; unsent bytes are bounded.
"""

import asyncio
import contextlib
import ssl
from collections import Counter
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol, cast

READ_BYTES = 262_144
TLS_READ_BYTES = 65_536
TLS_WRITE_BYTES = 262_144  # encrypted in one go; more is split to bound memory

# Shared by all connections: each read is consumed before the next one begins.
_READ_BUFFER = memoryview(bytearray(READ_BYTES))
_PLAIN_BUFFER = bytearray(TLS_READ_BYTES)
_PLAIN_VIEW = memoryview(_PLAIN_BUFFER)


def network_of(address: str) -> str:
    """What limits count by: an IPv4 address, or the IPv6 network of 64 bits around one."""
    if ":" not in address:
        return address
    whole = IPv6Address(address.partition("%")[0])
    if whole.ipv4_mapped is not None:
        return str(whole.ipv4_mapped)
    return str(IPv6Network((int(whole) >> 64 << 64, 64)))


class Application(Protocol):
    """What sits on top of a connection."""

    def connected(self, connection: "Connection") -> "Application":
        """TCP stands, nothing was read yet. Returns who takes over from here."""

    def opened(self) -> None:
        """The handshake is done; write() works from now on."""

    def received(self, data: bytes) -> None: ...
    def closed(self) -> None:
        """Called exactly once, whatever the reason."""


class Link(Protocol):
    """What an application may do with its connection; a WebSocket offers the same."""

    address: str

    def write(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    @property
    def unsent_bytes(self) -> int:
        """That the peer has not read yet, as far as it is known here."""

    @property
    def is_slow(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self, code: str = "") -> None:
        """End after what is queued. `code`: the named reason that the peer was told, if any."""

    def abort(self) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """`context` None: plain TCP (behind a TLS terminator, or for measuring).

    `alpn_needed`: who names no protocol that we speak is closed (browsers name none at times).
    """

    __slots__ = (
        "_alpn_needed",
        "_app",
        "_closing",
        "_context",
        "_counts",
        "_greeted",
        "_incoming",
        "_out",
        "_out_bytes",
        "_out_bytes_max",
        "_outgoing",
        "_paused",
        "_tls",
        "address",
        "is_closed",
        "peer_finished",
        "transport",
    )

    def __init__(
        self,
        app: Application,
        context: ssl.SSLContext | None,
        counts: Counter[str],
        out_bytes_max: int,
        alpn_needed: bool = True,
    ) -> None:
        self._app = app
        self._alpn_needed = alpn_needed
        self._context = context
        self._counts = counts
        self._out_bytes_max = out_bytes_max
        self._tls: ssl.SSLObject | None = None
        self._greeted = False
        self._closing = False
        self._paused = False  # the socket takes no more for now
        self._out: list[bytes] = []  # plain bytes that wait for flush() or for the socket
        self._out_bytes = 0
        self.is_closed = False
        self.peer_finished = False  # it ended its side, having read what came before
        self.address = ""
        self.transport: asyncio.Transport | None = None

    # ---- asyncio -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not registered as one
        peer = transport.get_extra_info("peername")
        self.address = network_of(peer[0]) if peer else ""
        self._app = self._app.connected(self)
        if self._closing:
            return
        if self._context is None:
            self._greeted = True
            self._app.opened()
            return
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ_BUFFER

    def buffer_updated(self, count: int) -> None:
        if self._closing:
            return
        data = _READ_BUFFER[:count]
        tls = self._tls
        if tls is None:
            self._app.received(bytes(data))
            return
        self._incoming.write(data)
        if not self._greeted and not self._handshake(tls):
            return
        self._decrypt(tls)

    def eof_received(self) -> bool:
        self.peer_finished = True
        return False  # the transport closes itself

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = self._closing = True
        self._out.clear()
        self._out_bytes = 0
        if not self._greeted:
            self._counts["handshake-incomplete"] += 1
        self._tls = None
        self._app.closed()

    # ---- TLS -----------------------------------------------------------------------------

    def _handshake(self, tls: ssl.SSLObject) -> bool:
        assert self.transport is not None
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_encrypted()
            return False
        except (ssl.SSLError, ValueError):
            self._counts["refused:bad-tls"] += 1
            self._send_encrypted()  # the alert says why
            self.close()
            return False
        self._greeted = True
        self._send_encrypted()
        if (
            self._alpn_needed and tls.selected_alpn_protocol() is None
        ):  # came for a web server, or for nothing known
            self._counts["refused:alpn"] += 1
            self.close()
            return False
        self._app.opened()
        return not self._closing

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        """Everything that has come, in as few pieces as there are 64 KiB in it."""
        incoming = self._incoming
        filled = 0
        try:
            filled = int(tls.read(TLS_READ_BYTES, _PLAIN_BUFFER))  # nearly always all there is
            if not filled:
                self._finish_input(0)
                return
            while incoming.pending or tls.pending():
                count = tls.read(TLS_READ_BYTES - filled, _PLAIN_VIEW[filled:])
                if not count:
                    self._finish_input(filled)
                    return
                filled += int(count)
                if filled == TLS_READ_BYTES:
                    data = bytes(_PLAIN_VIEW)
                    filled = 0
                    self._app.received(data)
                    if self._closing or self._tls is None:
                        return
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._finish_input(filled)
            return
        except (ssl.SSLError, ValueError):
            self._counts["refused:bad-tls"] += 1
            self.abort()
            return
        if self._outgoing.pending:  # a key update wants an answer
            self._send_encrypted()
        if filled:
            self._app.received(_PLAIN_VIEW[:filled].tobytes())

    def _finish_input(self, filled: int) -> None:
        """The peer said close_notify: what came before it still counts."""
        self.peer_finished = True
        if filled:
            self._app.received(bytes(_PLAIN_VIEW[:filled]))
        self.close()

    def _send_encrypted(self) -> None:
        assert self.transport is not None
        if self._outgoing.pending and not self.transport.is_closing():
            self.transport.write(self._outgoing.read())

    # ---- what the application uses -------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext) -> None:
        """What was queued leaves as it is, all that follows is TLS (RFC 6120 section 5)."""
        self.flush()
        self._context = context
        self._greeted = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def channel_binding(self, kind: str) -> bytes | None:
        """Data of this channel as RFC 5929 names it; None if the runtime does not tell."""
        if self._tls is None or kind not in ssl.CHANNEL_BINDING_TYPES:
            return None
        return self._tls.get_channel_binding(kind)

    @property
    def tls_version(self) -> str:
        return (self._tls.version() or "") if self._tls is not None else ""

    def hand_over(self, app: Application) -> None:
        """From here on another application has the connection (an HTTP upgrade)."""
        self._app = app

    @property
    def is_tls(self) -> bool:
        return self._context is not None

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def context(self) -> ssl.SSLContext | None:
        return self._context

    def write(self, data: bytes) -> None:
        """Queue plain bytes; they leave with flush()."""
        self._out.append(data)
        self._out_bytes += len(data)

    @property
    def unsent_bytes(self) -> int:
        """Queued here and in the transport."""
        waiting = self.transport.get_write_buffer_size() if self.transport else 0
        return self._out_bytes + int(waiting)

    @property
    def has_unsent(self) -> bool:
        """True while plain bytes wait here."""
        return self._out_bytes > 0

    @property
    def is_slow(self) -> bool:
        """True when the peer reads so slowly that the bound is passed."""
        return self._out_bytes > 0 and self.unsent_bytes > self._out_bytes_max

    def flush(self) -> None:
        """One record, one send; nothing while the socket is full."""
        out = self._out
        if not out or self._paused or self._closing or not self._greeted:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_bytes = 0
        self._counts["bytes-out"] += len(data)
        transport = self.transport
        assert transport is not None
        if self._tls is None:
            transport.write(data)
            return
        if len(data) <= TLS_WRITE_BYTES:
            self._tls.write(data)
            transport.write(self._outgoing.read())
            return
        view = memoryview(data)
        for start in range(0, len(data), TLS_WRITE_BYTES):
            self._tls.write(view[start : start + TLS_WRITE_BYTES])
            transport.write(self._outgoing.read())

    def pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self, code: str = "") -> None:
        """Send what is queued, say close_notify, end. The peer has its time to read."""
        transport = self._last_words()
        if transport is not None:
            transport.close()

    def finish(self) -> None:
        """Like close(), but what the peer still sends is read and dropped until it ends too.

        Unread bytes at a close become a reset, which takes our last words from the peer. Who
        uses this ends a peer that does not end.
        """
        transport = self._last_words()
        if transport is not None:
            transport.resume_reading()
            transport.write_eof()

    def _last_words(self) -> asyncio.Transport | None:
        """Nothing is read or written after this; None if the connection has ended before."""
        if self._closing:
            return None
        self._paused = False
        self.flush()
        self._closing = True
        transport = self.transport
        if transport is None or transport.is_closing():
            return None
        if self._tls is not None and self._greeted:
            # It would wait for the peer's own close_notify, which we do not need.
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._tls.unwrap()
            self._send_encrypted()
        return transport

    def abort(self) -> None:
        """End at once; what is unsent is dropped (it waits in the inbox)."""
        self._closing = True
        if self.transport is not None:
            self.transport.abort()
