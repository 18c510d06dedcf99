"""Worker processes: bombs are refused before they are decoded, what hangs or dies costs nothing."""

import asyncio
import base64
import io
import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.services.media import samples
from tests.services.media.world import world_in
from whimbrel.domain.media import MediaSettings
from whimbrel.services.media.blur import blurhash
from whimbrel.services.media.jobs import Job
from whimbrel.services.media.kinds import SHOWN, kind_of, served_as
from whimbrel.services.media.workers import Workers


async def look(workers: Workers, file: Path, family: str, format: str, **more: int) -> str:
    limits = {"pixels_max": 50_000_000, "thumbnail_px": 320} | more
    done = await workers.do(Job("look", str(file), family, format, **limits))  # type: ignore[arg-type]
    return "killed" if done is None else done.trouble


async def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    workers = Workers(MediaSettings(workers=1))
    file = tmp_path / "bomb.png"
    file.write_bytes(samples.bomb())
    assert file.stat().st_size < 200_000
    assert await look(workers, file, "picture", "PNG") == "bomb"
    await workers.close()


async def test_a_bomb_that_the_limit_lets_through_meets_the_bounds_of_memory(
    tmp_path: Path,
) -> None:
    bounds = MediaSettings(workers=1, worker_bytes_max=700_000_000)
    workers = Workers(bounds)
    file = tmp_path / "bomb.png"
    file.write_bytes(samples.bomb())
    trouble = await look(workers, file, "picture", "PNG", pixels_max=1 << 40)
    assert trouble in ("memory", "OSError", "killed")
    await workers.close()


async def test_a_bomb_is_sent_all_the_same_without_a_thumbnail(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        data = samples.bomb()
        _, id, facts = await world.upload(data, "a.png", type="image/png")
        assert (facts.thumbnail, facts.blur, facts.width) == ("", "", 0)
        assert await world.download(id, facts) == data


async def test_a_video_with_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    workers = Workers(MediaSettings(workers=1))
    file = tmp_path / "a.mp4"
    file.write_bytes(samples.video(tmp_path))
    assert await look(workers, file, "moving", "mp4", pixels_max=100) == "bomb"
    assert await look(workers, file, "moving", "mp4") == ""
    await workers.close()


async def test_what_hangs_is_killed_and_the_next_job_gets_a_new_worker(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it waits for a writer, for ever
    workers = Workers(MediaSettings(workers=1, worker_s=0.3))
    assert await look(workers, pipe, "picture", "PNG") == "killed"
    assert workers.killed == 1
    file = tmp_path / "a.png"
    file.write_bytes(samples.picture("PNG"))
    roomy = Workers(MediaSettings(workers=1))
    assert await look(roomy, file, "picture", "PNG") == ""
    for each in (workers, roomy):
        await each.close()


async def test_a_worker_that_dies_in_the_middle_is_replaced(tmp_path: Path) -> None:
    workers = Workers(MediaSettings(workers=1))
    file = tmp_path / "a.png"
    file.write_bytes(samples.picture("PNG"))
    assert await look(workers, file, "picture", "PNG") == ""
    (process,) = workers._all
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await look(workers, file, "picture", "PNG") == "killed"
    assert await look(workers, file, "picture", "PNG") == ""
    await workers.close()


async def test_a_worker_ends_with_its_server(tmp_path: Path) -> None:
    """No orphan: its input ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "whimbrel.services.media.worker", "1000000000",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"ready\n"
    process.stdin.close()
    async with asyncio.timeout(20):
        assert await process.wait() == 0


async def test_noise_that_begins_like_something_harms_nobody(tmp_path: Path) -> None:
    workers = Workers(MediaSettings(workers=1))
    noise = os.urandom(2_000)
    starts = {
        b"\xff\xd8\xff": ("picture", "JPEG"),
        b"GIF89a": ("picture", "GIF"),
        b"\0\0\0 ftypisom": ("moving", "mp4"),
        b"\x1a\x45\xdf\xa3": ("moving", "matroska"),
        b"OggS": ("moving", "ogg"),
        b"RIFF\0\0\0\0WAVE": ("moving", "wav"),
    }
    for start, (family, format) in starts.items():
        file = tmp_path / "noise"
        file.write_bytes(start + noise)
        assert await look(workers, file, family, format) not in ("killed", "memory")
    assert workers.killed == 0
    await workers.close()


async def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    video = tmp_path / "secret.mp4"
    video.write_bytes(samples.video(tmp_path))
    playlist = tmp_path / "list"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{video}\n")
    workers = Workers(MediaSettings(workers=1))
    for format in ("mp4", "matroska", "mp3", "wav"):
        trouble = await look(workers, playlist, "moving", format)
        done = await workers.do(Job("look", str(playlist), "moving", format, pixels_max=1 << 30))
        assert trouble or (done is not None and not done.seen.width)
    await workers.close()
    assert kind_of(playlist.read_bytes()) is None


async def test_thumbnails_fit_also_of_noise(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        noise = Image.frombytes("RGB", (700, 500), os.urandom(700 * 500 * 3))
        into = io.BytesIO()
        noise.save(into, "PNG")
        _, _, facts = await world.upload(into.getvalue(), type="image/png")
        assert 0 < len(base64.b64decode(facts.thumbnail)) <= 8_192


@pytest.mark.parametrize(
    ("colour", "hash_of_plain"), [((0, 0, 0), "L00000"), ((255, 255, 255), "L0TSUA")]
)
def test_the_blur_of_one_colour_is_that_colour(
    colour: tuple[int, int, int], hash_of_plain: str
) -> None:
    blur = blurhash(bytes(colour) * 64, 8, 8)
    assert len(blur) == 28
    assert blur[:1] == "L"
    assert blur[2:6] == hash_of_plain[2:]


def test_types_that_run_are_never_shown() -> None:
    for type in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/plain"):
        assert type not in SHOWN
        for head in (b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WAVE", b"<svg", b""):
            assert served_as(type, kind_of(head)) != type
