"""Names and numbers: addresses of people, account numbers, shards, message ids.

An address is what people type: a phone number in E.164 form ("+4915112345678") or a name
("alice"). Its account number is computed from it, so no directory has to be asked where
an account lives: number -> shard -> node. Law: an id grows with every message of a sender
and fits a JavaScript number (below 2**53).
"""

import re
from hashlib import blake2b

from whimbrel.domain.errors import BadAddress

SHARDS = 4096
ADDRESS_CHARS_MAX = 64
KEY_BYTES_MAX = 64  # of blake2b
NODES_MAX = 1024  # a session's number says on which node it lives
ACTOR_DESK = 1  # the sign-up desk; account numbers are never that small
ACCOUNT_MIN = 1 << 20
PROBES = ("whimbrel.probe.a", "whimbrel.probe.b")  # accounts of node/probe.py
HOUSE = frozenset({"whimbrel", *PROBES})  # the server's own; nobody else signs up under them

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,63}")


def parse_address(text: str) -> str:
    """The canonical form of an address; raises BadAddress.

    Phone numbers are E.164 with a plus and without spaces; names are lower-cased.
    """
    if len(text) > ADDRESS_CHARS_MAX:
        raise BadAddress("an address has at most 64 characters")
    if _PHONE.fullmatch(text):
        return text
    name = text.lower()
    if _NAME.fullmatch(name):
        return name
    raise BadAddress("an address is +<digits> or a name of a-z, 0-9, '.', '_' and '-'")


def account_number(address: str) -> int:
    """The 63-bit number of an address, the same on every node and for ever."""
    digest = blake2b(address.encode(), digest_size=8, person=b"whimbrel-account").digest()
    return (int.from_bytes(digest, "big") >> 1) | ACCOUNT_MIN


def shard_of(account: int) -> int:
    """0..4095; ownership is leased by shard."""
    return account % SHARDS


def node_of(session: int) -> int:
    return session % NODES_MAX


def next_id(now_us: int, last: int) -> int:
    """A message id: microseconds since 1970, but always above the last one given."""
    return now_us if now_us > last else last + 1


def submit_hash(to: str, body: bytes) -> int:
    """Tells a repeated submit from another one under the same number (signed 64 bits)."""
    key = to.encode()
    if len(key) > KEY_BYTES_MAX:  # no address, but it was sent to: 64 letters that are not ASCII
        key = blake2b(key).digest()
    digest = blake2b(body, digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big", signed=True)
