"""SCRAM-SHA-1, -256, -512 and their -PLUS forms (RFC 5802, 7677), as a server speaks them.

Three steps, without I/O: read_first -> challenge -> read_final. What is stored is a Verifier for
each hash: it opens nothing by itself. An account has one salt, also when it has several passwords
(its devices' keys) or does not exist at all, so that a stranger cannot tell; the proof is tried on
all of its verifiers. Law: any bytes give a next step or one SaslFailure.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import new as new_hash
from hashlib import pbkdf2_hmac
from typing import NamedTuple

from whimbrel.domain.discreet import discreet
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.sasl.prepare import saslprep

HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
ITERATIONS_MIN = 4_096
MESSAGE_BYTES_MAX = 4_096
_NAME = re.compile(r"(?:[^,=\0]|=2C|=3D)+")
_NONCE = re.compile(r"[!-+\--~]+")
_FIRST = re.compile(
    r"(?:(n|y)|p=([A-Za-z0-9.-]+)),(?:a=([^,\0]*))?,"  # gs2-header
    r"(?:(m=).*|n=([^,\0]*),r=([^,]*)(?:,.*)?)",
    re.DOTALL,
)


class Verifier(NamedTuple):
    """StoredKey and ServerKey (RFC 5802 section 3)."""

    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return discreet(self)


def derive(password: str, salt: bytes, iterations: int, hash: str) -> Verifier:
    """What is kept of a password; costs `iterations` of PBKDF2 (4,096: about 2 ms)."""
    name = HASHES[hash]
    salted = pbkdf2_hmac(name, saslprep(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    return Verifier(new_hash(name, client_key).digest(), hmac.digest(salted, b"Server Key", name))


class Scram:
    """One attempt. `bindings`: the channel's data by the name of its type, where TLS tells it.

    offers_plus: whether -PLUS mechanisms were offered, to notice somebody who took them out.
    nonce: ours, of chance, printable without ",".
    """

    def __init__(
        self, hash: str, plus: bool, bindings: Mapping[str, bytes], offers_plus: bool, nonce: str
    ) -> None:
        self._hash = HASHES[hash]
        self._plus = plus
        self._bindings = bindings
        self._offers_plus = offers_plus
        self._nonce = nonce
        self._bound = b""  # what the client's c= has to say
        self._transcript = b""
        self.authcid = ""
        self.authzid = ""

    def read_first(self, message: bytes) -> str:
        """The name of who wants in. Raises SaslFailure."""
        text = _text(message)
        found = _FIRST.fullmatch(text)
        if found is None:
            raise SaslFailure("malformed-request")
        flag, binding, authzid, extension, name, nonce = found.groups()
        if extension:
            raise SaslFailure("malformed-request", "an extension that must be understood")
        header_end = text.index(",", text.index(",") + 1) + 1
        self._bound = text[:header_end].encode()
        self._check_binding(flag, binding)
        if not _NAME.fullmatch(name) or not _NONCE.fullmatch(nonce):
            raise SaslFailure("malformed-request")
        self.authcid = saslprep(_unescaped(name))
        if authzid is not None:
            if not _NAME.fullmatch(authzid):
                raise SaslFailure("malformed-request")
            self.authzid = _unescaped(authzid)
        self._nonce = nonce + self._nonce
        self._transcript = text[header_end:].encode()
        return self.authcid

    def _check_binding(self, flag: str | None, binding: str | None) -> None:
        """Section 6: who chose -PLUS names a type that we know; who could bind says so."""
        if self._plus:
            if binding is None:
                raise SaslFailure("malformed-request", "-PLUS without a channel binding")
            if binding not in self._bindings:
                raise SaslFailure("malformed-request", "a channel binding that is not known here")
            self._bound += self._bindings[binding]
        elif binding is not None:
            raise SaslFailure("malformed-request", "a channel binding without -PLUS")
        elif flag == "y" and self._offers_plus:
            raise SaslFailure("not-authorized", "the list of mechanisms was changed on its way")

    def challenge(self, salt: bytes, iterations: int) -> bytes:
        """server-first-message."""
        said = f"r={self._nonce},s={base64.b64encode(salt).decode()},i={iterations}".encode()
        self._transcript += b"," + said
        return said

    def read_final(self, message: bytes, verifiers: Sequence[Verifier]) -> tuple[int, bytes]:
        """(which of the verifiers it was, server-final-message). Raises SaslFailure."""
        text = _text(message)
        without_proof, separator, proof64 = text.rpartition(",p=")
        attributes = without_proof.split(",")
        if not separator or len(attributes) < 2 or not attributes[0].startswith("c="):
            raise SaslFailure("malformed-request")
        proof, bound = _base64(proof64), _base64(attributes[0][2:])
        if attributes[1] != f"r={self._nonce}":
            raise SaslFailure("not-authorized")
        if not hmac.compare_digest(bound, self._bound):
            raise SaslFailure("not-authorized", "the channel is not the one that was bound")
        signed = self._transcript + b"," + without_proof.encode()
        for at, verifier in enumerate(verifiers):
            if self._proves(proof, signed, verifier):
                signature = hmac.digest(verifier.server_key, signed, self._hash)
                return at, b"v=" + base64.b64encode(signature)
        raise SaslFailure("not-authorized")

    def _proves(self, proof: bytes, signed: bytes, verifier: Verifier) -> bool:
        signature = hmac.digest(verifier.stored_key, signed, self._hash)
        if len(proof) != len(signature):
            return False
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        known = new_hash(self._hash, client_key).digest()
        return hmac.compare_digest(known, verifier.stored_key)


def _text(message: bytes) -> str:
    if len(message) > MESSAGE_BYTES_MAX:
        raise SaslFailure("malformed-request", "too long")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise SaslFailure("malformed-request", "not UTF-8") from None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslFailure("malformed-request") from None


def _unescaped(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")
