"""Certificate files that are replaced while the server runs, as certbot and friends do."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.raw import client_context
from tests.edge.house import until
from whimbrel.client.trust import fetch_fingerprint, normal_fingerprint
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Tls
from whimbrel.node.samples import NO_PROBE


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return pem, secret


async def shown(node: Node) -> str:
    return await fetch_fingerprint("127.0.0.1", node.ports["native"])


async def test_new_files_are_shown_to_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    pem, key = write_certificate(tmp_path, "first.example.org")
    config = Config(
        probe=NO_PROBE,
        listen=Listen(host="127.0.0.1", native=0, https=-1, http=-1, xmpp=-1, xmpp_tls=-1),
        tls=Tls(str(pem), str(key)),
    )
    node = Node(config, tmp_path / "data")
    await node.start()
    try:
        first = await shown(node)
        assert first == normal_fingerprint(node.certificate.fingerprint)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", node.ports["native"], ssl=client_context()
        )
        write_certificate(tmp_path, "second.example.org")
        await until(
            lambda: normal_fingerprint(node.certificate.fingerprint) != first, "never reloaded"
        )
        assert await shown(node) == normal_fingerprint(node.certificate.fingerprint) != first
        assert not reader.at_eof()
        writer.close()
    finally:
        await node.stop()


async def test_a_broken_file_is_not_taken_and_the_old_certificate_stays(tmp_path: Path) -> None:
    pem, key = write_certificate(tmp_path, "first.example.org")
    config = Config(
        probe=NO_PROBE,
        listen=Listen(host="127.0.0.1", native=0, https=-1, http=-1, xmpp=-1, xmpp_tls=-1),
        tls=Tls(str(pem), str(key)),
    )
    node = Node(config, tmp_path / "data")
    await node.start()
    try:
        first = await shown(node)
        pem.write_text("-----BEGIN CERTIFICATE-----\nhalf written")
        node.certificate.reload_if_changed()
        assert await shown(node) == first
        write_certificate(tmp_path, "second.example.org")
        node.certificate.reload_if_changed()
        assert await shown(node) != first
    finally:
        await node.stop()


def test_what_a_context_offers_is_tls_1_3_only(tmp_path: Path) -> None:
    from whimbrel.edge.certificate import Certificate

    pem, key = write_certificate(tmp_path, "a.example.org")
    assert Certificate(pem, key, "whimbrel/1").native.minimum_version == ssl.TLSVersion.TLSv1_3
