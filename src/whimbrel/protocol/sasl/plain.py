"""PLAIN (RFC 4616): the password itself, so only inside TLS."""

from typing import NamedTuple

from whimbrel.domain.discreet import discreet
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.sasl.prepare import saslprep

CHARS_MAX = 1_023


class Claim(NamedTuple):
    """Who somebody says to be. authzid "": the same as authcid."""

    authzid: str
    authcid: str
    password: str

    def __repr__(self) -> str:
        return discreet(self)


def read_plain(message: bytes) -> Claim:
    """Raises SaslFailure(malformed-request)."""
    try:
        parts = message.decode().split("\0")
    except UnicodeDecodeError:
        raise SaslFailure("malformed-request", "not UTF-8") from None
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslFailure("malformed-request", "authzid NUL authcid NUL password")
    if max(map(len, parts)) > CHARS_MAX:
        raise SaslFailure("malformed-request", "too long")
    return Claim(parts[0], saslprep(parts[1]), saslprep(parts[2]))
