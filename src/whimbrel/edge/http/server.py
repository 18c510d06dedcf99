"""The sockets of the HTTP front end: plain on this machine, HTTPS for everybody.

Both share one application. Limits against many or slow connections: a cap in all and per
client, a time for the TLS handshake, for each head (also of the first request and between two
requests), for taking an answer and, in dispatch.py, for each body. aiohttp parses; we count.
TLS is our own layer (edge/transport.py), because a connection may become a WebSocket and then
stays for days.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence

import msgspec
import structlog
from aiohttp import web

from whimbrel.domain.errors import INTERNAL
from whimbrel.edge.http.caller import limit_key, peer_of
from whimbrel.edge.http.dispatch import HEADERS, make_app
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.pipe import Pipe
from whimbrel.edge.http.problems import STATUS, Problem, Problems
from whimbrel.edge.sockets import BACKLOG, bind
from whimbrel.edge.transport import Application, Connection

__all__ = ["HttpServer", "make_app"]

log = structlog.get_logger("whimbrel.http")
_SILENT = logging.getLogger("whimbrel.aiohttp")
_SILENT.disabled = True  # it would write raw requests; what matters is logged by us

LINE_BYTES_MAX = 4_096
FIELD_BYTES_MAX = 8_190
HANDSHAKE_S = 10.0
OUT_BYTES_MAX = 1_048_576  # the measure of is_slow for a WebSocket; aiohttp waits much earlier
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
        self.counts: Counter[str] = Counter()  # of handshakes that failed
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
        *,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Open what is given; port 0 takes any free one. Raises OSError if one is taken.

        sockets: those that listen at this one place already (edge/sockets.py); closed in the end.
        """
        await self._runner.setup()
        try:
            if plain is not None:
                self.plain_port = await self._listen(sockets or bind(*plain), None)
            if https is not None:
                self.https_port = await self._listen(sockets or bind(*https[:2]), https[2])
        except OSError:
            await self.stop()
            raise

    async def _listen(
        self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None
    ) -> int:
        loop = asyncio.get_running_loop()

        def accept() -> Connection:
            return HttpConnection(_Guard(self), context, self.counts, OUT_BYTES_MAX, False)

        port = int(sockets[0].getsockname()[1])
        for one in sockets:
            self._servers.append(await loop.create_server(accept, sock=one, backlog=BACKLOG))
        return port

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


class HttpConnection(Connection):
    """Tells aiohttp when to wait, which our own sessions need not know."""

    __slots__ = ("guard", "pipe")

    guard: "_Guard"
    pipe: Pipe | None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.pipe is not None:
            self.guard.be_patient()
            self.pipe.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.pipe is not None:
            self.guard.forgive()
            self.pipe.resume_writing()


class _Guard:
    """Stands before aiohttp's protocol and turns connections away that are too many."""

    __slots__ = ("_client", "_connection", "_inner", "_patience", "_server", "_timer")

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._client = ""
        self._inner: asyncio.Protocol | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connected(self, connection: Connection) -> Application:
        assert isinstance(connection, HttpConnection)
        self._connection = connection
        connection.guard, connection.pipe = self, None
        self._client = limit_key(peer_of(connection.transport))
        self._inner = self._server.admit(self._client)
        if connection.is_tls:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HANDSHAKE_S, connection.abort)
        return self

    def opened(self) -> None:
        self._stop_timer()
        connection = self._connection
        if self._inner is None:
            connection.write(_TOO_MANY)
            connection.close()
            return
        connection.pipe = Pipe(connection, self._inner, self._hand_over)
        self._inner.connection_made(connection.pipe)

    def received(self, data: bytes) -> None:
        assert self._inner is not None
        self._inner.data_received(data)

    def closed(self) -> None:
        self._stop_timer()
        self._leave()

    def be_patient(self) -> None:
        """The network is full of answers: aiohttp would wait for the reader without end."""
        if self._patience is None:
            self._server.unread += 1
            self._patience = asyncio.get_running_loop().call_later(
                self._server.patience_s, self._connection.abort
            )

    def forgive(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._server.unread -= 1

    def _hand_over(self, app: Application) -> None:
        """The connection is HTTP no longer: aiohttp's part of it ends here, and so does ours."""
        self._connection.hand_over(app)
        self._leave()

    def _leave(self) -> None:
        self.forgive()
        inner, self._inner = self._inner, None
        if inner is None:
            return
        self._server.left(self._client)
        if self._connection.pipe is not None:
            self._connection.pipe = None
            inner.connection_lost(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
