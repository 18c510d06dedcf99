"""Housekeeping of media: what is past its time goes, and what a crash has left behind.

In slices, one after the other, so that nothing else waits long. Law: a blob or a file goes only
if the ledger does not know it (or no longer wants it) and it is old enough that nobody can be
about to tell the ledger of it.
"""

import asyncio

import structlog

from whimbrel.domain.errors import Unready
from whimbrel.domain.media import OPEN
from whimbrel.services.media.service import S_US, MediaService

log = structlog.get_logger("whimbrel.media")

EVERY_S = 60
ORPHANS_EVERY = 60  # ... of those rounds: a look at everything once an hour


class Tidy:
    def __init__(self, media: MediaService) -> None:
        self._media = media
        self._seconds = 0
        self._rounds = 0
        self._running: asyncio.Task[None] | None = None
        self.removed = 0

    def every_second(self) -> None:
        self._seconds += 1
        if self._seconds % EVERY_S == 0 and (self._running is None or self._running.done()):
            self._running = asyncio.ensure_future(self._round())

    async def _round(self) -> None:
        try:
            await self.expire()
            if self._rounds % ORPHANS_EVERY == 0:  # also soon after a start
                await self.orphans()
            self._rounds += 1
        except Unready as error:
            log.warning("media were not tidied", reason=str(error))
        except Exception as error:  # the next round tries again
            log.error("tidying media failed", error=type(error).__name__)

    async def expire(self) -> None:
        """Files and uploads past their time, and rows that nobody needs to hear of any more."""
        media, settings = self._media, self._media.settings
        while rows := await media.ledger.expired(media.now_us(), settings.slice):
            for row in rows:
                await media.cancel_work(row)
                await media.drop(row)
            self.removed += len(rows)
        before_us = media.now_us() - max(settings.forget_s, 86_400) * S_US
        while await media.ledger.forget(before_us, settings.slice) == settings.slice:
            pass

    async def orphans(self) -> None:
        """Blobs without a row, and files of uploads that the ledger does not expect."""
        media, settings = self._media, self._media.settings
        oldest_s = media.now_us() // S_US - settings.orphan_s
        async for names in media.blobs.names(settings.slice):
            old = [name for name, changed_s in names if changed_s < oldest_s and _is_ours(name)]
            known = await media.ledger.known([bytes.fromhex(name) for name in old])
            strangers = [name for name in old if bytes.fromhex(name) not in known]
            await media.blobs.delete(strangers)
            self.removed += len(strangers)
        for file in await media.spool.run(media.spool.files):
            if file.stat().st_mtime >= oldest_s or not _is_ours(file.stem):
                continue
            row = await media.ledger.by_token(bytes.fromhex(file.stem))
            if row is None or row.state != OPEN:
                file.unlink(missing_ok=True)
                self.removed += 1

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])


def _is_ours(name: str) -> bool:
    return len(name) == 64 and not set(name) - set("0123456789abcdef")
