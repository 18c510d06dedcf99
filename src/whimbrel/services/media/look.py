"""A look into a file: measures, thumbnail, blur, duration. Runs only inside a worker process.

Everything here works on bytes of strangers with large libraries, so nothing else does: worker.py
bounds its memory and time. Pixels are counted before any is decoded. Containers are opened as
what their first bytes say and nothing else, from an open file, so that a playlist cannot name
other files or addresses.
"""

import base64
import io
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import av
from PIL import Image, ImageOps

from whimbrel.domain.media import THUMBNAIL_BYTES_MAX
from whimbrel.services.media.blur import blurhash
from whimbrel.services.media.jobs import Seen

# (share of the longer side, WebP quality), until it fits.
_TRIES = ((1.0, 60), (1.0, 40), (0.75, 50), (0.5, 50), (0.5, 25), (0.25, 25))
BLUR_PX = 24
SECONDS_MAX = 360_000.0
FRAMES_TRIED = 16


class Bomb(Exception):
    """More pixels than the limit: nothing was decoded."""


def look(file: Path, family: str, format: str, pixels_max: int, thumbnail_px: int) -> Seen:
    """Raises Bomb, or whatever the libraries raise: then there is just no thumbnail."""
    with file.open("rb") as source:
        if family == "picture":
            return _picture(source, format, pixels_max, thumbnail_px)
        return _moving(source, format, pixels_max, thumbnail_px)


def _picture(source: BinaryIO, format: str, pixels_max: int, thumbnail_px: int) -> Seen:
    Image.MAX_IMAGE_PIXELS = None  # our own limit is stricter and always an error
    with Image.open(source, formats=(format,)) as image:
        width, height = image.size
        if width * height > pixels_max:
            raise Bomb
        image.draft("RGB", (2 * thumbnail_px, 2 * thumbnail_px))  # JPEG: decoded smaller at once
        turned = image.getexif().get(0x0112, 1)
        image.thumbnail((thumbnail_px, thumbnail_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
        small = ImageOps.exif_transpose(image)
        if turned in (5, 6, 7, 8):
            width, height = height, width
        return _seen(small, width, height, 0.0)


def _moving(source: BinaryIO, format: str, pixels_max: int, thumbnail_px: int) -> Seen:
    with av.open(source, format=format) as container:
        seconds = _seconds(container)
        # A cover in a song is a video stream of one picture: not worth the risk.
        videos = [
            stream for stream in container.streams.video
            if not int(stream.disposition) & int(av.stream.Disposition.attached_pic)
        ]  # fmt: skip
        if not videos:
            return Seen(duration=seconds)
        stream = videos[0]
        stream.thread_type = "NONE"
        if stream.width * stream.height > pixels_max:
            raise Bomb
        size = (stream.width, stream.height)
        with suppress(av.FFmpegError, ValueError, StopIteration):
            frame = _first_frame(container, stream)
            if frame.width * frame.height > pixels_max:
                raise Bomb
            image: Image.Image = frame.to_image()
            turns = round(frame.rotation / 90) % 4
            width, height = (size[1], size[0]) if turns % 2 else size
            image.thumbnail((thumbnail_px, thumbnail_px), Image.Resampling.BILINEAR)
            return _seen(image.rotate(90 * turns, expand=True), width, height, seconds)
        return Seen(*size, seconds)


def _first_frame(container: Any, stream: Any) -> Any:
    for count, packet in enumerate(container.demux(stream)):
        for frame in packet.decode():
            return frame
        if count >= FRAMES_TRIED:
            break
    raise StopIteration


def _seconds(container: Any) -> float:
    seconds = (container.duration or 0) / 1_000_000
    return round(seconds, 3) if 0 < seconds < SECONDS_MAX else 0.0


def _seen(image: Image.Image, width: int, height: int, seconds: float) -> Seen:
    with_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    image = image.convert("RGBA" if with_alpha else "RGB")
    tiny = image.convert("RGB")
    tiny.thumbnail((BLUR_PX, BLUR_PX))
    blur = blurhash(tiny.tobytes(), *tiny.size)
    return Seen(width, height, seconds, _thumbnail(image), blur)


def _thumbnail(image: Image.Image) -> str:
    """Base64 of a WebP picture of at most THUMBNAIL_BYTES_MAX bytes, or "" if none is so small."""
    for share, quality in _TRIES:
        size = (max(1, int(image.width * share)), max(1, int(image.height * share)))
        small = image if size == image.size else image.resize(size)
        into = io.BytesIO()
        small.save(into, "WEBP", quality=quality, method=2)
        if into.tell() <= THUMBNAIL_BYTES_MAX:
            return base64.b64encode(into.getvalue()).decode()
    return ""
