"""A media service on a folder of its own, with a clock that stands until it is told to go on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from whimbrel.domain.media import Facts, MediaSettings
from whimbrel.services.media.service import MediaService, open_media, open_shared_media
from whimbrel.services.media.tidy import Tidy
from whimbrel.storage.postgres.side import Side

ALICE, BOB, CAROL = 1_000_001, 1_000_002, 1_000_003
NOW_US = 1_700_000_000_000_000
DAY_S = 86_400


class StandingClock:
    def __init__(self) -> None:
        self.us = NOW_US

    def now_us(self) -> int:
        return self.us

    def monotonic_us(self) -> int:
        return self.us

    def pass_s(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


class MediaWorld:
    def __init__(self, folder: Path, side: Any = None, **settings: Any) -> None:
        """side: the database of several nodes; then start() makes the service."""
        self.side: Side | None = side
        self.folder = folder
        self.clock = StandingClock()
        self.settings = MediaSettings(**({"workers": 1} | settings))
        self.media: MediaService
        self.tidy: Tidy

    async def start(self) -> None:
        if self.side is None:
            self.media = open_media(self.settings, self.folder, self.clock)
        else:
            self.media = await open_shared_media(
                self.settings, self.folder, self.clock, self.side, "one", True
            )
        self.tidy = Tidy(self.media)

    async def restart(self) -> None:
        await self.media.close()
        await self.start()

    async def slot(self, size: int, name: str = "file.bin", **more: Any) -> str:
        told: dict[str, Any] = {"owner": ALICE, "type": "application/octet-stream"}
        told |= {"sha256": "", "recipients": 0}
        return (await self.media.slot(name=name, size=size, **(told | more))).token

    async def send(self, token: str, data: bytes, offset: int = 0) -> int:
        return await self.media.receive(token, offset, len(data), pieces(data))

    async def upload(
        self, data: bytes, name: str = "file.bin", **more: Any
    ) -> tuple[str, str, Facts]:
        """(token, link's id, facts)."""
        token = await self.slot(len(data), name, **more)
        chunk = self.settings.chunk_bytes_max
        for at in range(0, len(data), chunk):
            await self.send(token, data[at : at + chunk], at)
        link, facts = await self.media.done(token)
        return token, link.split("/")[2], facts

    async def download(self, id: str, facts: Facts) -> bytes:
        served = await self.media.find(id, facts.name)
        return b"".join([piece async for piece in self.media.read(served, 0, facts.size)])

    def blobs(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "media/blobs").iterdir())

    def spooled(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "media/incoming").iterdir())


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


@asynccontextmanager
async def world_in(folder: Path, side: Any = None, **settings: Any) -> AsyncIterator[MediaWorld]:
    world = MediaWorld(folder, side, **settings)
    await world.start()
    try:
        yield world
    finally:
        await world.media.close()
