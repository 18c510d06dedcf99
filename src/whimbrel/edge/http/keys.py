"""Chance and secrets of sign-up: PINs, their keyed hashes, and the keys of devices.

A key is 32 random bytes in base64url without padding (43 characters); what is kept of it is the
SHA-256 of that text. A PIN is short, so its hash is keyed with the server's secret and bound to
the number: a stolen database does not give it away.
"""

import hashlib
import hmac
import secrets


def new_pin(digits: int) -> str:
    return f"{secrets.randbelow(10**digits):0{digits}}"


def pin_hash(secret: bytes, number: str, pin: str) -> bytes:
    return hmac.digest(secret, f"{number}\0{pin}".encode(), "sha256")


def new_key() -> tuple[str, bytes]:
    """(key, what is kept of it)."""
    key = secrets.token_urlsafe(32)
    return key, key_hash(key)


def key_hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def same_token(given: str, expected: str) -> bool:
    """In a time that tells nothing; an empty expectation matches nothing."""
    # aiohttp hands on bytes that are not UTF-8 as surrogates: they match nothing either.
    a = hashlib.sha256(given.encode(errors="surrogateescape")).digest()
    b = key_hash(expected)
    return hmac.compare_digest(a, b) and bool(expected)
