"""Requests and answers of the HTTP interface: every type in one file.

The OpenAPI document is generated from these. Fields may be added; a reader ignores the ones it
does not know. Times are microseconds since 1970.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from whimbrel.domain.discreet import discreet
from whimbrel.domain.media import NAME_CHARS_MAX, TYPE_CHARS_MAX


class Shape(msgspec.Struct, frozen=True):
    """Base of all of them."""

    __repr__ = discreet


Number = Annotated[
    str, Meta(max_length=64, description="A telephone number.", examples=["+4915112345678"])
]
DeviceName = Annotated[str, Meta(max_length=64, description="What people call this device.")]


class PinRequest(Shape, frozen=True):
    """Ask for a PIN."""

    number: Number


class PinOnItsWay(Shape, frozen=True):
    """The same for numbers with and without an account. retry_after_s: until the next PIN."""

    expires_in_s: int
    retry_after_s: int


class ShownPin(Shape, frozen=True):
    """number and pin as the console sender has shown them. Secret: see discreet."""

    number: str
    pin: str


class Pins(Shape, frozen=True):
    """The newest first."""

    pins: list[ShownPin]


class Verification(Shape, frozen=True):
    """Trade the PIN for an account and a key."""

    number: Number
    pin: Annotated[str, Meta(max_length=16, examples=["12345"])]
    device_name: DeviceName = ""


class Native(Shape, frozen=True):
    """Where the own protocol is spoken, over TLS 1.3."""

    host: str
    port: int


class SignedUp(Shape, frozen=True):
    """The key is the password of every later login; it is told once, here.

    created: false if the account existed; its older keys and devices ended now. fingerprint:
    SHA-256 of the server's certificate, or empty if an authority signed it.
    """

    account: str
    device: int
    key: str
    created: bool
    native: Native
    fingerprint: str


class HostLink(Shape, frozen=True):
    """A way to connect (XEP-0156): what it is, and where."""

    rel: str
    href: str


class HostMeta(Shape, frozen=True):
    """Where XMPP clients connect."""

    links: list[HostLink]


class Health(Shape, frozen=True):
    status: str


class NewUser(Shape, frozen=True):
    address: Annotated[str, Meta(max_length=64, examples=["alice"])]
    device_name: DeviceName = ""


class NewKey(Shape, frozen=True):
    """A key for one device; all other devices of the account are gone."""

    account: str
    device: int
    key: str


class UserLine(Shape, frozen=True):
    address: str
    created_us: int
    last_seen_us: int
    waiting: int


class UserPage(Shape, frozen=True):
    """next: give it as `after` to read on; empty at the end."""

    users: list[UserLine]
    next: str


class DeviceLine(Shape, frozen=True):
    device: int
    name: str
    submitted: int
    confirmed: int
    last_seen_us: int
    online: bool


class UserDetails(Shape, frozen=True):
    address: str
    created_us: int
    last_seen_us: int
    tail: int
    waiting: int
    open: int
    devices: list[DeviceLine]


class LiveSession(Shape, frozen=True):
    """Items up to `pushed` were sent to this device, up to `confirmed` it has stored."""

    device: int
    pushed: int
    confirmed: int


class LiveMessage(Shape, frozen=True):
    """What only the memory of a running server knows of a message that is under way."""

    attempts: int
    retry_in_s: float
    sessions: list[LiveSession]


class Deleted(Shape, frozen=True):
    address: str


class Stats(Shape, frozen=True):
    stats: dict[str, float]


class AlertLine(Shape, frozen=True):
    """One change of one alert. since_s, at_s: seconds since 1970."""

    name: str
    active: bool
    severity: str  # warning or critical
    owner: str
    text: str
    cause: str
    value: float
    threshold: float
    since_s: float
    at_s: float


class Alerts(Shape, frozen=True):
    """history: the last changes, the newest last."""

    active: list[AlertLine]
    history: list[AlertLine]


class MediaRequest(Shape, frozen=True):
    """Ask for a slot. sha256: of the file, hex. recipients: how many accounts are to get it."""

    name: Annotated[str, Meta(max_length=NAME_CHARS_MAX, examples=["monster.jpg"])]
    size: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    type: Annotated[str, Meta(max_length=TYPE_CHARS_MAX, examples=["image/jpeg"])]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$(?!\n)")] | None = None
    recipients: Annotated[int, Meta(ge=0, le=100_000)] = 0


class MediaSlot(Shape, frozen=True, omit_defaults=True):
    """upload: where to send the bytes, in pieces of at most chunk_max, until expires_at (us).

    direct: if there, the whole file may be PUT to this address instead.
    """

    upload: str
    chunk_max: int
    expires_at: int
    direct: str = ""


class MediaDone(Shape, frozen=True, omit_defaults=True):
    """What goes into a message's body as `media`. Sizes in bytes and pixels, duration in seconds.

    thumbnail: Base64 of a WebP picture; blur: BlurHash; sha256: of the file as it is downloaded.
    """

    link: str
    size: int
    type: str
    name: str
    sha256: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: str | None = None
    blur: str | None = None


class MediaConfirmed(Shape, frozen=True):
    """expires_at: when the file will be gone (microseconds since 1970)."""

    expires_at: int
