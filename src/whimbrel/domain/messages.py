"""Everything an actor can be told. Values; the front ends turn bytes into these.

`request` says whether the mailbox bound applies: requests may be answered `busy`,
acknowledgements and alarms are always taken. All but those from the runtime may cross nodes,
as arrays (cluster/packs.py): they only gain optional fields, at their end.
"""

from typing import ClassVar

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.rows import InboxRow


class ToActor(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Base of all messages to actors."""

    request: ClassVar[bool] = False
    __repr__ = discreet


# ---- from a session of one of the account's own devices --------------------------------


class Hello(ToActor, frozen=True):
    """Log in. `last`: highest inbox number the device has stored (0: none)."""

    request: ClassVar[bool] = True
    device: int
    session: int
    key_hash: bytes
    last: int
    era: int = 0  # the era `last` belongs to


class Attach(ToActor, frozen=True):
    """A session says where it stands (after `unknown session`, and every 60 s).

    last: highest item forwarded to the device; confirmed: highest confirm seen.
    """

    device: int
    session: int
    ordinal: int
    last: int
    confirmed: int


class Detach(ToActor, frozen=True):
    device: int
    session: int


class Submit(ToActor, frozen=True):
    """A device sends. `peer` is account_number(to); `body` is opaque; `hash` covers both.

    refused: a code if the edge found it unfit (body too big): it only uses up its number.
    ref: what the client itself calls the message, kept with its ledger line.
    """

    request: ClassVar[bool] = True
    device: int
    session: int
    c: int
    to: str
    peer: int
    hash: int
    body: bytes
    refused: str = ""
    ref: str = ""


class Confirm(ToActor, frozen=True):
    """The device has stored and shown all items up to q."""

    device: int
    session: int
    q: int


class Rewind(ToActor, frozen=True):
    """The session saw a gap: send again from the item after `last`."""

    device: int
    session: int
    last: int


class MarkRead(ToActor, frozen=True):
    """The person has read all messages from `peer` up to message id `id`."""

    request: ClassVar[bool] = True
    device: int
    session: int
    to: str
    peer: int
    id: int


class Typing(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    to: str
    peer: int
    on: bool


class Watch(ToActor, frozen=True):
    """Show me `peer`'s presence for the next limits.watch_s seconds."""

    request: ClassVar[bool] = True
    device: int
    session: int
    to: str
    peer: int


class Block(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    to: str
    peer: int
    on: bool


class Hide(ToActor, frozen=True):
    """Show nobody when this account is there, or show it again."""

    request: ClassVar[bool] = True
    device: int
    session: int
    on: bool


class Link(ToActor, frozen=True):
    """Give the account a further device with this key."""

    request: ClassVar[bool] = True
    device: int
    session: int
    key_hash: bytes
    name: str
    tag: int  # comes back in LinkDone
    scram: bytes = b""


class Unlink(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    gone: int


FromSession = Submit | Confirm | MarkRead | Typing | Watch | Block | Hide | Link | Unlink | Rewind


# ---- from other users' actors ----------------------------------------------------------


class Deliver(ToActor, frozen=True):
    """One message for the recipient's inbox. prev/low: next older / lowest open id, or 0."""

    request: ClassVar[bool] = True
    sender: int
    address: str  # the sender's
    id: int
    prev: int
    low: int
    deadline_us: int
    device: int
    c: int
    body: bytes


class Ack(ToActor, frozen=True):
    """The recipient's answer to Deliver. code "": stored; else refused for good."""

    peer: int
    id: int
    code: str


class BusyAck(ToActor, frozen=True):
    """The recipient cannot take it now: try again later; the row stays open."""

    peer: int
    id: int


class Receipt(ToActor, frozen=True):
    """State of the pair as the recipient knows it, repeated until ReceiptAck."""

    peer: int
    delivered_id: int
    read_id: int
    removed: tuple[tuple[int, int, str], ...]


class ReceiptAck(ToActor, frozen=True):
    peer: int
    delivered_id: int
    read_id: int
    removed: tuple[tuple[int, int, str], ...]


class PeerTyping(ToActor, frozen=True):
    request: ClassVar[bool] = True
    peer: int
    address: str
    on: bool


class PeerWatch(ToActor, frozen=True):
    request: ClassVar[bool] = True
    peer: int
    address: str


class PeerPresence(ToActor, frozen=True):
    request: ClassVar[bool] = True
    peer: int
    address: str
    online: bool
    last_seen_us: int


# ---- from the sign-up desk and the administrator ---------------------------------------


class Register(ToActor, frozen=True):
    """Create the account, or give it a new key: all its other devices are gone at once."""

    request: ClassVar[bool] = True
    address: str
    key_hash: bytes
    name: str  # of the device
    reply: int  # who waits for Registered
    scram: bytes = b""  # verifiers of the key
    house: bool = False  # the server itself asks, for one of its own accounts


class RemoveAccount(ToActor, frozen=True):
    request: ClassVar[bool] = True
    reply: int


class Describe(ToActor, frozen=True):
    """An administrator looks at the actor; answered with Description."""

    request: ClassVar[bool] = True
    reply: int


class Disconnect(ToActor, frozen=True):
    """An administrator ends the session of a device, which may come back; answered with Removed."""

    request: ClassVar[bool] = True
    device: int
    reply: int


class Prove(ToActor, frozen=True):
    """Whoever asks over HTTP says to be this device; answered with Proven or Rejected."""

    request: ClassVar[bool] = True
    device: int
    key_hash: bytes
    reply: int


class Inspect(ToActor, frozen=True):
    """An administrator asks where a message to (or from) `peer` is; answered with Inspected."""

    request: ClassVar[bool] = True
    peer: int
    id: int
    reply: int


# ---- to the sign-up desk ---------------------------------------------------------------


class RequestPin(ToActor, frozen=True):
    """number: E.164; prefix: its country ("+49"); client: the caller's network address.

    `pin` was drawn by the caller (chance is an argument); pin_hash is its keyed hash.
    """

    request: ClassVar[bool] = True
    number: str
    prefix: str
    client: str
    pin: str
    pin_hash: bytes
    reply: int


class VerifyPin(ToActor, frozen=True):
    request: ClassVar[bool] = True
    number: str
    client: str
    pin_hash: bytes
    key_hash: bytes
    name: str
    reply: int
    scram: bytes = b""


class CloseNumber(ToActor, frozen=True):
    """An administrator closes sign-up for a number, or opens it again; answered with Removed."""

    request: ClassVar[bool] = True
    number: str
    on: bool
    reply: int


class DescribeDesk(ToActor, frozen=True):
    """An administrator looks at the desk; answered with DeskDescription."""

    request: ClassVar[bool] = True
    reply: int


class PinNotSent(ToActor, frozen=True):
    """The sender of text messages failed: the PIN does not count."""

    number: str


# ---- from the runtime ------------------------------------------------------------------


class Alarm(ToActor, frozen=True):
    """The time an actor asked for has come, or a scan found work that it owes."""


class TryAgain(ToActor, frozen=True):
    """These peers have moved to another node, or can be heard again: what waits for them is tried
    now, and its back-off begins anew.
    """

    peers: tuple[int, ...]


class ExpireInbox(ToActor, frozen=True):
    """A scan found messages that were stored before this time (us) and never collected."""

    before_us: int


class ForgetLedger(ToActor, frozen=True):
    """A scan found ledger lines whose final state is older than this time (us)."""

    before_us: int


class ForgetArchive(ToActor, frozen=True):
    """A scan found archived messages that are older than this time (us)."""

    before_us: int


class InboxRead(ToActor, frozen=True):
    """Answer to the effect ReadInbox. Rows (after, upto]; `upto` is covered completely."""

    device: int
    session: int
    after: int
    upto: int
    rows: tuple[tuple[InboxRow, str], ...]  # with the peer's address
