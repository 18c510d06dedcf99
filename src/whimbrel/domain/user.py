"""The state of one user's actor. Types only; the rules are in logic/.

A state object is small (an idle one leaves memory), holds no body except of messages that
are under way, and can always be loaded again from its rows.
"""

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.rows import OWN, AccountRow, DeviceRow, PairRow

NEVER = 1 << 62  # a time that does not come, in us


class Device:
    """One device of the account; numbers are never reused.

    `confirmed` is NEVER for a RESOURCE that takes no messages: it holds nothing up.
    """

    __slots__ = (
        "confirmed",
        "key_hash",
        "kind",
        "last_id",
        "last_seen_us",
        "name",
        "number",
        "ordinal",
        "scram",
        "submitted",
        "via",
    )

    def __init__(
        self, number: int, key_hash: bytes, name: str, kind: int = OWN, via: int = 0
    ) -> None:
        self.number = number
        self.key_hash = key_hash
        self.name = name
        self.submitted = 0
        self.last_id = 0
        self.confirmed = 0
        self.ordinal = 0
        self.last_seen_us = 0
        self.kind = kind
        self.via = via
        self.scram = b""

    @classmethod
    def of(cls, row: DeviceRow) -> "Device":
        device = cls(row.device, row.key_hash, row.name, row.kind, row.via)
        device.scram = row.scram
        device.submitted = row.submitted
        device.last_id = row.last_id
        device.confirmed = row.confirmed
        device.ordinal = row.ordinal
        device.last_seen_us = row.last_seen_us
        return device


class Open(msgspec.Struct, gc=False):
    """A message in the sent log that the peer has not acknowledged."""

    id: int
    device: int
    c: int
    body: bytes
    accepted_us: int
    attempts: int = 0
    retry_us: int = 0  # monotonic; 0: not under way yet
    __repr__ = discreet


class Pair:
    """What this user knows of its traffic with one peer, in both directions."""

    __slots__ = (
        "acked_delivered_id",
        "acked_read_id",
        "address",
        "blocked",
        "delivered_id",
        "exists",
        "hidden",
        "kept_id",
        "open",
        "peer",
        "peer_delivered_id",
        "peer_read_id",
        "peer_removed_id",
        "read_id",
        "receipt_attempts",
        "receipt_q",
        "receipt_retry_us",
        "removed",
        "ring",
        "stored_id",
        "wrote",
    )

    def __init__(self, peer: int, address: str) -> None:
        self.peer = peer
        self.address = address
        self.exists = True  # the peer's account, as of loading
        self.wrote = False
        self.blocked = False
        self.stored_id = 0
        self.ring: dict[int, str] = {}
        self.delivered_id = 0
        self.read_id = 0
        self.removed: list[tuple[int, int, str]] = []
        self.acked_delivered_id = 0
        self.acked_read_id = 0
        self.receipt_attempts = 0
        self.receipt_retry_us = 0
        self.peer_delivered_id = 0
        self.peer_read_id = 0
        self.peer_removed_id = 0
        self.receipt_q = 0
        self.hidden: list[tuple[int, int]] = []  # ids refused by a block, not told yet
        self.kept_id = 0  # no row above this id was closed in another way than by a block
        self.open: dict[int, Open] = {}  # by id, oldest first

    @property
    def owed(self) -> bool:
        """True while the sender has not acknowledged the newest receipt."""
        return (
            self.delivered_id > self.acked_delivered_id
            or self.read_id > self.acked_read_id
            or bool(self.removed)
        )


class Flight(msgspec.Struct, gc=False):
    """What is known of one item sent to a device and not yet confirmed."""

    q: int
    kind: int
    peer: int
    id: int
    bytes: int = 0
    sent_us: int = 0


class Attachment:
    """A live session of a device, kept by the node's registry, not by the actor.

    A cursor of NEVER belongs to an XMPP client that takes no messages now.
    """

    __slots__ = (
        "base",
        "bytes",
        "cursor",
        "device",
        "directed",
        "ended",
        "flights",
        "ordinal",
        "presence",
        "priority",
        "reading",
        "resource",
        "said",
        "seen_us",
        "sent",
        "session",
    )

    def __init__(
        self,
        device: int,
        session: int,
        ordinal: int,
        cursor: int,
        seen_us: int = 0,
        resource: str = "",
    ) -> None:
        self.device = device
        self.session = session
        self.ordinal = ordinal
        self.base = cursor  # flights know every item in (base, cursor]
        self.cursor = cursor  # all rows up to here were sent, or are gone
        self.sent = cursor  # the last item sent: `prev` of the next one
        self.flights: list[Flight] = []  # sent, not confirmed, rising; oldest first
        self.bytes = 0  # of all flights
        self.reading = False  # a read of the inbox is under way
        self.seen_us = seen_us  # monotonic: when the session was heard of, at its latest
        self.ended = False  # end-of-queue was told since the last catch-up
        self.resource = resource  # of an XMPP client; else ""
        self.said = 0  # number of its presence, see im.Available
        self.presence = b""  # its last one as a stanza without addresses; b"": not available
        self.priority = 0
        self.directed: dict[str, int] | None = None  # JIDs told of us beside the roster -> peer

    @property
    def there(self) -> bool:
        """Does this session make the account present?"""
        return not self.resource or bool(self.presence)


class Contact:
    """One entry of the roster. `state`: the bits of domain/rows."""

    __slots__ = ("address", "groups", "name", "peer", "request", "state")

    def __init__(self, peer: int, address: str) -> None:
        self.peer = peer
        self.address = address
        self.name = ""
        self.groups: tuple[str, ...] = ()
        self.state = 0
        self.request = b""


class PushTo(msgspec.Struct, array_like=True, frozen=True):
    """Whom to tell that something waits (XEP-0357).

    id: of the notification. home: the component's actor. stanza: the notification, an iq.
    """

    id: str
    jid: str
    node: str
    home: int
    stanza: bytes
    __repr__ = discreet


class Token(msgspec.Struct, array_like=True, frozen=True):
    """A token of FAST (XEP-0484) and the one before it. serial: microseconds since 1970 at its
    issue; older: 0 when it is gone.
    """

    agent: str
    serial: int
    count: int = 0
    older: int = 0
    older_count: int = 0


class User:
    """A user's actor. `exists` is False for an address that nobody registered."""

    __slots__ = (
        "address",
        "alarm_us",
        "attached",
        "blocked",
        "contacts",
        "contacts_hour",
        "contacts_used",
        "created_us",
        "deleted",
        "devices",
        "exists",
        "forgot",
        "hidden",
        "last_device",
        "last_id",
        "last_seen_us",
        "loaded",
        "more",
        "number",
        "open_count",
        "owing",
        "pairs",
        "pushed_us",
        "pushes",
        "roster",
        "strays_us",
        "tail",
        "waiting",
        "watchers",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.address = ""
        self.exists = False
        self.deleted = False
        self.created_us = 0
        self.last_id = 0
        self.tail = 0
        self.waiting = 0
        self.last_device = 0
        self.last_seen_us = 0
        self.contacts_hour = 0
        self.contacts_used = 0
        self.hidden = False  # shows nobody when it is there
        self.contacts = 0  # rows in the roster
        self.roster: dict[int, Contact] | None = None  # None: not loaded
        self.blocked: set[int] = set()  # who of the roster is blocked; loaded with it
        self.pushes: tuple[PushTo, ...] | None = None  # logic/push.py; None: not loaded
        self.pushed_us = 0  # when a notification was sent last; monotonic
        self.strays_us = 0  # when resources without a session go; monotonic, 0: not known
        self.devices: dict[int, Device] = {}
        self.pairs: dict[int, Pair] = {}
        self.forgot = False  # whether a pair was dropped from here since the actor woke
        self.open_count = 0
        self.owing: set[int] = set()  # peers with open rows or an owed receipt
        self.attached: dict[int, Attachment] = {}  # by device; the registry's own dict
        self.watchers: dict[int, int] = {}  # peer -> until_us
        self.loaded: dict[object, object] = {}  # answers to NotLoaded, taken by the rule
        # What newer rules remember until a restart makes fields of it (docs/upgrade.md).
        self.more: dict[str, object] | None = None
        self.alarm_us = NEVER  # monotonic time at which the runtime wakes this actor

    @property
    def there(self) -> bool:
        """Is anybody here, as others may see it?"""
        return any(att.there for att in self.attached.values())


__all__ = [
    "NEVER",
    "AccountRow",
    "Attachment",
    "Contact",
    "Device",
    "Flight",
    "Open",
    "Pair",
    "PairRow",
    "PushTo",
    "Token",
    "User",
]
