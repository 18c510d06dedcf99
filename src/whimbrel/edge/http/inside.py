"""All that the HTTP front end sees of the inside: arguments, given once by the node.

Knows no actor, no store and no sender of text messages; it is handed functions.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol, runtime_checkable

import msgspec
from aiohttp import web

from whimbrel.domain.answers import ToSession
from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.discreet import discreet
from whimbrel.domain.media import Media
from whimbrel.domain.messages import ToActor
from whimbrel.domain.ports import PinSender
from whimbrel.domain.wants import Want
from whimbrel.edge.http.office import Office
from whimbrel.edge.http.shapes import Alerts, UpgradeHistory, UpgradeState
from whimbrel.edge.transport import Application, Connection
from whimbrel.protocol.sasl.verifiers import Keeper, keep_nothing


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of this front end; each ends in a named answer or a closed connection."""

    body_bytes_max: int = 4_096
    body_s: float = 10.0  # until a request's body must be there, or a full network drained
    depth_max: int = 32  # brackets in a body
    head_s: float = 20.0  # until a request's head must be there, also on a kept connection
    ask_s: float = 10.0  # until an actor must have answered
    stop_s: float = 5.0  # for requests under way when the server stops
    connections_max: int = 2_000
    connections_per_client_max: int = 100
    requests_per_s: float = 5.0  # per client, sustained
    requests_burst: int = 40
    media_requests_per_s: float = 50.0  # the same for pieces of uploads and for files
    media_requests_burst: int = 500
    files_per_s: float = 200.0  # of the browser client: a visit is a dozen, from memory
    files_burst: int = 800
    wrong_tokens_per_s: float = 0.2  # of administration, per client; right ones are not counted
    wrong_tokens_burst: int = 20
    clients_max: int = 50_000  # clients whose rates are remembered
    page_max: int = 500  # rows of one listing


class Info(msgspec.Struct, frozen=True):
    """What a client has to know to connect. fingerprint "": signed by an authority."""

    domain: str
    native_port: int
    fingerprint: str = ""


class Ask(Protocol):
    """Tell an actor something and wait for its answer. Raises Busy or Unready."""

    def __call__(
        self, key: int, make: Callable[[int], ToActor], timeout_s: float
    ) -> Awaitable[ToSession]: ...


class Sockets(Protocol):
    """Admit a connection that becomes a WebSocket. Raises TooManyConnections, ShuttingDown."""

    def __call__(self, connection: Connection, address: str) -> Application: ...


class Requests(Protocol):
    """XMPP in the bodies of requests. Raises BadMessage, TooManyConnections, ShuttingDown, Busy."""

    @property
    def bytes_max(self) -> int:
        """Of one body."""

    def answer(self, data: bytes, address: str) -> Awaitable[bytes]: ...
    def away(self, data: bytes) -> int:
        """The node that has to be asked; -1: this one."""

    def unknown(self) -> bytes:
        """What is answered when that node is gone."""


class Neighbours(Protocol):
    """The other nodes of this installation (node/neighbours.py)."""

    def is_one(self, request: web.Request) -> bool:
        """Does another node pass this on? Then it goes no further."""

    async def ask(
        self, request: web.Request, where: int | str, data: bytes | None = None
    ) -> web.StreamResponse | None:
        """The answer of that node (by number or identity), passed through; None: it is gone.

        data: the body, if it was read already. Raises Busy if the node cannot be asked now.
        """


class Upgrades(Protocol):
    """Live upgrades. begin raises UpgradeRunning, roll_back NothingToRollBack."""

    def begin(self, place: str, who: str, fast: bool) -> UpgradeState: ...
    def roll_back(self, who: str) -> UpgradeState: ...
    def state(self) -> UpgradeState: ...
    def all(self) -> UpgradeHistory: ...


@runtime_checkable
class ShowsPins(Protocol):
    """A sender that the operator chose to see PINs: (seconds since 1970, number, PIN)."""

    @property
    def shown(self) -> Sequence[tuple[float, str, str]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    ask: Ask
    load: Callable[[Want], Awaitable[object]]
    sender: PinSender
    secret: bytes  # keys the hashes of PINs; kept in the data folder
    admin_token: str  # empty: no administration over HTTP
    ready: Callable[[], str]  # "" or the reason why not
    stats: Callable[[], dict[str, float]]
    metrics: Callable[[], bytes]  # in the text format of Prometheus
    alerts: Callable[[], Alerts]
    info: Callable[[], Info]
    signup: SignupLimits = field(default_factory=SignupLimits)
    http: HttpLimits = field(default_factory=HttpLimits)
    default_region: str = ""  # of numbers without a country code, like "DE"
    admin_anywhere: bool = False  # else the administrator must come from this machine
    keep: Keeper = keep_nothing  # what is kept of a new key for SASL
    media: Media | None = None  # None: no files
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    origins: frozenset[str] = frozenset()  # whose pages may open a WebSocket, besides our own
    sockets: Sockets | None = None  # None: there are no WebSockets
    xmpp_sockets: Sockets | None = None
    bosh: Requests | None = None
    neighbours: Neighbours | None = None  # None: there are none
    office: Office | None = None  # None: administration has accounts and counters only
    xmpp_places: Callable[[], dict[str, str]] = dict  # XEP-0156: by relation
    upgrades: Upgrades | None = None
    __repr__ = discreet
