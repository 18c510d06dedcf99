"""The rows, the same in every store. Each is a value: a snapshot taken inside a turn.

Keys only grow (message ids, inbox numbers, device numbers are never reused), so a batch
may apply all inserts, then all changes, then all removals, whatever order they came in.
Times are microseconds since 1970; 0 means "not yet". Codes are words of domain/errors.
"""

import msgspec

from whimbrel.domain.discreet import discreet

# sent.state; a final state never changes, except DELIVERED -> READ
OPEN, STORED, DELIVERED, READ, REFUSED, REMOVED = 0, 1, 2, 3, 4, 5
FINAL_STATES = (DELIVERED, READ, REFUSED, REMOVED)

# inbox.kind
MESSAGE, COPY, RECEIPT, FAILURE, TRIM = 0, 1, 2, 3, 4
LAST_WITH_BODY = COPY  # kinds up to this one hold a body

# device.kind
OWN, OFFLINE, RESOURCE = 0, 1, 2

# roster.state: bits of RFC 6121 appendix A, and whether the contact is listed
TO, FROM, ASK, ASKED, APPROVED, LISTED = 1, 2, 4, 8, 16, 32


class Row(msgspec.Struct, frozen=True, gc=False):
    """Base of all rows and row operations: one value of the closed union of writes."""

    __repr__ = discreet


class AccountRow(Row, frozen=True):
    """Upsert. `last_id` is a floor: the true last id is the maximum with the devices'."""

    id: int
    address: str
    created_us: int
    last_id: int
    tail: int  # the last inbox number given
    waiting: int  # rows with a body in the inbox: messages, and copies of own ones
    last_device: int  # the last device number given
    last_seen_us: int
    contacts_hour: int  # hour (us // 3.6e9) that contacts_used counts
    contacts_used: int
    deleted: bool = False  # a tombstone keeps the numbers
    hidden: bool = False  # shows nobody when it is there
    contacts: int = 0  # rows in its roster


class DeviceRow(Row, frozen=True):
    """Upsert, key (account, device). decisions/0013 tells of the kinds.

    kind: OWN (a device that speaks the own protocol), OFFLINE (where messages wait for the
    account's XMPP clients; one an account), RESOURCE (a bound XMPP client; `name` is its
    resource, `via` the device whose key it showed; it goes with its session).
    scram: verifiers of the key for SASL, as protocol/sasl packs them; written once, see DeviceKey.
    """

    account: int
    device: int
    key_hash: bytes  # sha256 of the key, 32 bytes
    name: str
    submitted: int
    last_id: int  # id given to its last accepted submit
    confirmed: int
    ordinal: int  # raised by every new session; the highest wins
    last_seen_us: int
    kind: int = OWN
    scram: bytes = b""
    via: int = 0


class DeviceKey(Row, frozen=True):
    """Change the key of one device."""

    account: int
    device: int
    key_hash: bytes
    scram: bytes


class DeviceGone(Row, frozen=True):
    account: int
    device: int


class SentRow(Row, frozen=True):
    """Insert, key (owner, id). `body` only while OPEN."""

    owner: int
    id: int
    peer: int
    device: int
    c: int
    hash: int
    state: int
    code: str
    accepted_us: int
    stored_us: int
    delivered_us: int
    read_us: int
    final_us: int
    body: bytes | None
    ref: str = ""  # the name that the sender's own client gave the message


class SentState(Row, frozen=True):
    """Change one row that is OPEN or STORED: the body goes, the time of the new state is set.

    to=STORED sets stored_us; DELIVERED sets delivered_us (and stored_us if 0) and final_us;
    REFUSED and REMOVED set code and final_us. A row in a final state stays as it is.
    """

    owner: int
    id: int
    state: int
    code: str
    at_us: int


class SentMarks(Row, frozen=True):
    """Change a range: rows to `peer` with after < id <= upto.

    state=DELIVERED: rows in STORED become DELIVERED (delivered_us, final_us);
    state=READ: rows in STORED or DELIVERED become READ (read_us, and what was missing);
    state=REMOVED: rows in STORED become REMOVED with `code` (final_us).
    """

    owner: int
    peer: int
    after: int
    upto: int
    state: int
    code: str
    at_us: int


class SentForget(Row, frozen=True):
    """Remove ledger lines of `owner` in a final state whose final_us < before_us."""

    owner: int
    before_us: int


class SentForgetAll(Row, frozen=True):
    """Remove every sent row of `owner` (the account is deleted)."""

    owner: int


class InboxRow(Row, frozen=True):
    """Insert, key (owner, q). peer = from whom (MESSAGE), to whom (COPY), about whom.

    id/device/c: the message's id and identity (sender's device and submit number).
    RECEIPT: id = delivered watermark, extra = read watermark. FAILURE: `code`; a whole range
    of ids has device = c = 0, id = last, extra = first. TRIM: id = first, extra = last inbox
    number that was removed, `code` says why (trimmed, expired).
    """

    owner: int
    q: int
    kind: int
    peer: int
    id: int
    device: int
    c: int
    extra: int
    code: str
    stored_us: int
    body: bytes | None


class InboxGone(Row, frozen=True):
    """Remove one row."""

    owner: int
    q: int


class InboxUpto(Row, frozen=True):
    """Remove all rows of `owner` with q <= upto: one range delete."""

    owner: int
    upto: int


class PairRow(Row, frozen=True):
    """Upsert, key (owner, peer): what `owner` knows of its traffic with `peer`."""

    owner: int
    peer: int
    address: str  # the peer's
    wrote: bool  # owner has sent something to peer
    blocked: bool  # owner refuses what peer sends
    # as recipient
    stored_id: int
    ring: bytes  # MessagePack [[id, code], ...]: refused ids that the sender may ask again
    delivered_id: int
    read_id: int
    removed: bytes  # MessagePack [[from_id, to_id, code], ...] not yet acknowledged
    acked_delivered_id: int
    acked_read_id: int
    owed: bool  # a receipt is owed: partial index
    # as sender
    peer_delivered_id: int
    peer_read_id: int
    receipt_q: int  # inbox number of the one RECEIPT row about this peer, or 0
    peer_removed_id: int = 0  # removals up to this id were told to our devices
    hidden: bytes = b""  # MessagePack [[from_id, to_id], ...] refused by a block, not told yet


class PairsGone(Row, frozen=True):
    """Remove every pair row of `owner` (the account is deleted)."""

    owner: int


class RosterRow(Row, frozen=True):
    """Upsert, key (owner, peer): a contact of RFC 6121 section 2, or a request to become one.

    address: as in PairRow; of a contact elsewhere its bare JID ("@" first if it is a domain).
    state: bits. request: the stanza that asks for our presence, while ASKED.
    """

    owner: int
    peer: int
    address: str
    name: str
    groups: bytes  # MessagePack [str, ...]
    state: int
    request: bytes


class RosterGone(Row, frozen=True):
    owner: int
    peer: int


class RosterGoneAll(Row, frozen=True):
    """Remove every contact of `owner` (the account is deleted)."""

    owner: int


class DocumentRow(Row, frozen=True):
    """Upsert, key (owner, name): what an XMPP client keeps at the server ("vcard-temp",
    "private:{namespace}name")."""

    owner: int
    name: str
    at_us: int
    body: bytes


class DocumentGone(Row, frozen=True):
    owner: int
    name: str


class DocumentsGone(Row, frozen=True):
    """Remove every document of `owner` (the account is deleted)."""

    owner: int


class ArchiveRow(Row, frozen=True):
    """Insert, key (owner, id): a message that the operator chose to keep (limits.archive_s).

    id: one of the owner's own message ids, so that it rises and is a time. out: owner sent it.
    """

    owner: int
    id: int
    peer: int
    address: str  # the peer's
    out: bool
    body: bytes


class ArchiveForget(Row, frozen=True):
    """Remove what `owner` has from before this time (us)."""

    owner: int
    before_us: int


class SignupRow(Row, frozen=True):
    """Upsert, key `number`: a phone number that asked for a PIN. pin_hash b"" = none valid."""

    number: str
    pin_hash: bytes
    expires_us: int
    tries: int
    sends: int
    next_send_us: int
    day: int
    sends_today: int


class SignupGone(Row, frozen=True):
    number: str


class CounterRow(Row, frozen=True):
    """Upsert, key `key`: a daily counter of the sign-up desk ("addr:192.0.2.1", "prefix:+49")."""

    key: str
    day: int
    used: int


class CountersGone(Row, frozen=True):
    """Remove counters of days before `day`."""

    day: int


class DeadLetterRow(Row, frozen=True):
    """Append: a message that killed its actor twice. `summary` never holds a body."""

    actor: int
    kind: str
    summary: str
    error: str
    at_us: int
