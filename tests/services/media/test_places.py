"""Films lose the place where they were made, and play as before."""

import io
import struct
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.media import samples
from tests.services.media.world import world_in
from whimbrel.services.media.places import places_in, take_out

PLACE = b"+52.5163+013.3777/"


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


def film(folder: Path, extra: bytes) -> bytes:
    """A film with one box more at the end of "moov" (which stands behind the pictures)."""
    data = samples.video(folder)
    at = data.rindex(b"moov") - 4
    (size,) = struct.unpack_from(">I", data, at)
    assert at + size == len(data)
    return data[:at] + struct.pack(">I", size + len(extra)) + data[at + 4 :] + extra


HANDLER = box(b"hdlr", bytes(8) + b"mdta" + bytes(12))
KEY = b"com.apple.quicktime.location.ISO6709"
KEYS = box(b"keys", struct.pack(">II", 0, 2) + box(b"mdta", b"com.x.make") + box(b"mdta", KEY))
VALUES = box(
    b"ilst",
    box(b"\0\0\0\1", box(b"data", bytes(8) + b"Maker"))
    + box(b"\0\0\0\2", box(b"data", bytes(8) + PLACE)),
)
WAYS = {
    "android": box(b"udta", box(b"\xa9xyz", struct.pack(">HH", 18, 0x15C7) + PLACE)),
    "3gpp": box(b"udta", box(b"loci", bytes(6) + PLACE + bytes(14) + b"earth" + bytes(2))),
    "apple": box(b"meta", HANDLER + KEYS + VALUES),
    "iso meta": box(b"meta", bytes(4) + HANDLER + KEYS + VALUES),
    "deep": box(b"trak", box(b"udta", box(b"\xa9xyz", PLACE))),
}


@pytest.mark.parametrize("way", WAYS)
async def test_the_place_is_gone_from_what_can_be_downloaded(tmp_path: Path, way: str) -> None:
    data = film(tmp_path, WAYS[way])
    assert PLACE in data
    async with world_in(tmp_path) as world:
        _, id, facts = await world.upload(data, "a.mp4", type="video/mp4")
        found = await world.download(id, facts)
    assert PLACE not in found
    assert len(found) == len(data)
    assert facts.thumbnail
    assert frames(found) == frames(data)
    assert frames(data) > 0
    assert (b"Maker" in found) is (b"Maker" in data)


async def test_a_film_without_a_place_is_not_copied(tmp_path: Path) -> None:
    data = samples.video(tmp_path)
    async with world_in(tmp_path) as world:
        _, id, facts = await world.upload(data, "a.mp4", type="video/mp4")
        assert await world.download(id, facts) == data


def frames(data: bytes) -> int:
    with av.open(io.BytesIO(data), format="mp4") as container:
        assert isinstance(container, av.container.InputContainer)
        return sum(1 for _ in container.decode(video=0))


@given(st.binary(max_size=400), st.sampled_from(sorted(WAYS)), st.integers(0, 200))
def test_broken_boxes_are_left_alone_in_bounded_time(noise: bytes, way: str, at: int) -> None:
    whole = box(b"moov", WAYS[way])
    data = bytearray(whole[:at] + noise + whole[at:])
    size = len(data)
    with memoryview(data) as view:
        take_out(view, places_in(view))
    assert len(data) == size
