"""aiohttp over our own TLS layer: big answers wait for slow readers, both ways, and end whole."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.edge.browser import trusting
from whimbrel.edge.certificate import Certificate, self_signed
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.server import HttpServer

PIECE = b"x" * 65_536
PIECES = 400  # 25 MiB: more than the kernel's buffers take
REQUEST = b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Big:
    """Answers /big with many pieces, and takes any upload."""

    def __init__(self) -> None:
        self.written = 0
        self.app = web.Application(client_max_size=1 << 30)
        self.app.router.add_get("/big", self.on_big)
        self.app.router.add_post("/up", self.on_upload)
        self.may_read = asyncio.Event()
        self.server = HttpServer(self.app, HttpLimits())

    async def on_big(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(PIECES):
            await response.write(PIECE)
            self.written += 1
        return response

    async def on_upload(self, request: web.Request) -> web.Response:
        await self.may_read.wait()
        return web.Response(text=str(len(await request.read())))


@asynccontextmanager
async def big(folder: Path, tls: bool) -> AsyncIterator[tuple[Big, int, ssl.SSLContext | None]]:
    it = Big()
    if tls:
        certificate = Certificate(*self_signed(folder, "localhost"), "whimbrel/1")
        await it.server.start(https=("127.0.0.1", 0, certificate.http))
    else:
        await it.server.start(plain=("127.0.0.1", 0))
    try:
        port = it.server.https_port or it.server.plain_port
        yield it, port, trusting() if tls else None
    finally:
        await it.server.stop()


async def stands_still(it: Big) -> int:
    """What was written when for a while no more is."""
    async with asyncio.timeout(20):
        before = -1
        while it.written != before or not it.written:
            before = it.written
            await asyncio.sleep(0.2)
    return before


async def send_pieces(writer: asyncio.StreamWriter) -> None:
    for _ in range(PIECES):
        writer.write(PIECE)
        await writer.drain()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_big_answer_waits_for_a_slow_reader_and_arrives_whole(
    tmp_path: Path, tls: bool
) -> None:
    async with big(tmp_path, tls) as (it, port, context):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        assert await stands_still(it) < PIECES, "it did not wait"
        async with asyncio.timeout(30):
            rest = await reader.read()
        assert rest.count(b"x") == PIECES * len(PIECE)
        writer.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_an_upload_waits_for_a_slow_handler_and_arrives_whole(
    tmp_path: Path, tls: bool
) -> None:
    size = PIECES * len(PIECE)
    async with big(tmp_path, tls) as (it, port, context):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        sending = asyncio.create_task(send_pieces(writer))
        done, _ = await asyncio.wait([sending], timeout=0.5)
        assert not done, "it did not wait"
        it.may_read.set()
        await sending
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert int(await reader.read(100)) == size
        writer.close()


async def test_a_client_that_names_no_protocol_in_tls_is_served(tmp_path: Path) -> None:
    """ALPN is a must for devices only; not every HTTP client sends it."""
    async with big(tmp_path, True) as (_, port, context):
        assert context is not None
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(REQUEST.replace(b"/big", b"/none"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.close()
