"""Verifiers as they are kept: one short value with the salt, the iterations, and StoredKey and
ServerKey for each hash. It opens nothing by itself, and is worthless for another account.
"""

import hmac
from collections.abc import Callable

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.protocol.sasl.scram import HASHES, ITERATIONS_MIN, Verifier, derive

SALT_BYTES = 16


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """salt, iterations, {hash: (StoredKey, ServerKey)}."""

    salt: bytes
    iterations: int
    keys: dict[str, tuple[bytes, bytes]]
    __repr__ = discreet

    def verifier(self, hash: str) -> Verifier:
        return Verifier(*self.keys[hash])


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Kept).decode

Keeper = Callable[[str, str], bytes]  # (address, password) -> what is kept


def salt_of(secret: bytes, address: str) -> bytes:
    """The salt of an account, whether it exists or not: strangers cannot tell."""
    return hmac.digest(secret, address.encode(), "sha256")[:SALT_BYTES]


def keep(password: str, salt: bytes, iterations: int = ITERATIONS_MIN) -> bytes:
    """Costs about 4 ms at 4,096 iterations; raises SaslFailure for a password without a form."""
    keys = {}
    for hash in HASHES:
        verifier = derive(password, salt, iterations, hash)
        keys[hash] = (verifier.stored_key, verifier.server_key)
    return _pack(Kept(salt, iterations, keys))


def keeper(secret: bytes) -> Keeper:
    """Makes what is kept of a key; `secret` belongs to the server."""
    return lambda address, password: keep(password, salt_of(secret, address))


def keep_nothing(address: str, password: str) -> bytes:
    """Where nobody logs in by SASL."""
    return b""


def read_kept(data: bytes) -> Kept | None:
    """None if there is nothing, or nothing that can be read."""
    if not data:
        return None
    try:
        return _unpack(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
