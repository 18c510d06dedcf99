"""Pictures lose their place and their notes, never a pixel; broken ones are refused."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.services.media import samples
from tests.services.media.world import MediaWorld, world_in
from whimbrel.domain.errors import WrongType
from whimbrel.services.media.clean import CLEANERS, Broken, clean

FORMATS = ("JPEG", "PNG", "WEBP")


def cleaned(data: bytes, format: str) -> bytes:
    into = io.BytesIO()
    clean(data, format, into)
    return into.getvalue()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_only_the_orientation_is_left_of_what_the_camera_wrote(
    format: str, orientation: int
) -> None:
    data = samples.picture(format, orientation=orientation)
    assert samples.has_place(data)
    assert samples.CAMERA.encode() in data
    clear = cleaned(data, format)
    assert not samples.has_place(clear)
    assert samples.CAMERA.encode() not in clear
    assert samples.pixels(clear) == samples.pixels(data)
    with Image.open(io.BytesIO(clear)) as image:
        assert image.getexif().get(0x0112, 1) == orientation
        assert dict(image.getexif()).keys() <= {0x0112}
    assert cleaned(clear, format) == clear


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_without_notes_stays_as_it_is(format: str) -> None:
    data = samples.picture(format, exif=False)
    assert cleaned(data, format) == data


def test_colour_profiles_progressive_scans_and_transparency_stay() -> None:
    image = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    into = io.BytesIO()
    image.save(into, "JPEG", progressive=True, icc_profile=b"P" * 70_000)
    clear = cleaned(into.getvalue(), "JPEG")
    with Image.open(io.BytesIO(clear)) as found:
        assert found.info["icc_profile"] == b"P" * 70_000
        assert found.info["progressive"]
    assert samples.pixels(clear) == samples.pixels(into.getvalue())
    for format in ("PNG", "WEBP"):
        data = samples.picture(format, mode="RGBA")
        assert samples.pixels(cleaned(data, format)) == samples.pixels(data)


def test_animations_keep_their_frames() -> None:
    frames = [Image.new("RGB", (50, 50), colour) for colour in ("red", "green", "blue")]
    for format in ("PNG", "WEBP"):
        into = io.BytesIO()
        frames[0].save(into, format, save_all=True, append_images=frames[1:], xmp=b"<x>place</x>")
        clear = cleaned(into.getvalue(), format)
        assert b"place" not in clear
        with Image.open(io.BytesIO(clear)) as found:
            assert getattr(found, "n_frames", 1) == 3


def test_what_hangs_behind_the_end_is_gone() -> None:
    """Phones hang a second picture or a film there, with a place of its own."""
    for format in FORMATS:
        data = samples.picture(format, exif=False)
        assert cleaned(data + samples.picture("JPEG"), format) == data


def test_text_and_time_of_a_png_are_gone() -> None:
    data = samples.picture("PNG", exif=False)
    notes = b""
    for name, body in ((b"tEXt", b"Comment\0secret"), (b"tIME", bytes(7)), (b"prVt", b"secret")):
        notes += struct.pack(">I", len(body)) + name + body
        notes += struct.pack(">I", zlib.crc32(name + body))
    assert cleaned(data[:33] + notes + data[33:], "PNG") == data


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_cut_off_anywhere_is_broken_or_clean_but_never_something_else(
    format: str,
) -> None:
    data = samples.picture(format, size=(40, 30))
    for end in range(3, len(data), 7):
        try:
            assert samples.CAMERA.encode() not in cleaned(data[:end], format)
        except Broken:
            continue


@given(st.sampled_from(FORMATS), st.data())
def test_bytes_changed_at_random_raise_nothing_but_broken(format: str, draw: st.DataObject) -> None:
    data = bytearray(samples.picture(format, size=(40, 30)))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(12, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        clean(bytes(data), format, io.BytesIO())
    except Broken:
        return


def test_every_format_that_can_be_cleaned_is_tested() -> None:
    assert set(CLEANERS) == set(FORMATS)


async def test_a_damaged_photo_is_refused_because_its_place_could_not_be_removed(
    tmp_path: Path,
) -> None:
    async with world_in(tmp_path) as world:
        photo = samples.picture("JPEG")[:1_000]
        with pytest.raises(WrongType):
            await world.upload(photo, "a.jpg", type="image/jpeg")
        assert world.blobs() == []


async def test_a_photo_sent_as_some_file_is_cleaned_too(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        _, id, facts = await world.upload(samples.picture("JPEG"), "a.dat")
        assert facts.type == "image/jpeg"
        assert not samples.has_place(await world.download(id, facts))


async def test_measures_are_those_that_people_see(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        await check_measures(world, tmp_path)


async def check_measures(world: MediaWorld, folder: Path) -> None:
    photo = samples.picture("JPEG", (800, 600), orientation=6)
    _, _, facts = await world.upload(photo, type="image/jpeg")
    assert (facts.width, facts.height, facts.duration) == (600, 800, 0)
    _, _, facts = await world.upload(samples.video(folder), "a.mp4", type="video/mp4")
    assert (facts.width, facts.height, facts.duration) == (160, 120, 1.2)
    assert facts.thumbnail
    assert len(facts.blur) == 28
    _, _, facts = await world.upload(samples.song(3), "a.wav", type="audio/wav")
    assert (facts.type, facts.duration, facts.thumbnail) == ("audio/wav", 3.0, "")
