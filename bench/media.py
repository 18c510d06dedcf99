"""Files: what an upload costs the server, a hundred of them at once, and a large photo.

The client is this process (aiohttp over plain HTTP on this machine); worker processes of the
server are counted apart from it.
"""

import asyncio
import base64
import io
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from bench import accounts
from bench.figures import Figure, Figures
from bench.meter import Meter
from bench.server import Server

MB = 1_000_000
CHUNK = 8 * 1_048_576
SETTINGS = """
[media]
day_bytes_max = 1000000000000
day_count_max = 1000000
account_bytes_max = 1000000000000
uploads_open_max = 1000
free_bytes_min = 1
"""
PHOTO = (4_000, 3_000)


def media(quick: bool) -> Figures:
    """All figures of files."""
    with tempfile.TemporaryDirectory(prefix="whimbrel-bench-") as folder:
        accounts.create(Path(folder) / "data", 1)
        with Server(Path(folder), SETTINGS) as server:
            return asyncio.run(_all(server, quick))


async def _all(server: Server, quick: bool) -> Figures:
    figures: Figures = {}
    async with Uploader(server) as uploader:
        await uploader.upload(os.urandom(MB), "application/octet-stream")
        figures.update(await _one_large(server, uploader, (20 if quick else 100) * MB))
        figures.update(await _many(server, uploader, 20 if quick else 100, 10 * MB))
        figures.update(await _photos(uploader, 2 if quick else 5))
    return figures


class Uploader:
    def __init__(self, server: Server) -> None:
        self._base = f"http://127.0.0.1:{server.ready['http']}"
        who = f"{accounts.address_of(0)}/1:{accounts.key_of(0)}"
        self._auth = {"Authorization": "Basic " + base64.b64encode(who.encode()).decode()}

    async def __aenter__(self) -> "Uploader":
        self._session = aiohttp.ClientSession(
            self._base, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(300)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def upload(self, data: bytes, type: str) -> Any:
        return await self.put(await self.begin(len(data), type), data)

    async def put(self, upload: str, data: bytes) -> Any:
        for at in range(0, len(data), CHUNK):
            await self.send(upload, data[at : at + CHUNK], at)
        return await self.done(upload)

    async def begin(self, size: int, type: str) -> str:
        told = {"name": "a", "size": size, "type": type}
        answer = await self.patiently(
            lambda: self._session.post("/v1/media", json=told, headers=self._auth)
        )
        upload: str = answer["upload"]
        return upload

    async def send(self, upload: str, data: Any, offset: int) -> None:
        headers = {"Upload-Offset": str(offset)}
        await self.patiently(lambda: self._session.patch(upload, data=data, headers=headers))

    async def done(self, upload: str) -> Any:
        return await self.patiently(lambda: self._session.post(upload + "/done"))

    async def patiently(self, ask: Callable[[], Any]) -> Any:
        """A client waits as long as it is told to."""
        while True:
            async with ask() as answer:
                if answer.status not in (429, 503):
                    answer.raise_for_status()
                    return await answer.json() if answer.status != 204 else None
                wait_s = int(answer.headers.get("Retry-After", "1"))
            await asyncio.sleep(wait_s)

    async def get(self, link: str) -> int:
        size = 0
        async with self._session.get(link) as answer:
            answer.raise_for_status()
            async for piece in answer.content.iter_any():
                size += len(piece)
        return size


async def _one_large(server: Server, uploader: Uploader, size: int) -> Figures:
    data = os.urandom(size)
    megabytes = size / MB
    told: list[Any] = []

    async def up() -> None:
        told.append(await uploader.upload(data, "application/octet-stream"))

    async def down() -> None:
        assert await uploader.get(told[0]["link"]) == size

    figures: Figures = {}
    for name, work in (("upload", up), ("download", down)):
        wall_s, cpu_s, bound = await _measured(server, work)
        figures[f"media_{name}_mb_per_s"] = Figure(megabytes / wall_s, bound)
        figures[f"media_{name}_cpu_ms_per_mb"] = Figure(cpu_s * 1000 / megabytes)
    return figures


async def _many(server: Server, uploader: Uploader, count: int, size: int) -> Figures:
    data = os.urandom(size)
    slots = [await uploader.begin(size, "application/octet-stream") for _ in range(count)]
    before_kib = server.pss_kib()
    peak = [before_kib]

    async def watch() -> None:
        while True:
            peak[0] = max(peak[0], server.pss_kib())
            await asyncio.sleep(0.02)

    async def work() -> None:
        await asyncio.gather(*(uploader.put(slot, data) for slot in slots))

    watching = asyncio.create_task(watch())
    wall_s, cpu_s, bound = await _measured(server, work)
    watching.cancel()
    megabytes = count * size / MB
    return {
        f"media_{count}_at_once_mb_per_s": Figure(megabytes / wall_s, bound),
        f"media_{count}_at_once_cpu_ms_per_mb": Figure(cpu_s * 1000 / megabytes),
        f"media_{count}_at_once_growth_mib": Figure((peak[0] - before_kib) / 1024),
        f"media_{count}_at_once_peak_mib": Figure(peak[0] / 1024),
    }


async def _photos(uploader: Uploader, count: int) -> Figures:
    """From "all bytes are there" to the answer: checksum, clean copy, thumbnail, blur."""
    photo = _photo()
    took: list[float] = []
    for _ in range(count + 1):
        upload = await uploader.begin(len(photo), "image/jpeg")
        for at in range(0, len(photo), CHUNK):
            await uploader.send(upload, photo[at : at + CHUNK], at)
        started = time.perf_counter()
        told = await uploader.done(upload)
        took.append(time.perf_counter() - started)
        assert told["thumbnail"]
    return {
        "media_photo_12mp_mb": Figure(len(photo) / MB),
        "media_photo_12mp_first_ms": Figure(took[0] * 1000, "with the start of a worker"),
        "media_photo_12mp_done_ms": Figure(sorted(took[1:])[len(took[1:]) // 2] * 1000),
    }


def _photo() -> bytes:
    """Twelve megapixels with the detail of a real photo: some megabytes of JPEG."""
    noise = Image.effect_noise((PHOTO[0] // 4, PHOTO[1] // 4), 60).resize(PHOTO)
    colours = Image.merge("RGB", (noise, noise.rotate(180), noise.transpose(Image.Transpose(0))))
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    into = io.BytesIO()
    colours.save(into, "JPEG", quality=92, exif=exif)
    return into.getvalue()


async def _measured(
    server: Server, work: Callable[[], Awaitable[None]]
) -> tuple[float, float, str]:
    meter = Meter(server.pid)
    await work()
    used = meter.read()
    return used.wall_s, used.server_s, used.bound()
