"""Any bytes, any split: the same events or one named refusal, never another exception."""

import itertools
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.domain.errors import Refused
from whimbrel.protocol import examples, wire
from whimbrel.protocol.body import body_from_json, body_to_json, check_body
from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.protocol.native import JsonCodec, MsgpackCodec

LIMIT = 4_096
VALID = [msgspec.msgpack.encode(example) for example in examples.FROM_DEVICE]

json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def events(data: bytes, cuts: list[int]) -> list[Any]:
    """What a decoder makes of `data`, cut at these places; a refusal ends it."""
    decoder = FrameDecoder(LIMIT)
    seen: list[Any] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, stop in itertools.pairwise(edges):
            seen += decoder.feed(data[start:stop])
    except Refused as error:
        seen.append(error.code)
    return seen


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=5))
def test_frames_do_not_depend_on_the_split(data: bytes, cuts: list[int]) -> None:
    whole = events(data, [])
    parts = events(data, cuts)
    # A refusal may come before frames of the same read are given out: it ends everything.
    assert parts == whole or (whole[-1:] == parts[-1:] and isinstance(parts[-1], str))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.lists(st.integers(0, 999)))
def test_good_frames_always_come_whole(payloads: list[bytes], cuts: list[int]) -> None:
    assert events(b"".join(map(encode_frame, payloads)), cuts) == payloads


@settings(max_examples=800, deadline=None)
@given(st.binary(max_size=120))
def test_random_bytes_are_a_message_or_a_named_refusal(data: bytes) -> None:
    for codec in (MsgpackCodec(), JsonCodec(), MsgpackCodec(True), JsonCodec(True)):
        try:
            message = codec.decode(data)
        except Refused as error:
            assert error.code == "bad-message"
        else:
            assert isinstance(message, wire.Wire)


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255))))
def test_damaged_messages_are_a_message_or_a_named_refusal(
    data: bytes, damage: list[tuple[int, int]]
) -> None:
    damaged = bytearray(data)
    for place, value in damage:
        damaged[place % len(damaged)] = value
    try:
        message = MsgpackCodec().decode(bytes(damaged))
        if isinstance(message, wire.Submit):
            check_body(bytes(message.body), LIMIT)
    except Refused as error:
        assert error.code in ("bad-message", "body-too-big")
    else:
        assert isinstance(message, wire.Wire)


@settings(max_examples=800, deadline=None)
@given(st.binary(max_size=200) | json_like.map(lambda v: msgspec.msgpack.encode({"x": v})))
def test_a_body_that_is_taken_can_always_be_written_as_json_and_back(raw: bytes) -> None:
    try:
        taken = check_body(raw, LIMIT)
    except Refused as error:
        assert error.code in ("bad-message", "body-too-big")
        return
    text = body_to_json(taken)
    again = body_from_json(text, 10 * LIMIT)
    assert msgspec.json.decode(body_to_json(again)) == msgspec.json.decode(text)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | json_like.map(lambda v: msgspec.json.encode({"x": v})))
def test_a_json_body_is_taken_or_refused_by_name(raw: bytes) -> None:
    try:
        taken = body_from_json(raw, LIMIT)
    except Refused as error:
        assert error.code in ("bad-message", "body-too-big")
        return
    assert check_body(taken, LIMIT) == taken
