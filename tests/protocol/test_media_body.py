"""A file in a body: types and bounds are checked, unknown keys pass, nothing runnable is a link."""

import base64
from typing import Any

import msgspec
import pytest

from whimbrel.domain.errors import BadMessage
from whimbrel.domain.limits import Limits
from whimbrel.domain.media import THUMBNAIL_BYTES_MAX
from whimbrel.protocol.body import body_from_json, body_to_json, check_body

LIMIT = Limits().body_bytes_max
LINK = "/m/0123456789abcdef0123456789abcdef01234567/H%C3%B6hle%20(1)_~.jpg"
LEAST = {"link": LINK, "size": 1, "type": "image/jpeg"}
FULL = LEAST | {
    "name": "Höhle.jpg",
    "sha256": "0" * 64,
    "width": 4_000,
    "height": 3_000,
    "duration": 1.5,
    "thumbnail": base64.b64encode(bytes(THUMBNAIL_BYTES_MAX)).decode(),
    "blur": "LxI#M*$jwdxG4TwJwdr?-Vw{wxso",
    "later": {"x": [1]},
}


def body(media: Any) -> bytes:
    return msgspec.json.encode({"text": "x" * 20_000, "media": media})


@pytest.mark.parametrize("media", [LEAST, FULL, LEAST | {"link": "https://x.example/a"}, None])
def test_a_file_passes_untouched_with_the_largest_thumbnail(media: Any) -> None:
    packed = body_from_json(body(media), LIMIT)
    assert check_body(packed, LIMIT) == packed
    assert msgspec.json.decode(body_to_json(packed))["media"] == media


@pytest.mark.parametrize(
    "change",
    [
        {"link": ""},
        {"link": "javascript:alert(1)"},
        {"link": " /m/x"},
        {"link": "/m/a b"},
        {"link": "/m/a/b\n"},
        {"link": "/m/../pins"},
        {"link": "/m/a/../../pins"},
        {"link": "/m/a/b?c"},
        {"link": "/m/a"},
        {"type": "a/b\n"},
        {"sha256": "0" * 64 + "\n"},
        {"blur": "abc\n"},
        {"link": "http://x.example/a"},
        {"link": "//evil.example/m/"},
        {"link": "data:text/html,x"},
        {"link": "/m/" + "x" * 510},
        {"link": 1},
        {"size": -1},
        {"size": 2**53},
        {"size": "1"},
        {"type": "image"},
        {"type": "a/b; c"},
        {"type": "a/" + "b" * 200},
        {"name": "x" * 256},
        {"sha256": "G" * 64},
        {"sha256": "0" * 63},
        {"width": 0},
        {"height": 1_000_001},
        {"duration": -0.1},
        {"duration": 1e9},
        {"thumbnail": base64.b64encode(bytes(THUMBNAIL_BYTES_MAX + 1)).decode()},
        {"thumbnail": base64.b64encode(bytes(THUMBNAIL_BYTES_MAX + 100)).decode()},
        {"thumbnail": "not base64!"},
        {"thumbnail": "AAA"},
        {"blur": "x" * 129},
        {"blur": '<"\u00e4'},
    ],
    ids=str,
)
def test_a_file_that_is_none_is_a_bad_message_in_both_codecs(change: dict[str, Any]) -> None:
    wrong = FULL | change
    with pytest.raises(BadMessage):
        body_from_json(body(wrong), LIMIT)
    with pytest.raises(BadMessage):
        check_body(msgspec.msgpack.encode({"media": wrong}), LIMIT)
    with pytest.raises(BadMessage):
        check_body(msgspec.msgpack.encode({"text": "first", "media": wrong}), LIMIT)


@pytest.mark.parametrize("missing", ["link", "size", "type"])
def test_link_size_and_type_are_needed(missing: str) -> None:
    with pytest.raises(BadMessage):
        body_from_json(body({k: v for k, v in FULL.items() if k != missing}), LIMIT)
