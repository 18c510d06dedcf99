"""Slow and greedy callers of the HTTP port: each has its time, and others are served meanwhile."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.edge.http.sign_up_world import SignUpWorld, running
from tests.edge.http.test_server import HEALTH, certificate, until
from whimbrel.edge.http import server as http_server
from whimbrel.edge.http.inside import HttpLimits

POST = (
    b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 4000\r\n\r\n"
)
CHUNKED = (
    b"POST /v1/signup/pin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
DRIPS = {
    "head": (b"GET /health HTTP/1.1\r\n", b"A: b\r\n"),
    "nonsense": (b"", b"A: b\r\n"),
    "first line": (b"", b"A"),
    "body": (POST % b"/v1/signup/pin", b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "chunk size": (CHUNKED, b"0"),
    "body for nobody": (POST % b"/nowhere", b" "),
    "body of a GET": (HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 4000\r\n\r\n"), b" "),
}
QUICK = HttpLimits(head_s=0.3, body_s=0.3, requests_burst=10_000)


async def drip(port: int, start: bytes, drop: bytes, local: str) -> None:
    """A drop now and then, for as long as somebody listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
    reading = asyncio.create_task(reader.read())
    try:
        writer.write(start)
        with suppress(ConnectionError):
            while not reading.done():
                writer.write(drop)
                await writer.drain()
                await asyncio.wait([reading], timeout=0.02)
    finally:
        reading.cancel()
        writer.close()


@pytest.mark.parametrize("name", DRIPS)
async def test_fifty_who_drip_are_all_shown_out_and_nobody_else_waits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "LINGER_S", 0.3)
    async with running(http=QUICK) as world:
        drops = [
            asyncio.create_task(drip(world.server.plain_port, *DRIPS[name], "127.0.0.2"))
            for _ in range(50)
        ]
        assert (await world.get("/health"))[0] == 200
        async with asyncio.timeout(20):
            await asyncio.gather(*drops, return_exceptions=True)
        await world.client.close()
        await until(lambda: world.server.connections == 0)


async def test_who_does_not_finish_a_tls_handshake_is_shown_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HANDSHAKE_S", 0.3)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))
    server = http_server.HttpServer(SignUpWorld().app, QUICK)
    await server.start(https=("127.0.0.1", 0, context))
    try:
        hello = b"\x16\x03\x01\x02\x00\x01"
        async with asyncio.timeout(10):
            await asyncio.gather(
                *(drip(server.https_port, hello, b"\0", "127.0.0.1") for _ in range(20))
            )
        assert server.connections == 0
    finally:
        await server.stop()


# ---- who asks and does not read ---------------------------------------------------------


@asynccontextmanager
async def deaf(world: SignUpWorld) -> AsyncIterator[socket.socket]:
    """Asks for so much that the network is full, and reads nothing of it."""
    end = socket.socket()
    end.setblocking(False)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(end, ("127.0.0.1", world.server.plain_port))
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_000

    async def push() -> None:
        with suppress(ConnectionError):
            await loop.sock_sendall(end, ask)

    pushing = asyncio.create_task(push())
    try:
        yield end
    finally:
        pushing.cancel()
        end.close()


async def test_who_asks_and_never_reads_is_shown_out() -> None:
    async with running(http=QUICK) as world, deaf(world):
        await until(lambda: world.server.connections == 1)
        await until(lambda: world.server.unread == 1)
        assert (await world.get("/health"))[0] == 200
        await world.client.close()
        await until(lambda: world.server.connections == 0)
        assert world.server.unread == 0


async def test_who_reads_late_but_reads_gets_everything() -> None:
    limits = HttpLimits(body_s=10, requests_burst=10_000)
    async with running(http=limits) as world, deaf(world) as end:
        await until(lambda: world.server.unread == 1)
        loop, got = asyncio.get_running_loop(), 0
        async with asyncio.timeout(20):
            while got < 2_000_000:
                got += len(await loop.sock_recv(end, 65_536))


async def test_a_flood_of_connections_from_one_address_leaves_room_for_others() -> None:
    limits = HttpLimits(connections_per_client_max=20, connections_max=40)
    async with running(http=limits) as world:
        port = world.server.plain_port
        flood = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            for _ in range(200)
        ]
        await until(lambda: world.server.turned_away == 180)
        assert world.server.connections == 20
        assert (await world.get("/health"))[0] == 200
        for _, writer in flood:
            writer.close()
        await world.client.close()
        await until(lambda: world.server.connections == 0)
