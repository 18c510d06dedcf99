"""Pictures without their makers' secrets: location and other notes go, pixels stay as they are.

JPEG, PNG and WebP are copied part by part; only the parts that are on a list of what a picture
needs to be shown are kept, so Exif (GPS, serial numbers, embedded previews), XMP, IPTC, comments
and whatever hangs behind the end are gone. The orientation is kept, in an Exif part of our own.
No pixel is decoded. Law: what is written has only listed parts; what cannot be followed is Broken.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

Bytes = memoryview

ORIENTATION = 0x0112
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
SOI, EOI, SOS, APP0, APP1, APP2, APP14, COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST sPLT cICP mDCV cLLI"
    b" acTL fcTL fdAT".split()
)
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_HAS_EXIF, _HAS_XMP = 0x08, 0x04


class Broken(Exception):
    """Not a picture of the kind that its first bytes announce."""


def clean(source: bytes | memoryview, format: str, into: BinaryIO) -> None:
    """Write a clean copy. Raises Broken; `into` is worthless then."""
    try:
        CLEANERS[format](memoryview(source), into)
    except (struct.error, IndexError) as error:
        raise Broken(format) from error


def _jpeg(data: Bytes, into: BinaryIO) -> None:
    """ITU-T T.81 annex B: segments, and behind each SOS the coded data up to the next marker."""
    into.write(b"\xff\xd8")
    turned = scans = 0
    wrote_exif = False
    at = 2
    while True:
        at, marker = _next_marker(data, at)
        if marker == EOI:
            break
        if marker == SOI or 0xD0 <= marker <= 0xD7 or marker == 0x01:
            at += 2
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + size
        if size < 2 or end > len(data):
            raise Broken("a segment beyond the end")
        body = data[at + 4 : end]
        if marker == APP1 and not turned and bytes(body[:6]) == b"Exif\0\0":
            turned = _orientation(body[6:])
        if marker == SOS and not wrote_exif and turned > 1:
            exif = b"Exif\0\0" + _exif(turned)
            into.write(b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
            wrote_exif = True
        if marker == SOS:
            scans += 1
            end = _end_of_scan(data, end)
        if _jpeg_kept(marker, body):
            into.write(data[at:end])
        at = end
    if not scans:
        raise Broken("no picture in it")
    into.write(b"\xff\xd9")


def _next_marker(data: Bytes, at: int) -> tuple[int, int]:
    """The marker that stands at `at`, behind any fill bytes."""
    if data[at] != 0xFF:
        raise Broken("no marker where one must be")
    while data[at + 1] == 0xFF:
        at += 1
    return at, data[at + 1]


def _end_of_scan(data: Bytes, at: int) -> int:
    found = _MARKER.search(data, at)
    if found is None:
        raise Broken("the end is missing")
    return found.start()


def _jpeg_kept(marker: int, body: Bytes) -> bool:
    """All that decoding needs, JFIF, ICC profiles, and Adobe's word on the colours."""
    if marker == APP2:
        return bytes(body[:12]) == b"ICC_PROFILE\0"
    if marker == APP0:
        return bytes(body[:5]) == b"JFIF\0"
    return marker == APP14 or not (APP0 <= marker <= 0xEF or marker == COM)


def _png(data: Bytes, into: BinaryIO) -> None:
    """PNG (third edition) section 5.3: length, type, data, CRC."""
    into.write(PNG_START)
    for at, name, body in _png_chunks(data):
        if name == b"eXIf" and (turned := _orientation(body)) > 1:
            exif = b"eXIf" + _exif(turned)
            into.write(struct.pack(">I", len(exif) - 4) + exif)
            into.write(struct.pack(">I", zlib.crc32(exif)))
        elif name in _PNG_KEPT:
            into.write(data[at : at + 12 + len(body)])


def _png_chunks(data: Bytes) -> Iterator[tuple[int, bytes, Bytes]]:
    at = len(PNG_START)
    name = b""
    while name != b"IEND":
        (size,) = struct.unpack_from(">I", data, at)
        name = bytes(data[at + 4 : at + 8])
        if at + 12 + size > len(data):
            raise Broken("a chunk beyond the end")
        yield at, name, data[at + 8 : at + 8 + size]
        at += 12 + size


def _webp(data: Bytes, into: BinaryIO) -> None:
    """RFC 9649: RIFF chunks of even length. Orientation is told in an EXIF chunk at the end."""
    (size,) = struct.unpack_from("<I", data, 4)
    end = min(len(data), 8 + size)
    into.write(b"RIFF\0\0\0\0WEBP")
    at, turned, extended, flags = 12, 0, -1, 0
    while at + 8 <= end:
        name = bytes(data[at : at + 4])
        (size,) = struct.unpack_from("<I", data, at + 4)
        if at + 8 + size > end:
            raise Broken("a chunk beyond the end")
        body = data[at + 8 : at + 8 + size]
        if name == b"EXIF":
            tiff = body[6:] if bytes(body[:6]) == b"Exif\0\0" else body
            turned = _orientation(tiff)
        elif name in _WEBP_KEPT:
            if name == b"VP8X":
                extended, flags = into.tell() + 8, body[0]
            _riff(into, name, body)
        at += 8 + size + size % 2
    if turned > 1 and extended >= 0:
        _riff(into, b"EXIF", memoryview(_exif(turned)))
    whole = into.tell()
    if whole == 12:
        raise Broken("no picture in it")
    if extended >= 0:
        flags &= ~(_HAS_EXIF | _HAS_XMP)
        into.seek(extended)
        into.write(bytes([flags | (_HAS_EXIF if turned > 1 else 0)]))
    into.seek(4)
    into.write(struct.pack("<I", whole - 8))
    into.seek(whole)


def _riff(into: BinaryIO, name: bytes, body: Bytes) -> None:
    into.write(name + struct.pack("<I", len(body)))
    into.write(body)
    if len(body) % 2:
        into.write(b"\0")


# ---- Exif: a TIFF inside ----------------------------------------------------------------


def _orientation(tiff: Bytes) -> int:
    """1 to 8; 0 if it is not told or the Exif cannot be read."""
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(tiff[:2])]
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, first)
        for at in range(first + 2, first + 2 + 12 * min(count, 512), 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
            if tag == ORIENTATION and kind == 3:
                return int(value) if 1 <= value <= 8 else 0
    except (KeyError, struct.error):
        return 0
    return 0


def _exif(turned: int) -> bytes:
    """The least Exif there is: one entry, the orientation."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, ORIENTATION, 3, 1, turned, 0, 0)


CLEANERS: dict[str, Callable[[Bytes, BinaryIO], None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
}
