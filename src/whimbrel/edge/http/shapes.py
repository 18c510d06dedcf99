"""Requests and answers of the HTTP interface: every type in one file.

The OpenAPI document is generated from these. Fields may be added; a reader ignores the ones it
does not know. Times are microseconds since 1970. A long file, because it is a list, and whoever
writes a program for these addresses looks for all of them in one place.
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


class SessionLine(Shape, frozen=True):
    """front: see FrontLine. address: whence it comes, as limits count it. agent: its own word.

    pushed: the last item it was sent. waiting: its connection is lost, and it may be resumed.
    """

    front: str
    address: str
    agent: str
    connected_s: float
    unsent_bytes: int
    pushed: int
    waiting: bool = False


class DeviceLine(Shape, frozen=True):
    """kind: own, offline (where messages wait for XMPP clients) or resource (an XMPP client).

    confirmed: -1 for one that takes no messages.
    """

    device: int
    name: str
    submitted: int
    confirmed: int
    last_seen_us: int
    online: bool
    kind: str = "own"
    session: SessionLine | None = None


class SendLine(Shape, frozen=True):
    """A message that its recipient's actor has not acknowledged. retry_in_s: 0 if not under way."""

    id: int
    peer: str
    device: int
    accepted_us: int
    attempts: int
    retry_in_s: float


class ActorState(Shape, frozen=True):
    """status: ready, asleep, loading (reads from the database), waiting (for a commit before it
    may read) or paused (it crashed too often). needs: reads in a row for one message.
    """

    status: str
    mailbox: int
    needs: int
    alarm_in_s: float  # until it looks at its retries again; -1: not set


class UserDetails(Shape, frozen=True):
    """tail: the last number of its inbox. owed: peers that have not acknowledged a receipt."""

    address: str
    created_us: int
    last_seen_us: int
    tail: int
    waiting: int
    open: int
    devices: list[DeviceLine]
    sends: list[SendLine] = []
    owed: int = 0
    actor: ActorState | None = None
    signup_closed: bool = False


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


class QueueLine(Shape, frozen=True):
    """One queue; where there are many of a kind, the longest one, and whose it is.

    name: turns, writer, output, windows, timers, mailbox, retries or inboxes (docs/operations.md).
    total: of all of its kind. age_ms: how long the head has waited. Rates a second. limit: where it
    refuses, or an alert rings; 0: it has none. state: what a mailbox waits for.
    """

    name: str
    owner: str
    unit: str
    length: int
    total: int
    age_ms: float
    arrived_per_s: float
    served_per_s: float
    limit: int
    state: str


class Spread(Shape, frozen=True):
    """How long something took in the last second, in ms, and how often it was done."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    per_s: float


class Traffic(Shape, frozen=True):
    """A second. accepted: first check mark; delivered: second; handled: messages to actors."""

    accepted_per_s: float
    delivered_per_s: float
    retried_per_s: float
    handled_per_s: float
    commits_per_s: float
    rows_per_s: float
    logins_per_s: float


class FrontLine(Shape, frozen=True):
    """front: native, websocket, xmpp, xmpp-websocket, bosh, component or http."""

    front: str
    connections: int
    logged_in: int


class ReaderLine(Shape, frozen=True):
    """A connection that has not read yet what it was sent."""

    who: str
    front: str
    unsent_bytes: int


class BusyLine(Shape, frozen=True):
    """An actor: messages a second, how many wait for it, and what it waits for."""

    address: str
    per_s: float
    waiting: int
    state: str


class InboxLine(Shape, frozen=True):
    address: str
    waiting: int


class Machine(Shape, frozen=True):
    cpu_percent: float  # of one processor, in the last second
    memory_mib: float
    descriptors_percent: float
    disk_free_mib: float
    certificate_days: float


class AuditBrief(Shape, frozen=True):
    """at_us 0: there was no audit yet since the start."""

    at_us: int
    messages: int
    unexplained: int


class Snapshot(Shape, frozen=True):
    """The server in one second; made once, however many look. reason: why it is not ready.

    busiest and inboxes: the largest first; inboxes are of actors in memory and of the last audit.
    upgrade: what is under way; empty: nothing.
    """

    at_us: int
    version: str
    domain: str
    uptime_s: int
    ready: bool
    reason: str
    actors: int
    sessions: int
    traffic: Traffic
    turn: Spread
    commit: Spread
    lag: Spread
    queues: list[QueueLine]
    fronts: list[FrontLine]
    readers: list[ReaderLine]
    busiest: list[BusyLine]
    inboxes: list[InboxLine]
    machine: Machine
    audit: AuditBrief
    alerts: list[AlertLine]
    upgrade: str = ""


class History(Shape, frozen=True):
    """One value a second, the newest last: what charts begin with. at_us: of the newest."""

    at_us: int
    accepted_per_s: list[float]
    delivered_per_s: list[float]
    turn_p99_ms: list[float]
    commit_p99_ms: list[float]
    lag_max_ms: list[float]
    queue_length: list[int]
    cpu_percent: list[float]
    sessions: list[int]


class Bars(Shape, frozen=True):
    """A histogram since the start. counts[n]: at most bounds_us[n]; the last one: more."""

    bounds_us: list[int]
    counts: list[int]
    sum_us: int


class Histograms(Shape, frozen=True):
    turn: Bars
    commit: Bars
    lag: Bars


class Settings(Shape, frozen=True):
    """The configuration in force by key, as text. Of what may be secret only whether it is set."""

    settings: dict[str, str]


class FindingLine(Shape, frozen=True):
    """Something that the audit cannot explain: account numbers and a message's id."""

    what: str
    sender: int
    recipient: int
    id: int


class AuditShown(Shape, frozen=True):
    """The last audit. at_us 0: there was none yet since the start."""

    at_us: int
    took_s: float
    accounts: int
    messages: int
    unexplained: int
    classes: dict[str, int]
    findings: list[FindingLine]


class AuditStarted(Shape, frozen=True):
    """started: false if one is under way already."""

    started: bool


class TraceLine(Shape, frozen=True):
    """at_us 0: when is not known."""

    at_us: int
    what: str
    more: str


class TraceShown(Shape, frozen=True):
    id: int
    sender: str
    recipient: str
    device: int
    c: int
    lines: list[TraceLine]


class Traces(Shape, frozen=True):
    """Every message of this id: two senders may share one."""

    messages: list[TraceShown]


class AttemptLine(Shape, frozen=True):
    """number: all but the first and last digits are hidden. what: pin or verify.

    result: sent, right, or the code of the refusal. client: the network address.
    """

    at_us: int
    number: str
    what: str
    result: str
    client: str


class LockLine(Shape, frozen=True):
    """Sign-up is refused for whom (empty: everybody). why: closed, wrong, pins or wait.

    until_us 0: until an administrator opens it. Only closed numbers are shown whole.
    """

    whom: str
    why: str
    until_us: int


class SignUps(Shape, frozen=True):
    """attempts: the last ones since the start, the newest first."""

    attempts: list[AttemptLine]
    locks: list[LockLine]
    more_locks: bool
    numbers: int
    pins_today: int
    wrong_today: int


class ClosedNumber(Shape, frozen=True):
    number: str
    closed: bool


class Disconnected(Shape, frozen=True):
    address: str
    device: int


class NewToken(Shape, frozen=True):
    """days: how long it is good for; 0: until it is revoked. `read` is part of every scope."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$(?!\n)", examples=["grafana"])]
    scopes: Annotated[
        list[Annotated[str, Meta(pattern=r"^(read|users|operate|admin)$(?!\n)")]],
        Meta(min_length=1, max_length=4),
    ]
    days: Annotated[int, Meta(ge=0, le=3_650)] = 0


class TokenLine(Shape, frozen=True):
    """expires_us 0: never; last_used_us 0: not since the start. by: who made it."""

    name: str
    scopes: list[str]
    created_us: int
    expires_us: int
    last_used_us: int
    by: str


class TokenShown(Shape, frozen=True):
    """The token is told once, here."""

    name: str
    scopes: list[str]
    expires_us: int
    token: str


class Tokens(Shape, frozen=True):
    tokens: list[TokenLine]


class Revoked(Shape, frozen=True):
    name: str


class WhoAmI(Shape, frozen=True):
    """What the bearer of this token may do."""

    name: str
    scopes: list[str]
    expires_us: int


class ActLine(Shape, frozen=True):
    """An administrative act. who: a token's name, or the user of this machine by command line.

    on: on whom or what. result: ok, or the code of the refusal. source: the network address, or
    cli. id: rises with time.
    """

    id: int
    at_us: int
    who: str
    what: str
    on: str
    result: str
    source: str


class ActPage(Shape, frozen=True):
    """The newest first. next: give it as `before` to read on; 0 at the end."""

    acts: list[ActLine]
    next: int


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


class UpgradeRequest(Shape, frozen=True):
    """path: a checkout, an installed package or a wheel, as the server sees it. who: for the
    history. fast: only the quick checks and no canary, for developers.
    """

    path: Annotated[str, Meta(min_length=1, max_length=4_096, examples=["/srv/whimbrel-2.whl"])]
    who: Annotated[str, Meta(max_length=100)] = ""
    fast: bool = False


class RollbackRequest(Shape, frozen=True):
    who: Annotated[str, Meta(max_length=100)] = ""


class UpgradeStep(Shape, frozen=True):
    """One check. result: "running", "ok" or "refused"."""

    name: str
    result: str
    text: str
    seconds: float
    notes: list[str] = []


class UpgradeMeasure(Shape, frozen=True):
    """One type of message under both versions: how often, CPU time of one (microseconds), and
    kinds of effects that come more or less often.
    """

    message: str
    old_calls: int
    new_calls: int
    old_us: float
    new_us: float
    effects: str = ""


class Upgrade(Shape, frozen=True):
    """One upgrade or rollback. Times in seconds since 1970; ended_s 0: it is under way.

    phase: "pack", "check", "load", "canary", "watch" or "ended". result: "accepted", "refused",
    "rolled back", "given up" (the server stopped) or "left out" (at a start). share: of the
    accounts that have it. failed_new: messages that failed on the new version only; affected:
    messages that were run again on the old one, none of them lost. pause_ms: the longest piece of
    work on the server's loop; pause_cpu_ms: its CPU time.
    """

    number: int
    version: str
    place: str
    who: str
    phase: str
    result: str
    text: str
    began_s: float
    ended_s: float = 0.0
    fast: bool = False
    share: float = 0.0
    steps: list[UpgradeStep] = []
    failed_new: int = 0
    failed_both: int = 0
    affected: int = 0
    pause_ms: float = 0.0
    pause_cpu_ms: float = 0.0
    measures: list[UpgradeMeasure] = []
    notes: list[str] = []


class UpgradeState(Shape, frozen=True):
    """in_use: the version that all accounts have; number 0: the installed one. before: what a
    rollback brings back, "" if nothing. last: the upgrade under way, or the last one.
    """

    number: int
    in_use: str
    installed: str
    before: str
    last: Upgrade | None = None


class UpgradeHistory(Shape, frozen=True):
    """The newest first."""

    upgrades: list[Upgrade]
