"""WebSocket frames: every violation has its close code, every split gives the same messages, and
an independent implementation agrees about what is right."""

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.edge.browser import BINARY, CLOSE, PING, PONG, TEXT, frame_of
from whimbrel.domain.errors import BadFrame, FrameTooBig, Refused
from whimbrel.protocol.websocket import (
    NO_CODE,
    NOT_TEXT,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
    WebSocketDecoder,
    close_frame,
    text_frame,
    unmask,
)

LIMIT = 1_000
MASK = b"\x12\x34\x56\x78"
CONTINUATION = 0


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    return frame_of(payload, opcode, fin=fin, mask=MASK)


def read(data: bytes, limit: int = LIMIT) -> tuple[list[bytes], WebSocketDecoder]:
    decoder = WebSocketDecoder(limit)
    return decoder.feed(data), decoder


Heard = tuple[list[bytes], list[bytes], int, int, bool, type[Refused] | None]


def heard(pieces: list[bytes], limit: int = LIMIT) -> Heard:
    """All that a caller can see of it."""
    decoder = WebSocketDecoder(limit)
    messages = [message for piece in pieces for message in decoder.feed(piece)]
    fault = type(decoder.fault) if decoder.fault is not None else None
    return (
        messages,
        decoder.answers,
        decoder.frames,
        decoder.close_code,
        decoder.closed,
        fault,
    )


# ---- what is right ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_message_of_any_size_comes_out_as_it_went_in(size: int) -> None:
    payload = bytes(33 + n % 90 for n in range(size))
    assert read(frame(payload), limit=70_000)[0] == [payload]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 125, 4_097])
def test_unmasking_is_what_the_standard_says(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert unmask(data, MASK) == bytes(b ^ MASK[n % 4] for n, b in enumerate(data))
    assert unmask(unmask(data, MASK), MASK) == data


SCRIPT = (
    frame(b"[1]")
    + frame("[\u20ac".encode()[:2], fin=False)
    + frame(b"ping", PING)
    + frame("[\u20ac".encode()[2:], CONTINUATION, fin=False)
    + frame(b"", CONTINUATION, fin=False)
    + frame(b"", PONG)
    + frame(b"]", CONTINUATION)
    + frame(b"x" * 300)
    + frame(b"\x03\xe8bye", CLOSE)
)
EXPECTED: Heard = (
    [b"[1]", "[\u20ac]".encode(), b"x" * 300],
    [b"\x8a\x04ping"],
    9,
    1000,
    True,
    None,
)


def test_fragments_with_control_frames_between_them_are_one_message() -> None:
    assert heard([SCRIPT]) == EXPECTED


def test_every_split_gives_the_same() -> None:
    for at in range(len(SCRIPT) + 1):
        assert heard([SCRIPT[:at], SCRIPT[at:]]) == EXPECTED, at
    assert heard([SCRIPT[at : at + 1] for at in range(len(SCRIPT))]) == EXPECTED


def test_a_message_split_into_fragments_anywhere_is_the_same_message() -> None:
    text = '[31,"\u00e4\u20ac\U0001f600"]'.encode()
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            parts = (
                frame(text[:first], fin=False)
                + frame(text[first:second], CONTINUATION, fin=False)
                + frame(text[second:], CONTINUATION)
            )
            assert read(parts)[0] == [text], (first, second)


def test_nothing_behind_a_close_is_read() -> None:
    messages, decoder = read(frame(b"", CLOSE) + frame(b"[1]"))
    assert (messages, decoder.closed, decoder.close_code) == ([], True, NO_CODE)
    assert decoder.feed(frame(b"[2]")) == []
    assert decoder.pending == 0


# ---- what is wrong ----------------------------------------------------------------------

WRONG: dict[str, tuple[bytes, int]] = {
    "not masked": (b"\x81\x02[]", PROTOCOL_ERROR),
    "an unmasked ping": (b"\x89\x00", PROTOCOL_ERROR),
    "reserved bit 1 (compression)": (b"\xc1\x82" + frame(b"[]")[2:], PROTOCOL_ERROR),
    "reserved bit 2": (b"\xa1\x82" + frame(b"[]")[2:], PROTOCOL_ERROR),
    "reserved bit 3": (b"\x91\x82" + frame(b"[]")[2:], PROTOCOL_ERROR),
    **{
        f"opcode {n}": (frame(b"x", n), PROTOCOL_ERROR) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "binary": (frame(b"\x91\x01", BINARY), UNSUPPORTED),
    "a binary fragment": (frame(b"\x91\x01", BINARY, fin=False), UNSUPPORTED),
    "a ping in fragments": (frame(b"x", PING, fin=False), PROTOCOL_ERROR),
    "a close in fragments": (frame(b"", CLOSE, fin=False), PROTOCOL_ERROR),
    "a ping of 126 bytes": (frame(b"x" * 126, PING), PROTOCOL_ERROR),
    "a continuation of nothing": (frame(b"x", CONTINUATION), PROTOCOL_ERROR),
    "a text within a text": (frame(b"[", fin=False) + frame(b"]"), PROTOCOL_ERROR),
    "two bytes of length for 125": (b"\x81\xfe\x00\x7d" + MASK + b"x" * 125, PROTOCOL_ERROR),
    "eight bytes of length for 65535": (b"\x81\xff" + bytes(6) + b"\xff\xff", PROTOCOL_ERROR),
    "a length of 2**63": (b"\x81\xff\x80" + bytes(7), PROTOCOL_ERROR),
    "an empty text": (frame(b""), PROTOCOL_ERROR),
    "an empty text in fragments": (
        frame(b"", fin=False) + frame(b"", CONTINUATION),
        PROTOCOL_ERROR,
    ),
    "not UTF-8": (frame(b"[\xff]"), NOT_TEXT),
    "half a character": (frame(b"[\xe2\x82"), NOT_TEXT),
    "a surrogate": (frame(b"\xed\xa0\x80"), NOT_TEXT),
    "an overlong form": (frame(b"\xc0\xaf"), NOT_TEXT),
    "not UTF-8 over two fragments": (
        frame(b"\xe2", fin=False) + frame(b"(\xa1", CONTINUATION),
        NOT_TEXT,
    ),
    "too big": (frame(b"x" * (LIMIT + 1)), TOO_BIG),
    "too big, by its header alone": (b"\x81\xfe" + (LIMIT + 1).to_bytes(2, "big"), TOO_BIG),
    "huge, by its header alone": (b"\x81\xff" + (1 << 62).to_bytes(8, "big"), TOO_BIG),
    "too big in fragments": (
        frame(b"x" * LIMIT, fin=False) + frame(b"x", CONTINUATION),
        TOO_BIG,
    ),
    "a close of one byte": (frame(b"\x03", CLOSE), PROTOCOL_ERROR),
    "a close with a reason that is not UTF-8": (frame(b"\x03\xe8\xff", CLOSE), NOT_TEXT),
    **{
        f"the close code {code}": (frame(code.to_bytes(2, "big"), CLOSE), PROTOCOL_ERROR)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_a_violation_ends_it_with_its_own_close_code(name: str) -> None:
    data, code = WRONG[name]
    messages, decoder = read(frame(b"[1]") + data + frame(b"[2]"))
    assert messages == [b"[1]"], "what came before it counts, what comes after it does not"
    assert decoder.close_code == code
    assert isinstance(decoder.fault, FrameTooBig if code == TOO_BIG else BadFrame)
    assert decoder.pending == 0


@pytest.mark.parametrize("name", WRONG)
def test_a_violation_is_the_same_in_every_split(name: str) -> None:
    data = frame(b"[1]") + WRONG[name][0]
    whole = heard([data])
    for at in range(len(data)):
        assert heard([data[:at], data[at:]]) == whole, at


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_a_good_close_code_is_heard(code: int) -> None:
    _, decoder = read(frame(code.to_bytes(2, "big") + b"bye", CLOSE))
    assert (decoder.closed, decoder.close_code, decoder.fault) == (True, code, None)


def test_what_is_too_big_is_never_kept() -> None:
    decoder = WebSocketDecoder(LIMIT)
    most = 0
    for _ in range(LIMIT + 100):
        decoder.feed(frame(b"x", TEXT if decoder.frames == 0 else CONTINUATION, fin=False))
        most = max(most, decoder.pending)
    assert most <= LIMIT
    assert decoder.close_code == TOO_BIG


def test_a_raised_limit_holds_from_the_next_frame_on() -> None:
    decoder = WebSocketDecoder(10)
    assert decoder.feed(frame(b"x" * 10)) == [b"x" * 10]
    decoder.limit = 100
    assert decoder.feed(frame(b"x" * 100)) == [b"x" * 100]


# ---- what the server says ---------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 300_000])
def test_what_the_server_sends_is_read_by_another_implementation(size: int) -> None:
    payload = b"x" * size
    assert client_reads(text_frame(payload)) == (Opcode.TEXT, payload)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013])
def test_the_close_frames_are_read_by_another_implementation(code: int) -> None:
    assert client_reads(close_frame(code)) == (Opcode.CLOSE, code.to_bytes(2, "big"))


def test_a_close_without_a_code_is_empty() -> None:
    assert client_reads(close_frame(NO_CODE)) == (Opcode.CLOSE, b"")


def client_reads(data: bytes) -> tuple[Opcode, bytes]:
    [got] = by_library(data, masked=False)
    assert isinstance(got, Frame)
    assert got.fin
    return got.opcode, bytes(got.data)


# ---- beside another implementation ------------------------------------------------------


def by_library(data: bytes, *, masked: bool = True) -> list[Frame]:

    peer: ServerProtocol | ClientProtocol
    if masked:
        peer = ServerProtocol(state=OPEN, max_size=LIMIT)
    else:
        peer = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    peer.receive_data(data)
    return [event for event in peer.events_received() if isinstance(event, Frame)]


Piece = tuple[int, bytes, bool]
PAYLOADS = st.one_of(
    st.binary(max_size=12),
    st.text(min_size=1, max_size=20).map(str.encode),
    st.integers(100, 400).map(lambda size: b"x" * size),
)
FRAMES = st.tuples(st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10, 3, 11]), PAYLOADS, st.booleans())


def told_by_library(data: bytes) -> tuple[list[bytes], int]:
    """Whole texts, and the close code that it answers (0: none)."""
    peer = ServerProtocol(state=OPEN, max_size=LIMIT)
    peer.receive_data(data)
    texts: list[bytes] = []
    parts: list[bytes] | None = None
    for event in peer.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.TEXT:
            parts = []
        elif event.opcode is not Opcode.CONT:
            continue
        assert parts is not None
        parts.append(bytes(event.data))
        if event.fin:
            texts.append(b"".join(parts))
    return texts, peer.close_sent.code if peer.close_sent is not None else 0


def agree(code: int, answered: int, closed: bool) -> bool:
    """The same close code; but for a close frame there are three readings of the standard."""
    if code == answered:
        return True
    if closed:  # the library answers an empty close with 1000, and one within fragments with 1002
        return answered in (NO_CODE, 1000, PROTOCOL_ERROR)
    return {code, answered} == {PROTOCOL_ERROR, NOT_TEXT}  # wrong in two ways at once


def is_ours(pieces: list[Piece]) -> bool:
    """Binary messages are for the library's user to judge."""
    return all(opcode != BINARY for opcode, _, _ in pieces)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES, max_size=8), st.randoms(use_true_random=False))
def test_another_implementation_reads_the_same_messages(
    pieces: list[Piece], rng: random.Random
) -> None:
    if not is_ours(pieces):
        return
    data = b"".join(frame(payload, opcode, fin=fin) for opcode, payload, fin in pieces)
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(3))
    edges = [0, *cuts, len(data)]
    messages, _, _, code, closed, fault = heard([data[a:b] for a, b in itertools.pairwise(edges)])
    texts, answered = told_by_library(data)
    wrong = [n for n, text in enumerate(texts) if not text or not _is_text(text)]
    if wrong:  # the library does not look into data frames
        assert messages == texts[: wrong[0]]
        assert code == (NOT_TEXT if texts[wrong[0]] else PROTOCOL_ERROR)
        return
    assert messages == texts
    assert agree(code, answered, closed), (code, answered)
    assert (fault is not None) == (code != 0 and not closed)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_in_any_split_give_the_same_and_never_an_exception(pieces: list[bytes]) -> None:
    assert heard(pieces) == heard([b"".join(pieces)])


ATTACKS: dict[str, Callable[[], bytes]] = {
    "empty fragments": lambda: (
        frame(b"[", fin=False) + frame(b"", CONTINUATION, fin=False) * 100_000
    ),
    "pings": lambda: frame(b"", PING) * 100_000,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_frames_without_a_message_keep_nothing_but_are_counted(name: str) -> None:
    _, decoder = read(ATTACKS[name]())
    assert decoder.pending <= 1
    assert decoder.frames >= 100_000
