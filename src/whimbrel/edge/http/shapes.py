"""Requests and answers of the HTTP interface: every type in one file.

The OpenAPI document is generated from these. Fields may be added; a reader ignores the ones it
does not know. Times are microseconds since 1970.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from whimbrel.domain.discreet import discreet


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
