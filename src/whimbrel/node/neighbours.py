"""Asking another node of the installation over HTTP: for what only that one has in hand.

A BOSH session lives on the node of its first request, an upload on the node of its slot, and a
file too where folders are not shared. Whoever comes to another node is answered all the same: the
request is passed on, once, over a port that every node opens for the others (`node.inside`), and
the answer is passed back as it comes. Where a node is stands in the table `node`. Law 5: so many at
once, each for so long; a node that is gone is told from one that cannot be reached.
"""

import asyncio
import hmac
import socket
import time

import aiohttp
import structlog
from aiohttp import hdrs, web

from whimbrel.domain.errors import Busy
from whimbrel.storage.postgres.side import Side

log = structlog.get_logger("whimbrel.cluster")

PASSED_ON = "X-Whimbrel-Node"  # a proof that it comes from a node of this installation
AT_ONCE_MAX = 1_000  # a BOSH request waits for up to a minute
CONNECT_S = 3.0
SILENT_S = 150.0  # longer than a BOSH request may wait
KNOWN_S = 2.0  # how long an address is believed
PIECE_BYTES = 65_536
_WHERE = """SELECT id, identity, inside FROM node
 WHERE expires > clock_timestamp() AND inside <> ''"""
# Of one connection, or made anew on the way (RFC 9110, section 7.6.1).
_NOT_PASSED = frozenset(
    each.lower()
    for each in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.TRANSFER_ENCODING, hdrs.TE, hdrs.TRAILER,
        hdrs.UPGRADE, hdrs.HOST, hdrs.EXPECT, hdrs.CONTENT_LENGTH, hdrs.DATE, hdrs.SERVER,
        hdrs.X_FORWARDED_FOR, PASSED_ON, "proxy-authorization", "x-request-id",
    )
)  # fmt: skip


class Neighbours:
    """edge.http.inside.Neighbours. secret: that all nodes of the installation have."""

    def __init__(self, side: Side, number: int, secret: bytes) -> None:
        self._side = side
        self._number = number
        self._proof = hmac.digest(secret, b"whimbrel-neighbours", "sha256").hex()
        self._http: aiohttp.ClientSession | None = None
        self._known: dict[int | str, str] = {}
        self._known_s = -KNOWN_S
        self._waits: set[asyncio.Task[web.StreamResponse]] = set()  # for what BOSH has to say
        self._over = False
        self.passed_on = 0
        self.under_way = 0

    async def announce(self, host: str, port: int) -> None:
        """Others find this node there from now on. Raises Unready."""
        if host in ("", "0.0.0.0", "::"):
            host = await asyncio.to_thread(socket.gethostbyname, socket.gethostname())
        shown = f"[{host}]" if ":" in host else host
        await self._side.fetch(
            "UPDATE node SET inside = $1 WHERE id = $2", f"http://{shown}:{port}", self._number
        )

    def is_one(self, request: web.Request) -> bool:
        told = request.headers.get(PASSED_ON, "")
        return bool(told) and hmac.compare_digest(told.encode(), self._proof.encode())

    async def ask(
        self, request: web.Request, where: int | str, data: bytes | None = None
    ) -> web.StreamResponse | None:
        base = await self._find(where)
        if base is None:
            return None
        if self.under_way >= AT_ONCE_MAX or self._over:
            raise Busy(retry_after_s=1)
        self.under_way += 1
        self.passed_on += 1
        try:
            if data is None:
                return await self._pass(request, base, data)
            return await self._wait(request, base, data)
        finally:
            self.under_way -= 1

    async def _wait(self, request: web.Request, base: str, data: bytes) -> web.StreamResponse:
        """As long as it takes, but for the end of this node: then it is said again elsewhere."""
        task = asyncio.ensure_future(self._pass(request, base, data))
        self._waits.add(task)
        task.add_done_callback(self._waits.discard)
        try:
            return await task
        except asyncio.CancelledError:
            if self._over and task.cancelled():
                raise Busy(retry_after_s=1) from None
            task.cancel()
            raise

    def let_go(self) -> None:
        """Nothing more is passed on; who waits for another node's words asks at a third one."""
        self._over = True
        for task in list(self._waits):
            task.cancel()

    async def _find(self, where: int | str) -> str | None:
        """Where it listens. Raises Unready if the database cannot be asked."""
        now_s = time.monotonic()
        if now_s - self._known_s > KNOWN_S:
            rows = await self._side.fetch(_WHERE)
            self._known = {key: row[2] for row in rows for key in (row[0], row[1])}
            self._known_s = now_s
        return self._known.get(where)

    async def _pass(
        self, request: web.Request, base: str, data: bytes | None
    ) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _NOT_PASSED
        }
        headers[PASSED_ON] = self._proof
        body: object = data
        if data is None and request.can_read_body:
            body = request.content.iter_chunked(PIECE_BYTES)
            if request.content_length is not None:
                headers[hdrs.CONTENT_LENGTH] = str(request.content_length)
        begun: web.StreamResponse | None = None
        try:
            async with self._session().request(
                request.method, base + request.raw_path, headers=headers, data=body,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                begun = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in _NOT_PASSED:
                        begun.headers[name] = value
                if request.method == hdrs.METH_HEAD or answer.content_length is not None:
                    begun.content_length = int(answer.headers.get(hdrs.CONTENT_LENGTH, 0))
                await begun.prepare(request)
                async for piece in answer.content.iter_chunked(PIECE_BYTES):
                    await begun.write(piece)
                await begun.write_eof()
                return begun
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if begun is not None and begun.prepared:
                raise  # the client sees that it was cut off
            log.info("another node could not be asked", error=type(error).__name__)
            self._known_s = -KNOWN_S
            raise Busy(retry_after_s=1) from None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE_MAX),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_S, sock_read=SILENT_S
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._http

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    def snapshot(self) -> dict[str, float]:
        return {"node_passed_on": self.passed_on, "node_passing_on": self.under_way}
