"""The certificate: would a client of this domain accept it, and for how long?

The judge is OpenSSL itself: a handshake in memory between what the server would show and what a
client with the system's authorities asks for.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from whimbrel.edge.certificate import CERTIFICATE_FILE, KEY_FILE
from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown, warning

SUBJECT = "certificate"
SOON_DAYS = 14
CERTBOT = "certbot certonly --standalone -d {domain}; docs/operations.md, TLS"


def check(patient: Patient) -> list[Finding]:
    tls, domain = patient.config.tls, patient.config.domain
    own = not tls.certificate
    file = patient.folder / CERTIFICATE_FILE if own else Path(tls.certificate)
    key = patient.folder / KEY_FILE if own else Path(tls.key)
    if own and not file.exists():
        return [unknown(SUBJECT, "none yet: a self-signed one is made on the first start")]
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError) as error:
        return [bad(SUBJECT, f"{file} cannot be read: {_plain(error)}", "set tls.certificate")]
    found = [_dates(certificate, own), _key(file, key)]
    if found[1].level != "bad":
        found.append(_seen_by_clients(file, key, domain, certificate))
    return found


def _dates(certificate: x509.Certificate, own: bool) -> Finding:
    now, ends = datetime.now(UTC), certificate.not_valid_after_utc
    days = (ends - now).days
    renew = (
        "delete it and start again" if own else "renew it; the running server takes it by itself"
    )
    if ends < now:
        return bad(SUBJECT, f"it ended on {ends:%Y-%m-%d}", renew)
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc
        return bad(SUBJECT, f"it begins on {begins:%Y-%m-%d}", "look at the clock of this machine")
    if days < SOON_DAYS:
        return warning(SUBJECT, f"it ends in {days} days, on {ends:%Y-%m-%d}", renew)
    return good(SUBJECT, f"valid for {days} more days, until {ends:%Y-%m-%d}")


def _key(file: Path, key: Path) -> Finding:
    subject = "certificate's key"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key)
    except ssl.SSLError as error:
        text = f"{key} does not belong to the certificate ({error.reason})"
        return bad(subject, text, "set tls.key to the key that the certificate was made with")
    except OSError as error:
        return bad(subject, f"{key} cannot be read: {_plain(error)}", "set tls.key, or its rights")
    if key.stat().st_mode & 0o007:
        return warning(subject, "every user of this machine may read it", f"chmod o-rwx {key}")
    return good(subject, "fits, and is not open to everybody")


def _seen_by_clients(file: Path, key: Path, domain: str, certificate: x509.Certificate) -> Finding:
    subject = "certificate's trust"
    trouble = handshake(file, key, domain)
    if not trouble:
        return good(subject, f"clients accept it for {domain}")
    if certificate.issuer == certificate.subject:
        names = _names(certificate)
        if not _covers(names, domain):
            text = f"self-signed, for {', '.join(names) or 'no name'}, not {domain}"
            return warning(subject, text, f"delete it and start again, or {_certbot(domain)}")
        text = "self-signed: browsers and most XMPP clients refuse it; our own pin it"
        return warning(subject, text, _certbot(domain))
    return bad(subject, f"clients of {domain} refuse it: {trouble}", _advice(trouble, domain))


def _advice(trouble: str, domain: str) -> str:
    if "issuer" in trouble:
        return "give the whole chain (certbot's fullchain.pem), not the certificate alone"
    if "ostname" in trouble or "IP address" in trouble:
        return f"ask for a certificate that names {domain}, or set domain to what it names"
    return _certbot(domain)


def _certbot(domain: str) -> str:
    return CERTBOT.format(domain=domain)


def handshake(file: Path, key: Path, domain: str) -> str:
    """What a client that trusts this system's authorities says to it; "" if it is content."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(file, key)
    client_side = ssl.create_default_context()
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=domain)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return str(error.reason)
    return ""


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _covers(names: list[str], domain: str) -> bool:
    parent = domain.partition(".")[2]
    return domain in names or (bool(parent) and f"*.{parent}" in names)


def _plain(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is no PEM certificate"
