"""The version of a roster: a hash of what it says, so that nothing has to be kept."""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from whimbrel.domain.im import RosterItem

_pack = msgspec.msgpack.Encoder().encode


def version_of(items: Sequence[RosterItem]) -> str:
    """The same for the same items, whatever order they come in."""
    return blake2b(_pack(sorted(items, key=lambda item: item.address)), digest_size=9).hexdigest()
