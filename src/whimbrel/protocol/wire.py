"""The messages of the own protocol, version 1: every type in one file.

Encoded as MessagePack arrays behind a 4-byte length (TLS), or as the same arrays in JSON
text (WebSocket). The first element is the type's number; fields follow in order; fields may
be added at the end, and a reader ignores the ones it does not know. docs/protocol.md is
generated from this file and from protocol/examples.py.

Numbers are below 2**53, so that JavaScript can hold them. Times are microseconds since 1970.
"""

from typing import Annotated

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.media import (
    BLUR_CHARS_MAX,
    LINK_CHARS_MAX,
    NAME_CHARS_MAX,
    THUMBNAIL_BYTES_MAX,
    TYPE_CHARS_MAX,
)

VERSION = 1
ALPN = "whimbrel/1"
SUBPROTOCOL = "whimbrel.1"  # of a WebSocket

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, msgspec.Meta(max_length=128)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

# "$" alone would let a line end pass behind it.
END = r"$(?!\n)"
# A file of ours by id and name, or a whole address: nothing that a browser would run.
LINK = r"^(/m/[0-9A-Za-z_-]+/[!\x22$-.0->@-\[\]-~]+|https://[!-~]+)" + END
TYPE = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+" + END
Blur = Annotated[str, msgspec.Meta(max_length=BLUR_CHARS_MAX, pattern="^[!-~]*" + END)]
THUMBNAIL_CHARS_MAX = (THUMBNAIL_BYTES_MAX + 2) // 3 * 4


class Media(msgspec.Struct, omit_defaults=True):
    """A file that a message carries, as `POST /v1/uploads/<token>/done` has told it.

    link: "/m/..." on the sender's server, or a whole https address. size in bytes, width and
    height in pixels, duration in seconds. thumbnail: Base64 of a JPEG or WebP picture of at most
    8,192 bytes; blur: a BlurHash; sha256: hex, of the file.
    """

    link: Annotated[str, msgspec.Meta(max_length=LINK_CHARS_MAX, pattern=LINK)]
    size: Number
    type: Annotated[str, msgspec.Meta(max_length=TYPE_CHARS_MAX, pattern=TYPE)]
    name: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)] = ""
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}" + END)] | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    duration: Annotated[float, msgspec.Meta(ge=0, le=360_000)] | None = None
    thumbnail: Annotated[str, msgspec.Meta(max_length=THUMBNAIL_CHARS_MAX)] | None = None
    blur: Blur | None = None
    __repr__ = discreet


class Content(msgspec.Struct, omit_defaults=True):
    """What a message says: a map, so that kinds of content can be added.

    The server checks these fields and passes all others through untouched.
    text: what people read (also the fallback for clients that know no more).
    reply: the identity [account, device, c] of the message this one answers.
    sealed: an end-to-end encrypted payload, Base64.
    media: a file.
    """

    text: str = ""
    reply: tuple[str, int, int] | None = None
    sealed: str | None = None
    media: Media | None = None
    __repr__ = discreet


class Wire(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of all messages."""

    __repr__ = discreet


# ---- device -> server: 1 .. 31 ----------------------------------------------------------


class Hello(Wire, frozen=True, tag=1):
    """Log in or resume. key: as given at sign-up; last: highest item number stored, or 0."""

    version: Number
    account: Name
    device: Number
    key: Name
    last: Number = 0
    era: Number = 0  # of `last`, as the last welcome said; 0 if none
    agent: Name = ""


class Submit(Wire, frozen=True, tag=2):
    """Send. c: this device's next submit number, dense from 1; to: an address."""

    c: Number
    to: str
    body: msgspec.Raw


class Confirm(Wire, frozen=True, tag=3):
    """All items up to q are stored and shown."""

    q: Number


class Read(Wire, frozen=True, tag=4):
    """The person has read everything from `peer` up to message id."""

    peer: str
    id: Number


class Typing(Wire, frozen=True, tag=5):
    """Device -> server: I type to `peer`. Server -> device: `peer` types to you."""

    peer: str
    on: bool


class Watch(Wire, frozen=True, tag=6):
    """Tell me `peer`'s presence for the next five minutes."""

    peer: str


class Block(Wire, frozen=True, tag=7):
    """Refuse (on) or accept again (off) what `peer` sends. Answered by the same."""

    peer: str
    on: bool


class Ping(Wire, frozen=True, tag=8):
    """Either side; answered by Pong with the same number."""

    n: Number


class Link(Wire, frozen=True, tag=9):
    """Ask for a further device of this account; answered by Linked."""

    name: Name


class Unlink(Wire, frozen=True, tag=10):
    """Remove a device of this account. Answered by the same."""

    device: Number


class Bye(Wire, frozen=True, tag=11):
    """The device leaves; the server closes."""


class Hide(Wire, frozen=True, tag=12):
    """Hide (on) or show again when this account is online and was last seen; who hides sees it of
    nobody else either. Answered by the same to all devices, which also hear it after Welcome if
    it is on.
    """

    on: bool


# ---- server -> device: 32 .. 63 ---------------------------------------------------------


class Welcome(Wire, frozen=True, tag=32):
    """Logged in. submitted: the highest c taken; confirmed: the highest q confirmed.

    If `era` differs from the one the device knows, the server was restored from a backup:
    forget `last`, send every kept message with c > submitted again.
    """

    account: Name
    device: Number
    era: Number
    submitted: Number
    confirmed: Number
    tail: Number
    time: Number
    frame_max: Number
    submits_max: Number
    ping_s: Number


class Stored(Wire, frozen=True, tag=33):
    """One check mark: message c is on disk and has this id."""

    c: Number
    id: Number


class Refused(Wire, frozen=True, tag=34):
    """Message c was not taken. See the table of codes for which ones use up the number."""

    c: Number
    code: str
    expected: Number = 0  # with "gap": the number to use
    retry_after: Number = 0  # seconds


class Message(Wire, frozen=True, tag=35):
    """Item: a message. `sender`, `device`, `c` are its identity, `id` its order and time."""

    prev: Number
    q: Number
    sender: str
    id: Number
    device: Number
    c: Number
    body: msgspec.Raw


class Copy(Wire, frozen=True, tag=36):
    """Item: what another (or this) device of the account sent to `peer`."""

    prev: Number
    q: Number
    peer: str
    id: Number
    device: Number
    c: Number
    body: msgspec.Raw  # null for the device that sent it


class Receipt(Wire, frozen=True, tag=37):
    """Item: what you sent to `peer` is delivered up to one id and read up to another."""

    prev: Number
    q: Number
    peer: str
    delivered: Number
    read: Number


class Failed(Wire, frozen=True, tag=38):
    """Item: the message c of `device` to `peer` will not be delivered.

    first > 0: all your messages to `peer` with first <= id <= `id` that have no second check
    mark (device and c are 0 then).
    """

    prev: Number
    q: Number
    peer: str
    device: Number
    c: Number
    id: Number
    code: str
    first: Number = 0


class Trimmed(Wire, frozen=True, tag=39):
    """Item: waiting messages among the items first..last were removed before you came.

    `device` is 0. code: "trimmed" (too many waited) or "expired" (they waited too long).
    """

    prev: Number
    q: Number
    device: Number
    first: Number
    last: Number
    code: str = "trimmed"


class EndOfQueue(Wire, frozen=True, tag=40):
    """Everything that had waited was sent."""

    q: Number


class ReadDone(Wire, frozen=True, tag=41):
    """The read mark is on disk."""

    peer: str
    id: Number


class Presence(Wire, frozen=True, tag=43):
    """last_seen: microseconds since 1970, 0 if unknown."""

    peer: str
    online: bool
    last_seen: Number


class Pong(Wire, frozen=True, tag=45):
    """The answer to Ping."""

    n: Number


class Linked(Wire, frozen=True, tag=46):
    """A new device number and its key, shown once. device 0: refused with `code`."""

    device: Number
    key: Name
    code: str = ""


class Replaced(Wire, frozen=True, tag=47):
    """Another session of this device, or a new registration, took over. The server closes."""


class Error(Wire, frozen=True, tag=48):
    """Something was refused. `about`: the command; fatal: the server closes."""

    code: str
    about: str = ""
    fatal: bool = False
    retry_after: Number = 0
    id: str = ""  # to quote when asking the operator


FromDevice = (
    Hello
    | Submit
    | Confirm
    | Read
    | Typing
    | Watch
    | Block
    | Hide
    | Ping
    | Pong
    | Link
    | Unlink
    | Bye
)
ToDevice = (
    Welcome
    | Stored
    | Refused
    | Message
    | Copy
    | Receipt
    | Failed
    | Trimmed
    | EndOfQueue
    | ReadDone
    | Typing
    | Presence
    | Block
    | Hide
    | Ping
    | Pong
    | Linked
    | Unlink
    | Replaced
    | Error
)
Item = Message | Copy | Receipt | Failed | Trimmed
