"""Whom the client trusts: a certificate known by its fingerprint, an authority, or a wire.

Law: with a fingerprint, nothing is sent to a server that shows another certificate.
"""

import asyncio
import hashlib
import ssl

import msgspec

from whimbrel.client.errors import UntrustedCertificate
from whimbrel.protocol.wire import ALPN


class Plain(msgspec.Struct, frozen=True):
    """No TLS: for tests and the loopback interface only."""


class Pinned(msgspec.Struct, frozen=True):
    """The sha256 of the certificate (DER) in hexadecimal, colons allowed."""

    fingerprint: str


class Authority(msgspec.Struct, frozen=True):
    """A certificate signed by an authority, for this host name. cafile "": the system's."""

    cafile: str = ""


Trust = Plain | Pinned | Authority


def normal_fingerprint(text: str) -> str:
    """Lower-case hexadecimal without colons, as it is compared."""
    return text.lower().replace(":", "").removeprefix("sha256").strip()


def shown_fingerprint(text: str) -> str:
    """As people compare it: 'AB:CD:...'."""
    digits = normal_fingerprint(text).upper()
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def fingerprint_of(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def tls_context(trust: Trust) -> ssl.SSLContext | None:
    """TLS 1.3 with our ALPN, or None for a plain connection."""
    if isinstance(trust, Plain):
        return None
    if isinstance(trust, Authority):
        context = ssl.create_default_context(cafile=trust.cafile or None)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the fingerprint says more than a name
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


def check_certificate(trust: Trust, certificate: bytes | None, host: str) -> None:
    """Raises UntrustedCertificate. The TLS layer has checked an Authority already."""
    if not isinstance(trust, Pinned):
        return
    shown = fingerprint_of(certificate or b"")
    if shown != normal_fingerprint(trust.fingerprint):
        raise UntrustedCertificate(mismatch_text(host, trust.fingerprint, shown))


def mismatch_text(host: str, known: str, shown: str) -> str:
    return (
        f"{host} shows another certificate than before: known "
        f"{shown_fingerprint(known)[:23]}..., now {shown_fingerprint(shown)[:23]}... "
        "Someone may be listening in. If the operator confirms the new fingerprint, "
        "trust it with: whimbrel fingerprint --trust"
    )


class _Look(asyncio.Protocol):
    """Takes the certificate of a server and says nothing."""


async def fetch_fingerprint(host: str, port: int, timeout_s: float = 10.0) -> str:
    """The fingerprint that a server shows; raises OSError, TimeoutError or ssl.SSLError."""
    loop = asyncio.get_running_loop()
    context = tls_context(Pinned(""))
    async with asyncio.timeout(timeout_s):
        transport, _ = await loop.create_connection(_Look, host, port, ssl=context)
    try:
        ssl_object = transport.get_extra_info("ssl_object")
        return fingerprint_of(ssl_object.getpeercert(binary_form=True) or b"")
    finally:
        transport.abort()
