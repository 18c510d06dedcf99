"""The server's certificate: from files of the operator, or self-signed on first start.

Changed files are taken up while running; a broken new file keeps the old certificate and
says so. The fingerprint is what clients pin on first use.
"""

import datetime
import hashlib
import ipaddress
import os
import ssl
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from whimbrel.domain.errors import Unready

log = structlog.get_logger("whimbrel.edge")

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "certificate-key.pem"
VALID_DAYS = 3_650


class Certificate:
    """Contexts over one pair of files: TLS 1.3 for our protocol, 1.2 and up for HTTP and XMPP."""

    def __init__(self, certificate: Path, key: Path, alpn: str) -> None:
        self._certificate = certificate
        self._key = key
        self.native = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.native.minimum_version = ssl.TLSVersion.TLSv1_3
        self.native.set_alpn_protocols([alpn])
        self.native.num_tickets = 1  # one is enough to resume; two cost more at every login
        self.http = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.http.minimum_version = ssl.TLSVersion.TLSv1_2
        self.http.set_alpn_protocols(["http/1.1"])
        self.http.num_tickets = 1
        self.xmpp = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.xmpp.minimum_version = ssl.TLSVersion.TLSv1_2
        self.xmpp.set_alpn_protocols(["xmpp-client"])  # XEP-0368
        self.xmpp.num_tickets = 1
        self.fingerprint = ""
        self.ends_s = 0.0
        self.end_point = b""  # RFC 5929 section 4.1
        try:
            self._load()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise Unready(f"the certificate {certificate} cannot be used: {error}") from error
        self._seen = self._stamp()

    def _load(self) -> None:
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trial.load_cert_chain(self._certificate, self._key)  # raises before anything changes
        for context in (self.native, self.http, self.xmpp):
            context.load_cert_chain(self._certificate, self._key)
        first = x509.load_pem_x509_certificates(self._certificate.read_bytes())[0]
        self.fingerprint = hashlib.sha256(
            first.public_bytes(serialization.Encoding.DER)
        ).hexdigest()
        self.end_point = _end_point(first)
        self.ends_s = first.not_valid_after_utc.timestamp()  # seconds since 1970

    def _stamp(self) -> tuple[int, int]:
        return self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns

    def reload_if_changed(self) -> bool:
        """Called every few seconds; True if a new certificate is in use."""
        try:
            stamp = self._stamp()
        except OSError:
            return False
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self._load()
        except (OSError, ssl.SSLError, ValueError) as error:
            log.error("new certificate is broken, the old one stays", reason=str(error))
            return False
        log.info("new certificate in use", fingerprint=shown_fingerprint(self.fingerprint))
        return True


def _end_point(certificate: x509.Certificate) -> bytes:
    """tls-server-end-point: the hash of the signature, at least SHA-256."""
    used = certificate.signature_hash_algorithm
    name = used.name if used is not None else "sha256"
    if name in ("md5", "sha1"):
        name = "sha256"
    der = certificate.public_bytes(serialization.Encoding.DER)
    return hashlib.new(name, der).digest()


def shown_fingerprint(digits: str) -> str:
    """As people compare it: "AB:CD:..."."""
    text = digits.upper()
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))


def self_signed(folder: Path, domain: str) -> tuple[Path, Path]:
    """The files in the data folder, made if they are not there. ECDSA P-256, ten years."""
    certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    if certificate.exists() and key.exists():
        return certificate, key
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName(each) for each in dict.fromkeys([domain, "localhost"])
    ]
    names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    _write(
        key,
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        0o600,
    )
    _write(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o600)
    return certificate, key


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, readable only for whom it is meant from the first byte on."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
