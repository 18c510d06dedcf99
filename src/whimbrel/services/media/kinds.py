"""Kinds of files: what the first bytes say, and which types a browser may show in our origin.

Law: a type that is served as itself is on the list here *and* is what the bytes look like;
everything else is application/octet-stream, to be saved. SVG and HTML are never on the list.
"""

import re
from typing import NamedTuple

from whimbrel.domain.media import UNKNOWN_TYPE

HEAD_BYTES = 64
_SYNTAX = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")


class Kind(NamedTuple):
    """family: picture, moving (video or audio); format: what opens it; types: how it may be
    served, the first one if the announced type is none of them.
    """

    family: str
    format: str
    types: tuple[str, ...]


JPEG = Kind("picture", "JPEG", ("image/jpeg",))
PNG = Kind("picture", "PNG", ("image/png", "image/apng"))
GIF = Kind("picture", "GIF", ("image/gif",))
WEBP = Kind("picture", "WEBP", ("image/webp",))
AVIF = Kind("picture", "AVIF", ("image/avif",))
MP4 = Kind(
    "moving", "mp4", ("video/mp4", "audio/mp4", "audio/x-m4a", "audio/aac", "video/quicktime")
)
WEBM = Kind("moving", "matroska", ("video/webm", "audio/webm"))
OGG = Kind("moving", "ogg", ("audio/ogg", "video/ogg", "audio/opus"))
MP3 = Kind("moving", "mp3", ("audio/mpeg", "audio/mp3"))
WAV = Kind("moving", "wav", ("audio/wav", "audio/x-wav", "audio/wave"))
FLAC = Kind("moving", "flac", ("audio/flac", "audio/x-flac"))
AAC = Kind("moving", "aac", ("audio/aac",))

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\x1a\x45\xdf\xa3", WEBM),
    (b"OggS", OGG),
    (b"fLaC", FLAC),
    (b"ID3", MP3),
    (b"\xff\xfb", MP3),
    (b"\xff\xf3", MP3),
    (b"\xff\xf2", MP3),
    (b"\xff\xf1", AAC),
    (b"\xff\xf9", AAC),
)
_PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc")


def kind_of(head: bytes) -> Kind | None:
    """What the first HEAD_BYTES of a file say."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"WAVE": WAV}.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis"):
            return AVIF
        return None if brand in _PICTURE_BRANDS else MP4
    return None


def is_type(text: str) -> bool:
    """Is this a media type, without parameters (RFC 6838 section 4.2)?"""
    return bool(_SYNTAX.fullmatch(text))


def is_taken(type: str, patterns: tuple[str, ...]) -> bool:
    """Does the configuration allow it? No patterns: everything."""
    family = type.partition("/")[0]
    return not patterns or type in patterns or f"{family}/*" in patterns or "*/*" in patterns


def served_as(announced: str, kind: Kind | None) -> str:
    """The type in which a file is told and served."""
    if kind is None:
        return UNKNOWN_TYPE
    return announced if announced in kind.types else kind.types[0]


SHOWN = frozenset(
    type for kind in (JPEG, PNG, GIF, WEBP, AVIF, MP4, WEBM, OGG, MP3, WAV, FLAC, AAC)
    for type in kind.types
)  # fmt: skip
