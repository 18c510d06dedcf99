"""Where a film was made: found in the boxes of an MP4 or QuickTime file and taken out in place.

ISO/IEC 14496-12 section 4.2 (boxes), 3GPP TS 26.244 section 8.6 (loci), QuickTime's "\xa9xyz" and
its metadata keys with "location" in their names. A box that tells a place becomes "free" and its
bytes zero, so that no offset in the file moves. Law: bounded work, whatever the sizes say; what
cannot be followed is left alone.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from whimbrel.domain.discreet import discreet

BOXES_MAX = 100_000
KEYS_MAX = 4_096
_TELLS = frozenset((b"loci", b"\xa9xyz"))
_HOLDS = frozenset((b"moov", b"udta", b"trak", b"meta"))


@dataclass(frozen=True, slots=True)
class Box:
    name: bytes
    at: int  # of its head
    inner: int  # where what it holds begins
    end: int
    __repr__ = discreet


def take_out(data: memoryview, places: list[Box]) -> None:
    """Change `data` in place. Inside "ilst" a name is the number of a key: 0 is no key's."""
    for box in places:
        number = int.from_bytes(box.name, "big")
        data[box.at + 4 : box.at + 8] = bytes(4) if number < KEYS_MAX else b"free"
        data[box.inner : box.end] = bytes(box.end - box.inner)


def places_in(data: memoryview) -> list[Box]:
    """The boxes that tell a place."""
    found: list[Box] = []
    waiting = [(0, len(data))]
    left = BOXES_MAX
    while waiting and left > 0:
        start, end = waiting.pop()
        for box in _boxes(data, start, end):
            left -= 1
            if left <= 0:
                break
            if box.name in _TELLS:
                found.append(box)
            elif box.name in _HOLDS:
                body = box.inner
                if box.name == b"meta":
                    body = _meta_body(data, box)
                    found += _by_key(data, body, box.end)
                waiting.append((body, box.end))
    return found


def _boxes(data: memoryview, start: int, end: int) -> Iterator[Box]:
    at = start
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1 and at + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            body = at + 16
        elif size == 0:
            size = end - at
        if size < body - at or at + size > end:
            return
        yield Box(name, at, body, at + size)
        at += size


def _meta_body(data: memoryview, box: Box) -> int:
    """ISO's has four bytes of version before its boxes, QuickTime's has not."""
    plain = bytes(data[box.inner + 4 : box.inner + 8])
    return box.inner if plain in (b"hdlr", b"keys", b"mhdr") else min(box.inner + 4, box.end)


def _by_key(data: memoryview, start: int, end: int) -> list[Box]:
    """QuickTime: "keys" lists names, "ilst" has a box for each that is named by its number."""
    parts = {box.name: box for box in _boxes(data, start, end)}
    keys, values = parts.get(b"keys"), parts.get(b"ilst")
    if keys is None or values is None:
        return []
    names = _boxes(data, keys.inner + 8, keys.end)  # a key looks like a box: size, "mdta", name
    places = {
        number
        for number, key in zip(range(1, KEYS_MAX), names, strict=False)
        if b"location" in bytes(data[key.inner : min(key.end, key.inner + 256)]).lower()
    }
    return [
        box
        for box, _ in zip(_boxes(data, values.inner, values.end), range(KEYS_MAX), strict=False)
        if int.from_bytes(box.name, "big") in places
    ]
