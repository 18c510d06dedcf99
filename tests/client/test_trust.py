"""TLS: the trusted certificate connects, another one hears nothing at all."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.client.fake_server import FakeServer
from whimbrel.client import Backoff, Client, Pinned, UntrustedCertificate
from whimbrel.client.trust import fetch_fingerprint, fingerprint_of, shown_fingerprint
from whimbrel.protocol import wire


def self_signed(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's TLS 1.3 context with our ALPN, and its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whimbrel test")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.set_alpn_protocols([wire.ALPN])
    return context, fingerprint_of(certificate.public_bytes(serialization.Encoding.DER))


@pytest.fixture
async def tls_server(tmp_path: Path) -> AsyncIterator[tuple[FakeServer, str]]:
    context, fingerprint = self_signed(tmp_path)
    server = FakeServer()
    await server.start(context)
    yield server, fingerprint
    await server.stop()


async def test_the_pinned_certificate_is_accepted_and_speaks_our_alpn(
    tls_server: tuple[FakeServer, str],
) -> None:
    server, fingerprint = tls_server
    trust = Pinned(shown_fingerprint(fingerprint))
    async with Client("alice", 1, "key", server.host, server.port, trust=trust) as client:
        peer = await server.accept()
        assert peer.alpn == wire.ALPN
        assert peer.tls_version == "TLSv1.3"
        peer.welcome()
        await client.online()
        await client.send("bob", "x")
        assert (await peer.next(wire.Submit)).c == 1


async def test_another_certificate_is_refused_before_anything_is_said(
    tls_server: tuple[FakeServer, str],
) -> None:
    server, _ = tls_server
    client = Client(
        "alice", 1, "key", server.host, server.port,
        trust=Pinned("00" * 32), backoff=Backoff(first_s=0.001, max_s=0.01),
    )  # fmt: skip
    async with client:
        with pytest.raises(UntrustedCertificate, match="another certificate than before"):
            await asyncio.wait_for(client.online(), 5)
        peer = await server.accept_silent()
        assert await peer.read_all() == b""
        assert server.waiting == 0


async def test_a_fingerprint_can_be_fetched_without_logging_in(
    tls_server: tuple[FakeServer, str],
) -> None:
    server, fingerprint = tls_server
    assert await fetch_fingerprint(server.host, server.port) == fingerprint
    peer = await server.accept_silent()
    assert await peer.read_all() == b""
