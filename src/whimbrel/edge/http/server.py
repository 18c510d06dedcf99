"""The sockets of the HTTP front end: plain on this machine, HTTPS for everybody.

Both share one application. Limits against many or slow connections: a cap in all and per
client, a time for the TLS handshake, for each head (also of the first request and between two
requests), for taking an answer and, in dispatch.py, for each body. aiohttp parses; we count.
"""

import asyncio
import logging
import ssl
from collections import Counter
from typing import cast

import msgspec
import structlog
from aiohttp import web

from whimbrel.domain.errors import INTERNAL
from whimbrel.edge.http.caller import limit_key, peer_of
from whimbrel.edge.http.dispatch import HEADERS, make_app
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.problems import STATUS, Problem, Problems

__all__ = ["HttpServer", "make_app"]

log = structlog.get_logger("whimbrel.http")
_SILENT = logging.getLogger("whimbrel.aiohttp")
_SILENT.disabled = True  # it would write raw requests; what matters is logged by us

LINE_BYTES_MAX = 4_096
FIELD_BYTES_MAX = 8_190
HANDSHAKE_S = 10.0
LINGER_S = 2.0  # reading on after an early refusal, so that it is heard
_TOO_MANY_BODY = msgspec.json.encode(
    Problems(Problem("too-many-connections", STATUS["too-many-connections"][1], 1))
)
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%b"
) % (len(_TOO_MANY_BODY), _TOO_MANY_BODY)


class HttpServer:
    def __init__(self, app: web.Application, limits: HttpLimits) -> None:
        self.plain_port = 0  # the real ports, once started; 0: off
        self.https_port = 0
        self.connections = 0
        self.turned_away = 0
        self.unread = 0  # connections that do not take what was answered
        self._limits = limits
        self._by_client: Counter[str] = Counter()
        self._servers: list[asyncio.Server] = []
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=limits.stop_s
        )

    async def start(
        self,
        plain: tuple[str, int] | None = None,
        https: tuple[str, int, ssl.SSLContext] | None = None,
    ) -> None:
        """Open what is given; port 0 takes any free one. Raises OSError if one is taken."""
        await self._runner.setup()
        try:
            if plain is not None:
                self.plain_port = await self._listen(*plain, None)
            if https is not None:
                self.https_port = await self._listen(*https)
        except OSError:
            await self.stop()
            raise

    async def _listen(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        loop = asyncio.get_running_loop()
        handshake_s = HANDSHAKE_S if context is not None else None
        server = await loop.create_server(
            lambda: _Guard(self), host, port, ssl=context, ssl_handshake_timeout=handshake_s
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """No new connections; requests under way may end; idle connections close."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        self.plain_port = self.https_port = 0

    @property
    def patience_s(self) -> float:
        """How long an answer may wait for its reader."""
        return self._limits.body_s

    # ---- counting ------------------------------------------------------------------------

    def admit(self, client: str) -> asyncio.Protocol | None:
        """aiohttp's protocol for a new connection, or None if there are too many."""
        limits = self._limits
        if (
            self.connections >= limits.connections_max
            or self._by_client[client] >= limits.connections_per_client_max
            or self._runner.server is None
        ):
            self.turned_away += 1
            return None
        self.connections += 1
        self._by_client[client] += 1
        return _Handler(
            self._runner.server,
            loop=asyncio.get_running_loop(),
            logger=_SILENT,
            access_log=_SILENT,
            keepalive_timeout=limits.head_s,
            lingering_time=LINGER_S,
            auto_decompress=False,  # a small body stays small; dispatch.py refuses packed ones
            max_line_size=LINE_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
        )

    def left(self, client: str) -> None:
        self.connections -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]


class _Handler(web.RequestHandler):
    """aiohttp's handler of one connection, with our error form for what it cannot parse.

    aiohttp would log the raw bytes, where a token or a PIN may stand, and answer them back.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        code = "bad-message" if 400 <= status < 500 else INTERNAL
        if code == INTERNAL:
            log.error("HTTP request failed", error=type(exc).__name__)
        body = msgspec.json.encode(Problems(Problem(code, STATUS[code][1])))
        headers = {**HEADERS, "Server": "whimbrel"}
        response = web.Response(status=status, body=body, headers=headers)
        response.content_type = "application/json"
        response.force_close()
        return response


class _Guard(asyncio.Protocol):
    """Stands before aiohttp's protocol and turns connections away that are too many."""

    __slots__ = ("_client", "_inner", "_patience", "_server", "_transport")

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._client = ""
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = limit_key(peer_of(transport))
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not registered as one
        self._inner = self._server.admit(self._client)
        if self._inner is not None:
            self._inner.connection_made(transport)
            return
        self._transport.write(_TOO_MANY)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        """The network is full of answers: aiohttp would wait for the reader without end."""
        if self._inner is not None:
            self._inner.pause_writing()
            self._server.unread += 1
            self._patience = asyncio.get_running_loop().call_later(
                self._server.patience_s, self._transport.abort
            )

    def resume_writing(self) -> None:
        self._forgive()
        if self._inner is not None:
            self._inner.resume_writing()

    def _forgive(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._server.unread -= 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._forgive()
        if self._inner is not None:
            self._server.left(self._client)
            self._inner.connection_lost(exc)
