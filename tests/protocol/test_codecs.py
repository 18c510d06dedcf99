"""Frames, both codecs and bodies: any split gives the same; wrong bytes give one named refusal."""

import math
from typing import Any

import msgspec
import pytest

from whimbrel.domain import answers as a
from whimbrel.domain.errors import BadFrame, BadMessage, BodyTooBig, FrameTooBig
from whimbrel.protocol import examples, wire
from whimbrel.protocol.body import NESTING_MAX, body_from_json, body_to_json, check_body
from whimbrel.protocol.document import as_json
from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.protocol.native import JsonCodec, MsgpackCodec
from whimbrel.protocol.translate import answer_to_wire

pack = msgspec.msgpack.encode
LIMIT = 1_000


def ids(example: wire.Wire) -> str:
    return type(example).__name__


# ---- frames -----------------------------------------------------------------------------


def test_frames_are_the_same_at_every_split() -> None:
    payloads = [b"a", b"bb" * 50, b"c" * 300]
    data = b"".join(encode_frame(payload) for payload in payloads)
    for cut in range(len(data) + 1):
        decoder = FrameDecoder(LIMIT)
        assert decoder.feed(data[:cut]) + decoder.feed(data[cut:]) == payloads
        assert decoder.pending == 0


def test_frames_come_byte_by_byte() -> None:
    decoder = FrameDecoder(LIMIT)
    data = encode_frame(b"hello") * 3
    frames = [frame for byte in data for frame in decoder.feed(bytes([byte]))]
    assert frames == [b"hello"] * 3


def test_a_frame_above_the_limit_is_refused_as_soon_as_its_length_is_known() -> None:
    with pytest.raises(FrameTooBig):
        FrameDecoder(LIMIT).feed((LIMIT + 1).to_bytes(4, "big"))


def test_the_limit_may_be_raised() -> None:
    decoder = FrameDecoder(10)
    decoder.limit = LIMIT
    assert decoder.feed(encode_frame(b"x" * LIMIT)) == [b"x" * LIMIT]


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(BadFrame):
        FrameDecoder(LIMIT).feed(bytes(4))


# ---- messages ---------------------------------------------------------------------------


@pytest.mark.parametrize("example", examples.FROM_DEVICE, ids=ids)
def test_what_a_device_sends_is_read_back(example: wire.Wire) -> None:
    assert MsgpackCodec().decode(pack(example)) == example


@pytest.mark.parametrize("example", examples.TO_DEVICE, ids=ids)
def test_what_a_server_sends_is_read_back(example: wire.Wire) -> None:
    codec = MsgpackCodec(client=True)
    assert codec.decode(MsgpackCodec().encode(example)) == example


@pytest.mark.parametrize("example", examples.ALL, ids=ids)
def test_json_says_the_same_as_messagepack(example: wire.Wire) -> None:
    client = example in examples.TO_DEVICE
    text = as_json(example).encode()
    message = JsonCodec(client=client).decode(text)
    if isinstance(message, wire.Submit | wire.Message | wire.Copy):
        body = JsonCodec().check_body(bytes(message.body), 10_000)
        message = msgspec.structs.replace(message, body=msgspec.Raw(body))
    assert message == example


def test_a_server_writes_stored_bodies_as_json() -> None:
    example = next(e for e in examples.TO_DEVICE if isinstance(e, wire.Message))
    assert JsonCodec().encode(example).decode() == as_json(example)


def test_a_copy_without_body_is_null_in_both() -> None:
    item = a.Item(1, 2, 1, "bob", 3, 1, 4, 0, "", None)
    copy = answer_to_wire(item)
    assert copy is not None
    assert MsgpackCodec().encode(copy)[-1:] == b"\xc0"
    assert JsonCodec().encode(copy).endswith(b",null]")


def test_fields_that_were_added_later_are_ignored_and_missing_ones_take_their_default() -> None:
    longer = pack([3, 42, "new", {"field": 1}])
    assert MsgpackCodec().decode(longer) == wire.Confirm(42)
    shorter = pack([1, 1, "alice", 1, "key"])
    assert MsgpackCodec().decode(shorter) == wire.Hello(1, "alice", 1, "key")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        pack(7),
        pack([]),
        pack([3]),
        pack([3, "text"]),
        pack([3, -1]),
        pack([3, 2**53]),
        pack([3, 2**64 - 1]),
        pack([99, 1]),
        pack([3, 1]) + b"\x00",
        pack({"3": 1}),
        b"\x92\x03",
        b"\x93\x05\xa2\xff\xfe\xc3",
        pack([1, 1, "a", 1, "k" * 5_000]),
        b"\x91" * 5_000,
        b"\x93\x02\x01" + b"\x91" * 5_000,
    ],
)
def test_what_is_no_message_is_a_bad_message(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        MsgpackCodec().decode(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[3", b"[3,NaN]", b"[3,1e400]", b'[3,"x"]', b"[" * 5_000, b"[99]", b"\xff\xfe", b"{}"],
)
def test_what_is_no_json_message_is_a_bad_message(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        JsonCodec().decode(payload)


# ---- bodies -----------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return {"text": "deep", "more": value}


@pytest.mark.parametrize(
    "body",
    [
        {"text": "hi"},
        {},
        {"text": "hi", "unknown": {"a": [1, 2.5, None, True, "ü"]}},
        {"reply": ["alice", 1, 2]},
        nested(NESTING_MAX - 2),
    ],
)
def test_a_body_passes_untouched_and_survives_json(body: Any) -> None:
    raw = pack(body)
    assert check_body(raw, LIMIT) == raw
    as_text = body_to_json(raw)
    assert msgspec.msgpack.decode(body_from_json(as_text, LIMIT)) == body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        pack("text"),
        pack(None),
        pack({"text": 7}),
        pack({"text": "a", "x": b"bytes"}),
        pack({"text": "a", "x": math.nan}),
        pack({"text": "a", "x": math.inf}),
        pack({"text": "a", "x": 2**53}),
        pack({"text": "a", 5: "number as key"}),
        pack({"text": "a", "x": msgspec.msgpack.Ext(5, b"x")}),
        pack({"reply": ["alice"]}),
        pack(nested(NESTING_MAX)),
        pack(nested(5)) + b"\x00",
        b"\x82\xa4text\xa1a\xa1x" + b"\x91" * 900,
        b"\x81\xa4text\xa2\xff\xfe",
    ],
)
def test_a_body_that_json_cannot_say_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        check_body(raw, LIMIT)


@pytest.mark.parametrize(
    "raw",
    [b"", b"7", b'{"text":7}', b'{"x":1e999}', b'{"x":"\\ud800"}', b'{"x":' + b"[" * 900, b"{"],
)
def test_a_json_body_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        body_from_json(raw, LIMIT)


def test_a_body_above_the_limit_is_refused_by_its_own_name() -> None:
    raw = pack({"text": "x" * LIMIT})
    with pytest.raises(BodyTooBig):
        check_body(raw, LIMIT)
    with pytest.raises(BodyTooBig):
        body_from_json(b'{"text":"' + b"x" * LIMIT + b'"}', LIMIT)


# ---- answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4])
def test_every_kind_of_item_has_a_message(kind: int) -> None:
    item = a.Item(1, 2, kind, "bob", 3, 1, 4, 5, "expired", pack({"text": "x"}))
    message = answer_to_wire(item)
    assert isinstance(message, wire.Item)
    assert (message.prev, message.q) == (1, 2)


def test_what_a_session_must_act_on_itself_is_not_for_devices() -> None:
    assert answer_to_wire(a.UnknownSession()) is None
    assert answer_to_wire(a.Registered("alice", 1, True)) is None
