"""The end of an upload: is it complete and what was announced, then clean it, look, keep it.

Law: whatever fails here can be tried again, because the spool's file stays until the ledger
knows the finished one. A picture of which the location cannot be removed is refused; a thumbnail
that cannot be made is just missing.
"""

from pathlib import Path

import structlog

from whimbrel.domain.errors import BadChecksum, Busy, TooBig, WrongOffset, WrongType
from whimbrel.domain.media import Blobs, Facts, MediaSettings, Upload
from whimbrel.services.media.clean import CLEANERS
from whimbrel.services.media.jobs import Job, Seen
from whimbrel.services.media.kinds import HEAD_BYTES, MP4, Kind, kind_of, served_as
from whimbrel.services.media.spool import Spool
from whimbrel.services.media.workers import Workers

log = structlog.get_logger("whimbrel.media")


async def finished(
    row: Upload, settings: MediaSettings, spool: Spool, blobs: Blobs, workers: Workers
) -> Facts:
    """Store the file as a blob and tell what it is. Raises Refused or Unready."""
    file = spool.path(row.token_hash)
    have = await spool.sync(row.token_hash)
    if have != row.size and settings.direct:
        have = await _fetched(row, spool, blobs)
    if have != row.size:
        raise WrongOffset(have)
    sha256 = await spool.sha256(file)
    if row.sha256 and sha256 != row.sha256:
        await spool.truncate(row.token_hash)
        raise BadChecksum
    kind = kind_of(await spool.run(lambda: _head(file)))
    seen = Seen()
    if kind is not None and (kind.format in CLEANERS or kind is MP4):
        file, sha256 = await _cleaned(row, kind, file, sha256, spool, workers)
    if kind is not None:
        seen = await _seen(kind, file, settings, workers)
    size = file.stat().st_size
    if file == spool.path(row.token_hash):
        file = await spool.second_name(row.token_hash)
    await blobs.put(row.blob, file)
    await blobs.drop_direct(row.blob)
    return Facts(
        size=size,
        type=served_as(row.type, kind),
        name=row.name,
        sha256=sha256,
        width=seen.width,
        height=seen.height,
        duration=seen.duration,
        thumbnail=seen.thumbnail,
        blur=seen.blur,
    )


async def _fetched(row: Upload, spool: Spool, blobs: Blobs) -> int:
    """What the client has put into the store itself goes the way of everything else."""
    try:
        have = await blobs.fetch(row.blob, spool.path(row.token_hash), row.size)
    except FileNotFoundError:
        return spool.offset(row.token_hash)
    except TooBig:
        await blobs.drop_direct(row.blob)
        raise
    return have


async def _cleaned(
    row: Upload, kind: Kind, file: Path, sha256: str, spool: Spool, workers: Workers
) -> tuple[Path, str]:
    """The clean copy beside the original, and its checksum."""
    into = file.with_suffix(".clean")
    job = Job("clean", str(file), kind.family, kind.format, str(into))
    done = await workers.do(job)
    if done is None:
        raise Busy(retry_after_s=2)
    if not done.trouble and not done.changed:
        return file, sha256
    if not done.trouble:
        return into, await spool.sha256(into)
    await spool.run(lambda: into.unlink(missing_ok=True))
    if row.type.startswith(("image/", "video/")) or done.trouble != "broken":
        raise WrongType
    return file, sha256  # something else that begins like a picture


async def _seen(kind: Kind, file: Path, settings: MediaSettings, workers: Workers) -> Seen:
    job = Job(
        "look",
        str(file),
        kind.family,
        kind.format,
        pixels_max=settings.pixels_max,
        thumbnail_px=settings.thumbnail_px,
        cpu_s=settings.worker_cpu_s,
    )
    done = await workers.do(job)
    if done is None or done.trouble:
        log.info("no thumbnail", format=kind.format, why=done.trouble if done else "killed")
        return Seen()
    return done.seen


def _head(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(HEAD_BYTES)
