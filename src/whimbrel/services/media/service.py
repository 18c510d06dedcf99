"""Media: from the slot to the link, and to the end of a file. Read this first of the parts.

slot -> spool (bytes on their way) -> finish.py (checksum, clean, look) -> blobs -> link. What is
promised stands in the ledger; what the edge sees is domain.media.Media. Law: a file can be
downloaded only when it is complete, checked, clean and durable; a token opens one upload, a link
one file.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from whimbrel.domain.errors import (
    Busy,
    IdleTimeout,
    MediaExpired,
    NoSpace,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Replaced,
    TooBig,
    WrongOffset,
    WrongType,
)
from whimbrel.domain.media import (
    GONE,
    OPEN,
    READY,
    Blobs,
    Facts,
    Ledger,
    MediaSettings,
    Served,
    Slot,
    Upload,
)
from whimbrel.domain.ports import Clock
from whimbrel.services.media.blobs import make_blobs
from whimbrel.services.media.finish import finished
from whimbrel.services.media.kinds import is_taken, is_type
from whimbrel.services.media.ledger import SqliteLedger
from whimbrel.services.media.names import (
    SECRET_CHARS_MAX,
    kept,
    link_id,
    link_of,
    new_token,
    safe_name,
)
from whimbrel.services.media.shared_ledger import SharedLedger
from whimbrel.services.media.spool import Spool
from whimbrel.services.media.workers import Workers
from whimbrel.storage.postgres.side import Side

log = structlog.get_logger("whimbrel.media")

FOLDER = "media"
S_US = 1_000_000


class MediaService:
    """domain.media.Media. Raises Unready at construction if ledger or store cannot be used."""

    def __init__(
        self,
        settings: MediaSettings,
        ledger: Ledger,
        blobs: Blobs,
        spool: Spool,
        clock: Clock,
        home: str = "",
        everywhere: bool = True,
    ) -> None:
        """home: this node's identity among others. everywhere: all of them reach finished files."""
        self.home = home
        self.everywhere = everywhere
        self.settings = settings
        self.ledger = ledger
        self.blobs = blobs
        self.spool = spool
        self.workers = Workers(settings)
        self._clock = clock
        self._transfers: dict[bytes, asyncio.Task[int]] = {}
        self._finishing: dict[bytes, asyncio.Task[Facts]] = {}
        self._finish_turn = asyncio.Semaphore(settings.finishing_max)
        self._slots = asyncio.Lock()  # between asking for a quota and using it

    # ---- slots ---------------------------------------------------------------------------

    async def slot(
        self, owner: int, name: str, size: int, type: str, sha256: str, recipients: int
    ) -> Slot:
        settings = self.settings
        type = type.lower()
        if size > settings.file_bytes_max:
            raise TooBig
        if not is_type(type) or not is_taken(type, settings.types):
            raise WrongType
        now_us = self._clock.now_us()
        token = new_token()
        row = Upload(
            token_hash=kept(token),
            link=kept(link_id(token)),
            owner=owner,
            state=OPEN,
            size=size,
            type=type,
            name=safe_name(name),
            sha256=sha256.lower(),
            recipients=recipients,
            made_us=now_us,
            expires_us=now_us + settings.upload_s * S_US,
            home=self.home,
        )
        async with self._slots:
            await self._check_quota(owner, size, now_us)
            await self.ledger.add(row)
        direct = await self.blobs.direct(row.blob, settings.upload_s)
        link = link_of(token, row.name)
        put = f"/v1/put/{token}/{link.rpartition('/')[2]}"
        return Slot(token, settings.chunk_bytes_max, row.expires_us, direct, put, link)

    async def _check_quota(self, owner: int, size: int, now_us: int) -> None:
        settings = self.settings
        used = await self.ledger.used(owner, now_us)
        if (
            used.day_count >= settings.day_count_max
            or used.day_bytes + size > settings.day_bytes_max
            or used.kept_bytes + size > settings.account_bytes_max
        ):
            raise QuotaExceeded(retry_after_s=3_600)
        if used.open_count >= settings.uploads_open_max and not await self._make_way(owner):
            raise RateLimited(retry_after_s=5)
        promised = await self.ledger.promised_bytes()
        if self.spool.free_bytes() - promised - size < settings.free_bytes_min:
            raise NoSpace(retry_after_s=60)

    async def _make_way(self, owner: int) -> bool:
        """Drop the oldest upload that nobody goes on with: a page that was closed, say."""
        for row in await self.ledger.open_of(owner, self.settings.uploads_open_max):
            idle_s = min(
                self.spool.idle_s(row.token_hash), (self._clock.now_us() - row.made_us) / S_US
            )
            if idle_s > self.settings.idle_s and row.token_hash not in self._finishing:
                await self.drop(row)
                return True
        return False

    # ---- bytes ---------------------------------------------------------------------------

    async def offset(self, token: str) -> tuple[int, int]:
        row = await self._upload(token)
        if row.state == READY:
            return row.size, row.size
        await self._end_transfer(row.token_hash)  # the client asks because it lost its connection
        return await self.spool.sync(row.token_hash), row.size

    async def receive(
        self, token: str, offset: int, length: int, pieces: AsyncIterator[bytes]
    ) -> int:
        row = await self._upload(token)
        if row.state != OPEN:
            raise WrongOffset(row.size)
        await self._end_transfer(row.token_hash)
        if len(self._transfers) >= self.settings.transfers_max:
            raise Busy(retry_after_s=2)
        have = self.spool.offset(row.token_hash)
        if offset != have or row.token_hash in self._finishing:
            raise WrongOffset(await self.spool.sync(row.token_hash))
        most = min(row.size - have, self.settings.chunk_bytes_max)
        if length > most:
            raise TooBig
        # A task of its own, so that the same client's next attempt can take its place.
        transfer = asyncio.ensure_future(self._taken(row.token_hash, most, pieces))
        self._transfers[row.token_hash] = transfer
        try:
            return await transfer
        except asyncio.CancelledError:
            if (me := asyncio.current_task()) is not None and me.cancelling():
                raise
            raise Replaced from None
        finally:
            if self._transfers.get(row.token_hash) is transfer:
                del self._transfers[row.token_hash]

    async def _taken(self, token: bytes, most: int, pieces: AsyncIterator[bytes]) -> int:
        try:
            async with asyncio.timeout(self.settings.chunk_s):
                return await self.spool.append(token, most, pieces)
        except TimeoutError:
            raise IdleTimeout from None

    async def _end_transfer(self, token: bytes) -> None:
        transfer = self._transfers.pop(token, None)
        if transfer is not None:
            transfer.cancel()
            await asyncio.wait([transfer])

    async def cancel(self, token: str) -> None:
        """Give up an upload; a file that is finished is taken back."""
        row = await self._upload(token)
        await self.cancel_work(row)
        await self.drop(await self._upload(token))

    # ---- the end of an upload ------------------------------------------------------------

    async def done(self, token: str) -> tuple[str, Facts]:
        row = await self._upload(token)
        if row.facts is not None:
            return link_of(token, row.facts.name), row.facts
        await self._end_transfer(row.token_hash)
        finishing = self._finishing.get(row.token_hash)
        if finishing is None:
            finishing = asyncio.ensure_future(self._finish(row))
            self._finishing[row.token_hash] = finishing
            finishing.add_done_callback(lambda _: self._finishing.pop(row.token_hash, None))
        # A client that leaves now finds its answer when it asks again.
        facts = await asyncio.shield(finishing)
        return link_of(token, facts.name), facts

    async def _finish(self, row: Upload) -> Facts:
        async with self._finish_turn:
            facts = await finished(row, self.settings, self.spool, self.blobs, self.workers)
            expires_us = self._clock.now_us() + self.settings.keep_s * S_US
            await self.ledger.finish(row.token_hash, facts, expires_us)
            await self.spool.remove(row.token_hash)
            return facts

    # ---- downloads -----------------------------------------------------------------------

    async def find(self, id: str, name: str) -> Served:
        row = await self._by_link(id)
        if row.state == GONE or row.expires_us <= self._clock.now_us():
            raise MediaExpired
        if row.facts is None or name not in (row.facts.name, row.name):
            raise NotFound
        return Served(row.facts, row.blob, row.expires_us)

    def read(self, served: Served, start: int, end: int) -> AsyncIterator[bytes]:
        return self.blobs.read(served.blob, start, end)

    async def confirm(self, id: str, account: int) -> int:
        row = await self._by_link(id)
        if row.state == OPEN:
            raise NotFound
        if row.state == GONE or not self.settings.expire_when_confirmed or not row.recipients:
            return row.expires_us
        confirmed = await self.ledger.confirm(row.link, account)
        if confirmed < row.recipients:
            return row.expires_us
        end_us = self._clock.now_us() + self.settings.confirmed_keep_s * S_US
        await self.ledger.expire(row.link, end_us)
        return min(end_us, row.expires_us)

    # ---- other nodes ---------------------------------------------------------------------

    async def away(self, token: str, id: str) -> str:
        if not self.home or len(token or id) > SECRET_CHARS_MAX:
            return ""
        by = self.ledger.by_token if token else self.ledger.by_link
        row = await by(kept(token or id))
        if row is None or row.home == self.home or row.state == GONE:
            return ""
        return "" if row.state == READY and self.everywhere else row.home

    async def adopt(self, token: str, old: str) -> None:
        await self.ledger.adopt(kept(token), old, self.home)

    # ---- rows ----------------------------------------------------------------------------

    async def _upload(self, token: str) -> Upload:
        """The row of a token that is still good for something."""
        row = await self.ledger.by_token(kept(token)) if len(token) <= SECRET_CHARS_MAX else None
        if row is None:
            raise NotFound
        if row.state == GONE or row.expires_us <= self._clock.now_us():
            raise MediaExpired
        return row

    async def _by_link(self, id: str) -> Upload:
        row = await self.ledger.by_link(kept(id)) if len(id) <= SECRET_CHARS_MAX else None
        if row is None:
            raise NotFound
        return row

    async def cancel_work(self, row: Upload) -> None:
        """End what is being done with an upload, before it is dropped."""
        await self._end_transfer(row.token_hash)
        if (finishing := self._finishing.get(row.token_hash)) is not None:
            await asyncio.wait([finishing])

    def now_us(self) -> int:
        return self._clock.now_us()

    async def drop(self, row: Upload) -> None:
        """Remove everything of an upload or a file; first the bytes, then the row."""
        size = self.spool.offset(row.token_hash) if row.state == OPEN else -1
        await self.spool.remove(row.token_hash)
        await self.blobs.drop_direct(row.blob)
        await self.blobs.delete([row.blob])
        await self.ledger.gone([row.token_hash], self._clock.now_us(), size)

    def statistics(self) -> dict[str, float]:
        return {
            "transfers": len(self._transfers),
            "finishing": len(self._finishing),
            "workers_killed": self.workers.killed,
        }

    async def close(self) -> None:
        for task in [*self._transfers.values(), *self._finishing.values()]:
            task.cancel()
        if tasks := [*self._transfers.values(), *self._finishing.values()]:
            await asyncio.wait(tasks)
        await self.workers.close()
        await self.ledger.close()
        self.spool.close()


LEDGER = "media.db"


def open_media(settings: MediaSettings, data: Path, clock: Clock) -> MediaService:
    """The service over a data folder. Raises Unready."""
    folder = data / FOLDER
    spool = Spool(folder / "incoming")
    blobs = make_blobs(settings, folder)
    return MediaService(settings, SqliteLedger(folder / LEDGER), blobs, spool, clock)


async def open_shared_media(
    settings: MediaSettings, data: Path, clock: Clock, side: Side, home: str, everywhere: bool
) -> MediaService:
    """The service of one node among others, whose ledger is in their database. Raises Unready."""
    folder = data / FOLDER
    spool = Spool(folder / "incoming")
    blobs = make_blobs(settings, folder)
    ledger = SharedLedger(side, home, everywhere)
    await ledger.take_over(folder / LEDGER)
    return MediaService(settings, ledger, blobs, spool, clock, home, everywhere)
