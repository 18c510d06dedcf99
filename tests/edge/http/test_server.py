"""The sockets: real ports, TLS, too many and too slow connections, a graceful end."""

import asyncio
import datetime
import ssl
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.edge.http.sign_up_world import NUMBER, SignUpWorld, running
from whimbrel.domain.answers import PinRequested, ToSession
from whimbrel.edge.http.buckets import Buckets
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.server import HttpServer

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the server offers no event for this
            await asyncio.sleep(0.01)


async def test_connections_above_the_cap_of_a_client_hear_why_and_leave_no_trace() -> None:
    limits = HttpLimits(connections_per_client_max=2)
    async with running(http=limits) as world:
        port = world.server.plain_port
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in pairs:
            writer.write(HEALTH)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        answer = await world.raw(HEALTH)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"too-many-connections"' in answer
        assert world.server.turned_away == 1
        for _, writer in pairs:
            writer.close()
        await until(lambda: world.server.connections == 0)
        assert (await world.get("/health"))[0] == 200


async def test_connections_are_capped_in_all() -> None:
    async with running(http=HttpLimits(connections_max=1)) as world:
        assert (await world.get("/health"))[0] == 200  # the session keeps this connection
        assert b"too-many-connections" in await world.raw(HEALTH)


@pytest.mark.parametrize("start", [b"", b"GET /health HTTP/1.1\r\nHost: loc"])
async def test_a_head_that_does_not_come_ends_the_connection(start: bytes) -> None:
    async with running(http=HttpLimits(head_s=0.1)) as world:
        answer = await world.raw(start)
        assert not answer.startswith(b"HTTP/1.1 200")
        await until(lambda: world.server.connections == 0)


async def test_a_head_that_comes_in_drops_gets_no_more_time() -> None:
    async with running(http=HttpLimits(head_s=0.3)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.server.plain_port)
        writer.write(b"GET /health HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"A: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            async with asyncio.timeout(10):
                assert b"200" not in await reader.read()
        except ConnectionError:
            pass
        finally:
            dripping.cancel()
            writer.close()
        await until(lambda: world.server.connections == 0)


async def test_a_kept_connection_that_stays_silent_is_closed() -> None:
    async with running(http=HttpLimits(head_s=0.1)) as world:
        answer = await world.raw(HEALTH)
        assert answer.startswith(b"HTTP/1.1 200")


async def test_one_connection_serves_many_requests(world: SignUpWorld) -> None:
    for _ in range(5):
        assert (await world.get("/health"))[0] == 200
    assert world.server.connections == 1


async def test_requests_under_way_end_before_the_server_does() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def ask(*_: object) -> ToSession:
        asked.set()
        await go_on.wait()
        return PinRequested("", 60, 600)

    async with running(ask=ask) as world:
        call = asyncio.create_task(world.post("/v1/signup/pin", {"number": NUMBER}))
        await asked.wait()
        stop = asyncio.create_task(world.server.stop())
        await asyncio.sleep(0)
        go_on.set()
        assert (await call)[0] == 202
        await stop
        assert (world.server.plain_port, world.server.connections) == (0, 0)


async def test_a_taken_port_is_an_error_and_nothing_stays_open(world: SignUpWorld) -> None:
    other = HttpServer(world.app, HttpLimits())
    with pytest.raises(OSError, match="in use"):
        await other.start(plain=("127.0.0.1", world.server.plain_port))
    assert (await world.get("/health"))[0] == 200


# ---- HTTPS ------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    made = builder.sign(key, hashes.SHA256())
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


async def test_https_and_plain_serve_the_same(tmp_path: Path) -> None:
    cert_file, key_file = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert_file, key_file)
    world = SignUpWorld()
    await world.server.start(plain=("127.0.0.1", 0), https=("127.0.0.1", 0, context))
    try:
        assert world.server.https_port not in (0, world.server.plain_port)
        trusted = ssl.create_default_context(cafile=str(cert_file))
        async with aiohttp.ClientSession() as client:
            url = f"https://localhost:{world.server.https_port}"
            async with client.get(f"{url}/health", ssl=trusted) as answer:
                assert await answer.json() == {"status": "alive"}
            async with client.get(f"{url}/about", ssl=trusted) as answer:
                assert f"--server {url}\n" in await answer.text()
        noise = asyncio.open_connection("127.0.0.1", world.server.https_port)
        reader, writer = await noise
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(10):
            assert not (await reader.read()).startswith(b"HTTP")
        writer.close()
    finally:
        await world.server.stop()


# ---- how often a client may ask ---------------------------------------------------------


def test_buckets_fill_again_with_time_and_are_separate() -> None:
    now = [0.0]
    buckets = Buckets(2.0, 4, 100, lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    assert buckets.take("b") == 0
    now[0] += 1.0
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]


def test_buckets_forget_the_full_and_then_the_longest_unseen() -> None:
    now = [0.0]
    buckets = Buckets(1.0, 2, 3, lambda: now[0])
    buckets.take("old")
    now[0] = 5.0
    for client in ("a", "a", "b", "c"):
        buckets.take(client)
    assert len(buckets) == 3  # "old" was full again
    assert buckets.take("a") == 1
    buckets.take("d")  # nobody is full: "b" is the longest unseen
    assert len(buckets) == 3
    assert buckets.take("a") == 1
