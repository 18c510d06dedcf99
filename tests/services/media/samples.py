"""Pictures, videos and songs made for a test: nothing binary is kept in the repository."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

LATITUDE = (52.0, 30.0, 42.42)
CAMERA = "Secret Camera 4242"


def picture(
    format: str = "JPEG",
    size: tuple[int, int] = (400, 300),
    orientation: int = 1,
    mode: str = "RGB",
    exif: bool = True,
) -> bytes:
    """A smooth picture, its upper left corner red, with a camera's name and a place in Exif."""
    image = Image.linear_gradient("L").resize(size).convert(mode)
    image.paste(Image.new(mode, (size[0] // 4, size[1] // 4), "red"), (0, 0))
    into = io.BytesIO()
    if not exif:
        image.save(into, format)
        return into.getvalue()
    told = Image.Exif()
    told[0x0110] = CAMERA
    told[0x0112] = orientation
    told.get_ifd(0x8825).update({1: "N", 2: LATITUDE, 3: "E", 4: (13.0, 22.0, 0.0)})
    more = {"comment": CAMERA.encode()} if format == "JPEG" else {}
    image.save(into, format, exif=told, xmp=f"<x>{CAMERA}</x>".encode(), **more)
    return into.getvalue()


def has_place(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return bool(image.getexif().get_ifd(0x8825))


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def video(
    folder: Path,
    size: tuple[int, int] = (160, 120),
    frames: int = 12,
    format: str = "mp4",
    codec: str = "mpeg4",
) -> bytes:
    """One second and a bit, blue."""
    file = folder / f"made.{format}"
    from_image: Any = av.VideoFrame.from_image
    with av.open(str(file), "w", format=format) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            frame: av.VideoFrame = from_image(Image.new("RGB", size, (0, 0, 100 + number)))
            frame.pts = number
            frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.read_bytes()


def song(seconds: int = 2) -> bytes:
    """Silence as WAV."""
    rate = 8_000
    data = bytes(rate * 2 * seconds)
    head = b"fmt " + (16).to_bytes(4, "little") + bytes([1, 0, 1, 0])
    head += rate.to_bytes(4, "little") + (rate * 2).to_bytes(4, "little") + bytes([2, 0, 16, 0])
    body = b"WAVE" + head + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def bomb() -> bytes:
    """A small PNG that says it has 30,000 x 30,000 pixels, and has: all zero."""
    width = height = 30_000
    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
