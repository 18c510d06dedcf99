"""What the two TLS contexts accept."""

import ssl
from pathlib import Path

import pytest

from whimbrel.edge.certificate import Certificate, self_signed
from whimbrel.protocol.wire import ALPN


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(*self_signed(tmp_path, "localhost"), ALPN)


def test_https_takes_modern_tls_with_forward_secrecy_only(certificate: Certificate) -> None:
    context = certificate.http
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    offered = context.get_ciphers()
    older = [each["description"] for each in offered if each["protocol"] != "TLSv1.3"]
    assert older, "TLS 1.2 is offered"
    assert [each for each in older if "Kx=ECDH" not in each and "Kx=DH" not in each] == []
    assert [each for each in older if "Au=None" in each or "Enc=None" in each] == []


def test_the_own_protocol_takes_tls_1_3_only(certificate: Certificate) -> None:
    assert certificate.native.minimum_version is ssl.TLSVersion.TLSv1_3
    assert certificate.native.num_tickets == 1


def test_a_fresh_certificate_has_a_key_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (self_signed(tmp_path / name, "localhost") for name in "ab")
    assert one[1].read_bytes() != two[1].read_bytes()
    assert self_signed(tmp_path / "a", "localhost") == one, "made once"
