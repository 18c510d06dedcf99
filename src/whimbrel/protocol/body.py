"""Bodies: what a message says, checked once on the way in, then carried as it is.

A stored body is a MessagePack map that can be written as JSON without loss, because the
recipient's client may speak either. docs/protocol.md section 4.3. Law: hostile bytes give
BadMessage or BodyTooBig, never another exception, and bounded work.
"""

import base64
import math
from typing import Any

import msgspec

from whimbrel.domain.errors import BadMessage, BodyTooBig
from whimbrel.domain.media import THUMBNAIL_BYTES_MAX
from whimbrel.protocol.wire import Content

NESTING_MAX = 16
INTEGER_MAX = 2**53 - 1

_decode_content = msgspec.msgpack.Decoder(Content).decode
_decode_any = msgspec.msgpack.Decoder().decode
_decode_json = msgspec.json.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode

_KNOWN_FIELDS = frozenset(Content.__struct_fields__)
_TEXT_ONLY = b"\x81\xa4text"  # a map of one: the most common body by far


def check_body(raw: bytes, limit: int) -> bytes:
    """A MessagePack body from a device; raises BadMessage or BodyTooBig."""
    if len(raw) > limit:
        raise BodyTooBig(f"a body of {len(raw)} bytes, at most {limit}")
    try:
        content = _decode_content(raw)
        if not raw.startswith(_TEXT_ONLY):
            _check_thumbnail(content)
            _check_value(_decode_any(raw), NESTING_MAX)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"body: {error}") from None
    return raw


def body_from_json(raw: bytes, limit: int) -> bytes:
    """A JSON body from a device, as the MessagePack that is stored."""
    if len(raw) > limit:
        raise BodyTooBig(f"a body of {len(raw)} bytes, at most {limit}")
    try:
        value = _decode_json(raw)
        _check_value(value, NESTING_MAX)
        packed = _encode(value)
        _check_thumbnail(_decode_content(packed))
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError) as error:
        raise BadMessage(f"body: {error}") from None
    if len(packed) > limit:
        raise BodyTooBig(f"a body of {len(packed)} bytes, at most {limit}")
    return packed


def _check_thumbnail(content: Content) -> None:
    """Base64 of at most so many bytes: clients put it into the address of a picture."""
    media = content.media
    if media is None or media.thumbnail is None:
        return
    try:
        data = base64.b64decode(media.thumbnail, validate=True)
    except ValueError:
        raise BadMessage("body: a thumbnail that is not Base64") from None
    if len(data) > THUMBNAIL_BYTES_MAX:
        raise BadMessage("body: a thumbnail that is too big")


def body_to_json(packed: bytes) -> bytes:
    """A stored body for a client that reads JSON."""
    return _encode_json(_decode_any(packed))


def _check_value(value: Any, depth: int) -> None:
    """Only what JSON can say: maps with text keys, lists, text, safe numbers, true, null."""
    if depth == 0:
        raise BadMessage("body: nested too deeply")
    kind = type(value)
    if kind is dict:
        for key, inner in value.items():
            if type(key) is not str:
                raise BadMessage("body: a key that is not text")
            _check_value(inner, depth - 1)
    elif kind is list:
        for inner in value:
            _check_value(inner, depth - 1)
    elif kind is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise BadMessage("body: an integer beyond 2**53")
    elif kind is float:
        if not math.isfinite(value):
            raise BadMessage("body: a number that is not finite")
    elif kind is str:
        value.encode()  # a lone surrogate is refused here
    elif value is not None and kind is not bool:
        raise BadMessage(f"body: {kind.__name__} cannot be written as JSON")
