"""Frames that are none, and messages of the wrong shape: named, counted, harmless."""

from pathlib import Path

import msgspec
import pytest

from bench import accounts
from bench.raw import frame
from tests.edge.house import BODY, hello_of, house
from whimbrel.protocol import wire

pack = msgspec.msgpack.encode
BOB = accounts.address_of(3)
every_way = pytest.mark.usefixtures("way")


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


NONSENSE = {
    "empty-frame": (framed(b""), "bad-frame"),
    "too-big": ((1 << 20).to_bytes(4, "big"), "frame-too-big"),
    "huge": (b"\xff\xff\xff\xff", "frame-too-big"),
    "random": (framed(bytes(range(200, 256)) * 3), "bad-message"),
    "text": (framed(b"GET / HTTP/1.1"), "bad-message"),
    "a-number": (framed(pack(7)), "bad-message"),
    "a-map": (framed(pack({"c": 1})), "bad-message"),
    "nil": (framed(pack(None)), "bad-message"),
    "empty-array": (framed(pack([])), "bad-message"),
    "unknown-type": (framed(pack([99, 1])), "bad-message"),
    "type-of-the-server": (framed(pack([33, 1, 1])), "bad-message"),
    "type-as-text": (framed(pack(["1", 1])), "bad-message"),
    "negative-type": (framed(pack([-1])), "bad-message"),
    "missing-fields": (framed(pack([2])), "bad-message"),
    "wrong-field": (framed(pack([3, "one"])), "bad-message"),
    "negative-number": (framed(pack([3, -1])), "bad-message"),
    "number-too-high": (framed(pack([3, 2**53])), "bad-message"),
    "float": (framed(pack([3, 1.5])), "bad-message"),
    "invalid-utf8": (framed(b"\x93\x05\xa2\xff\xfe\xc3"), "bad-message"),
    "deep": (framed(b"\x91" * 900), "bad-message"),
    "deep-map": (framed(b"\x81\xa1x" * 300), "bad-message"),
    "array-of-4-billion": (framed(b"\xdd\xff\xff\xff\xff"), "bad-message"),
    "string-of-4-billion": (framed(b"\x92\x05\xdb\xff\xff\xff\xff"), "bad-message"),
    "something-behind": (framed(pack([3, 1]) + b"\x00"), "bad-message"),
    "long-address": (framed(pack([5, "a" * 300, True])), "bad-message"),
}


@pytest.mark.parametrize(("data", "code"), NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_after_the_login_ends_the_session_by_name(
    tmp_path: Path, data: bytes, code: str
) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.raw(data)
        assert await guest.error() == code
        await home.counted(f"refused:{code}")
        await home.gone()


@pytest.mark.parametrize(("data", "code"), NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_before_the_login_ends_the_session_by_name(
    tmp_path: Path, data: bytes, code: str
) -> None:
    async with house(tmp_path) as home:
        stranger = await home.stranger()
        stranger.raw(data)
        assert await stranger.error() in (code, "hello-expected")
        await home.gone()


async def test_a_frame_above_the_bound_for_strangers_is_refused_before_the_login_only(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        stranger = await home.stranger()
        stranger.raw((1_025).to_bytes(4, "big"))
        assert await stranger.error() == "frame-too-big"
        guest = await home.guest(2)
        body = msgspec.Raw(pack(wire.Content(text="x" * 40_000)))
        guest.send(wire.Submit(1, BOB, body))
        assert (await guest.next_of(wire.Stored)).c == 1


async def test_a_frame_cut_off_by_the_end_is_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.raw(frame(wire.Submit(1, BOB, BODY))[:-3])
        guest.close()
        await home.gone()
        again = await home.guest(2)
        again.send(wire.Submit(1, BOB, BODY))
        assert (await again.next_of(wire.Stored)).c == 1


async def test_a_frame_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        stranger = await home.stranger(tls=True)
        for byte in frame(hello_of(2)):
            stranger.raw(bytes([byte]))
            await stranger.writer.drain()
        assert isinstance(await stranger.next(), wire.Welcome)


async def test_fields_that_nobody_knows_yet_are_ignored(tmp_path: Path) -> None:
    """A newer client may say more than this server understands."""
    async with house(tmp_path) as home:
        stranger = await home.stranger()
        hello = msgspec.msgpack.decode(pack(hello_of(2, agent="test")))
        stranger.raw(framed(pack([*hello, "new", {"a": 1}])))
        assert isinstance(await stranger.next(), wire.Welcome)


# ---- submits ----------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize(
    ("to", "body", "code"),
    [
        (BOB, pack({"text": "x" * 50_000}), "body-too-big"),
        ("+4915199999999", bytes(BODY), "unknown-recipient"),
        ("nobody at all", bytes(BODY), "unknown-recipient"),
        ("", bytes(BODY), "unknown-recipient"),
        ("\x00", bytes(BODY), "unknown-recipient"),
    ],
    ids=["body-too-big", "unknown", "no-address", "empty", "nul"],
)
async def test_a_submit_that_is_refused_uses_its_number_up_and_the_next_one_goes_on(
    tmp_path: Path, to: str, body: bytes, code: str
) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.send(wire.Submit(1, to, msgspec.Raw(body)), wire.Submit(2, BOB, BODY))
        refused = await guest.next_of(wire.Refused)
        assert (refused.c, refused.code) == (1, code)
        assert (await guest.next_of(wire.Stored)).c == 2


@pytest.mark.parametrize(
    "body",
    [
        pack(7),
        pack([1]),
        pack({"text": 5}),
        pack({"reply": "x"}),
        b"\xa5ab",
        b"\x81\xa4text\xa1\xff",
    ],
    ids=["number", "array", "text-is-a-number", "reply-is-text", "cut-off", "invalid-utf8"],
)
async def test_a_body_of_the_wrong_shape_ends_the_session(tmp_path: Path, body: bytes) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        data = b"\x94\x02\x01" + pack(BOB) + body
        guest.raw(framed(data))
        assert await guest.error() == "bad-message"
        await home.gone()


@every_way
async def test_what_a_newer_client_puts_into_a_body_passes_through_untouched(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        body = msgspec.Raw(pack({"text": "hi", "sparkle": [1, {"deep": "yes"}]}))
        alice.send(wire.Submit(1, BOB, body))
        message = await bob.next_of(wire.Message)
        assert msgspec.msgpack.decode(message.body) == {
            "text": "hi",
            "sparkle": [1, {"deep": "yes"}],
        }


@every_way
async def test_a_submit_sent_again_gets_the_same_answer_and_arrives_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        alice.send(wire.Submit(1, BOB, BODY))
        first = await alice.next_of(wire.Stored)
        alice.close()
        alice = await home.guest(2)
        alice.send(wire.Submit(1, BOB, BODY), wire.Submit(2, BOB, BODY))
        again, second = await alice.next_of(wire.Stored), await alice.next_of(wire.Stored)
        assert (again.c, again.id) == (1, first.id)
        assert second.c == 2
        ids = [(await bob.next_of(wire.Message)).id for _ in range(2)]
        assert ids == [first.id, second.id]


@every_way
async def test_a_number_used_for_another_message_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        other = msgspec.Raw(pack(wire.Content(text="something else")))
        guest.send(wire.Submit(1, BOB, BODY))
        await guest.next_of(wire.Stored)
        guest.send(wire.Submit(1, BOB, other))
        refused = await guest.next_of(wire.Refused)
        assert (refused.c, refused.code) == (1, "number-used")


@every_way
async def test_a_gap_in_the_numbers_is_refused_and_says_which_one_comes_next(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.send(wire.Submit(5, BOB, BODY))
        refused = await guest.next_of(wire.Refused)
        assert (refused.c, refused.code, refused.expected) == (5, "gap", 1)


# ---- confirms ---------------------------------------------------------------------------


@every_way
async def test_to_confirm_what_was_never_sent_ends_the_session(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.send(wire.Confirm(1_000_000))
        assert await guest.error() == "bad-confirm"
        await home.gone()


@every_way
async def test_a_confirm_that_goes_back_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        alice, bob = await home.guest(2), await home.guest(3)
        alice.send(wire.Submit(1, BOB, BODY))
        message = await bob.next_of(wire.Message)
        bob.send(wire.Confirm(message.q), wire.Confirm(0), wire.Ping(1))
        await bob.next_of(wire.Pong)
        assert (await alice.next_of(wire.Receipt)).delivered == message.id
        bob.close()
        back = await home.guest(3)
        back.send(wire.Ping(2))
        assert isinstance(await back.next_of(wire.EndOfQueue), wire.EndOfQueue)


@every_way
async def test_a_flood_is_slowed_down_and_still_served_in_order(tmp_path: Path) -> None:
    """Reading stops when the allowance is used up, until time has given some back."""
    async with house(tmp_path, frames_per_s=50) as home:
        guest = await home.guest(2)
        guest.send(*(wire.Ping(n) for n in range(150)))
        assert [pong.n for pong in await guest.answers(wire.Pong, 150)] == list(range(150))
        session = home.session_of(2)
        assert session.allowance_frames < 0
        guest.send(*(wire.Ping(n) for n in range(150, 160)))
        assert [pong.n for pong in await guest.answers(wire.Pong, 10)] == list(range(150, 160))
        assert session.allowance_frames >= 0 - 10


@every_way
async def test_a_flood_of_bytes_is_slowed_down_too(tmp_path: Path) -> None:
    async with house(tmp_path, bytes_per_s=1_000) as home:
        guest = await home.guest(2)
        body = msgspec.Raw(pack(wire.Content(text="x" * 5_000)))
        guest.send(wire.Submit(1, BOB, body))
        assert (await guest.next_of(wire.Stored)).c == 1
        session = home.session_of(2)
        assert session.allowance_bytes < 0
        guest.send(wire.Ping(1))
        assert (await guest.next_of(wire.Pong)).n == 1
        assert session.allowance_bytes >= 0 - 100
