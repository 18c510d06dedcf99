"""Media: the settings, the rows and the ports of files that people send to each other.

A file is uploaded by HTTP with a one-time token, then told to the recipients as a link in a
message. The parts are in services/media/; edge/http/media.py speaks for them. Law: what is
known of a file is enough to serve it safely, and neither token nor link is kept (only hashes).
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from whimbrel.domain.discreet import discreet

THUMBNAIL_BYTES_MAX = 8_192
LINK_CHARS_MAX = 512
NAME_CHARS_MAX = 255  # as announced; a link carries at most NAME_BYTES_MAX of it
NAME_BYTES_MAX = 120
TYPE_CHARS_MAX = 127
BLUR_CHARS_MAX = 128
UNKNOWN_TYPE = "application/octet-stream"

OPEN, READY, GONE = 0, 1, 2  # states of a row


class MediaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that people send. `store`: folder (in the data folder) or s3; docs/media.md."""

    on: bool = True
    store: str = "folder"  # or "s3"
    options: dict[str, Any] = {}  # of s3: bucket, region, endpoint, access_key_id, ...
    direct: bool = False  # s3: a slot also names an address of the store to upload to
    types: tuple[str, ...] = ()  # taken types, like "image/*"; empty: all
    file_bytes_max: int = 104_857_600  # largest file
    chunk_bytes_max: int = 8_388_608  # largest piece of an upload
    chunk_s: float = 120.0  # a piece that takes longer is cut off; what has come is kept
    upload_s: int = 86_400  # until an upload must be done
    idle_s: int = 600  # an upload untouched for so long gives way to a new one
    keep_s: int = 30 * 86_400  # then a file is removed
    forget_s: int = 30 * 86_400  # how long a removed file's link still says "expired"
    expire_when_confirmed: bool = False  # remove a file when its recipients have confirmed it
    confirmed_keep_s: int = 86_400  # ... this long after the last confirmation
    account_bytes_max: int = 5_368_709_120  # of an account's files together
    day_bytes_max: int = 2_147_483_648  # uploaded by an account within 24 hours
    day_count_max: int = 500  # files of an account within 24 hours
    uploads_open_max: int = 20  # begun and not done, of an account
    transfers_max: int = 256  # pieces on their way at once, of everybody; then busy
    finishing_max: int = 4  # uploads being completed at once; the others wait
    free_bytes_min: int = 1_073_741_824  # of the disk, kept free; below it: no-space
    slice: int = 100  # files removed by one step of housekeeping
    orphan_s: int = 86_400  # age at which a blob that nobody knows is removed
    pixels_max: int = 64_000_000  # of a picture or video; larger ones get no thumbnail
    thumbnail_px: int = 320  # the longer side
    workers: int = 2  # processes that look into files
    worker_s: float = 20.0  # for one look; then the worker is killed
    worker_cpu_s: int = 15
    worker_bytes_max: int = 1_073_741_824  # address space of a worker
    __repr__ = discreet

    def mistake(self) -> str:
        """ "" or "key: what to write"."""
        if self.store not in ("folder", "s3"):
            return 'store: write "folder" or "s3"'
        if self.store == "s3" and not self.options.get("bucket"):
            return 'options: s3 wants at least { bucket = "name" }'
        if self.direct and self.store != "s3":
            return "direct: only a store of kind s3 takes uploads itself"
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                return f"{name}: write a number above 0"
        return ""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a finished file. Sizes in bytes and pixels, duration in seconds."""

    size: int
    type: str
    name: str
    sha256: str  # of the file as it is downloaded, hex
    width: int = 0
    height: int = 0
    duration: float = 0.0
    thumbnail: str = ""  # Base64 of a WebP picture
    blur: str = ""  # BlurHash
    __repr__ = discreet


class Upload(msgspec.Struct, frozen=True):
    """A row of the ledger, from the slot to the removal. Times in microseconds since 1970.

    token_hash, link: SHA-256 of the secrets; `link` in hex is also the name of the blob.
    """

    token_hash: bytes
    link: bytes
    owner: int
    state: int
    size: int
    type: str
    name: str
    sha256: str  # as announced, hex, or ""
    recipients: int  # 0: not told
    made_us: int
    expires_us: int
    facts: Facts | None = None
    home: str = ""  # the node that has it in hand (and its bytes, where folders are not shared)
    __repr__ = discreet

    @property
    def blob(self) -> str:
        return self.link.hex()


class Used(msgspec.Struct, frozen=True):
    """What an account has used of its quota."""

    kept_bytes: int
    day_bytes: int
    day_count: int
    open_count: int


class Slot(msgspec.Struct, frozen=True):
    """The right to upload one file."""

    token: str
    chunk_max: int
    expires_us: int
    direct: str = ""
    put: str = ""  # where the whole file may be put in one request
    link: str = ""  # where it will be
    __repr__ = discreet


class Served(msgspec.Struct, frozen=True):
    """A file to be downloaded: what it is, and until when it is there."""

    facts: Facts
    blob: str
    expires_us: int


class Ledger(Protocol):
    """Durable rows of uploads. Raises Unready if they cannot be read or written."""

    async def add(self, row: Upload) -> None: ...
    async def by_token(self, token_hash: bytes) -> Upload | None: ...
    async def by_link(self, link: bytes) -> Upload | None: ...
    async def used(self, owner: int, now_us: int) -> Used: ...
    async def promised_bytes(self) -> int:
        """Sizes of all open uploads together."""
        ...

    async def finish(self, token_hash: bytes, facts: Facts, expires_us: int) -> None: ...
    async def gone(self, tokens: Sequence[bytes], now_us: int, size: int = -1) -> None:
        """Mark as removed; `size`: what counts for the day's quota, -1: as announced."""
        ...

    async def confirm(self, link: bytes, account: int) -> int:
        """Note that this account has the file; how many others than the owner have it now."""
        ...

    async def expire(self, link: bytes, expires_us: int) -> None:
        """Bring the end forward; never later."""
        ...

    async def open_of(self, owner: int, limit: int) -> list[Upload]:
        """An account's open uploads, oldest first."""
        ...

    async def expired(self, now_us: int, limit: int) -> list[Upload]: ...
    async def known(self, links: Sequence[bytes]) -> set[bytes]:
        """Those of these links that have a row which is not gone."""
        ...

    async def forget(self, before_us: int, limit: int) -> int:
        """Remove rows that went before this time."""
        ...

    async def adopt(self, token_hash: bytes, old: str, new: str) -> None:
        """An upload under way goes on at another node, if it is still the old one's."""
        ...

    async def close(self) -> None: ...


class Blobs(Protocol):
    """Finished files by name (hex). Raises FileNotFoundError, or Unready for the store's faults."""

    async def put(self, name: str, file: Path) -> None:
        """Durable when it returns; the file is consumed. Putting again replaces."""
        ...

    async def size(self, name: str) -> int: ...
    def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes [start, end) in pieces of bounded size."""
        ...

    async def delete(self, names: Sequence[str]) -> None:
        """Names that are not there are no error."""
        ...

    def names(self, slice: int) -> AsyncIterator[list[tuple[str, int]]]:
        """All of them, some at a time: (name, seconds since 1970 of its last change)."""
        ...

    async def direct(self, name: str, seconds: int) -> str:
        """A signed address to PUT a whole file to, or ""."""
        ...

    async def fetch(self, name: str, file: Path, bytes_max: int) -> int:
        """Bring what was put directly into a file; its size. Raises TooBig."""
        ...

    async def drop_direct(self, name: str) -> None: ...


class Media(Protocol):
    """All that the HTTP front end sees. Every method may raise Refused or Unready."""

    settings: MediaSettings

    async def slot(
        self, owner: int, name: str, size: int, type: str, sha256: str, recipients: int
    ) -> Slot: ...
    async def offset(self, token: str) -> tuple[int, int]:
        """(bytes that are on disk, size)."""
        ...

    async def receive(
        self, token: str, offset: int, length: int, pieces: AsyncIterator[bytes]
    ) -> int:
        """Take one piece; the offset behind it. length -1: not told."""
        ...

    async def cancel(self, token: str) -> None: ...
    async def done(self, token: str) -> tuple[str, Facts]:
        """(link, facts); the same again when asked again."""
        ...

    async def find(self, id: str, name: str) -> Served: ...
    def read(self, served: Served, start: int, end: int) -> AsyncIterator[bytes]: ...
    async def away(self, token: str, id: str) -> str:
        """The node that has to be asked for this upload or file; "": this one."""
        ...

    async def adopt(self, token: str, old: str) -> None:
        """Go on here with an upload whose node is gone, from what is there of it."""
        ...

    async def confirm(self, id: str, account: int) -> int:
        """When the file will be gone, in microseconds since 1970."""
        ...
