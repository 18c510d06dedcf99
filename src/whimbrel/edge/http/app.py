"""What the node uses of the HTTP front end: its parts go in, an application and ports come out.

Neighbours: dispatch.py makes the application, server.py opens sockets. Law: one application
may be served on several ports; the rate of a caller is counted over all of them.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from aiohttp import web
from msgspec.structs import replace

from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.discreet import discreet
from whimbrel.domain.media import Media
from whimbrel.domain.ports import PinSender
from whimbrel.domain.wants import Want
from whimbrel.edge.http import dispatch, server
from whimbrel.edge.http.inside import (
    Ask,
    HttpLimits,
    Info,
    Inside,
    Neighbours,
    Requests,
    Sockets,
    Upgrades,
)
from whimbrel.edge.http.office import Office
from whimbrel.edge.http.shapes import Alerts
from whimbrel.protocol.sasl.verifiers import Keeper, keep_nothing

LIMITS = web.AppKey("limits", HttpLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpParts:
    """All that this front end is handed. What may change while it runs is a function."""

    ask: Ask
    load: Callable[[Want], Awaitable[object]]
    sender: PinSender
    secret: bytes  # keys the hashes of PINs
    admin_token: str  # empty: no administration over HTTP
    ready: Callable[[], str]  # "" or the reason why not
    stats: Callable[[], dict[str, float]]
    metrics: Callable[[], bytes]
    alerts: Callable[[], Alerts]
    domain: str
    native_port: Callable[[], int]
    fingerprint: Callable[[], str]
    default_region: str = ""
    pin_digits: int = 5
    media: Media | None = None
    keep: Keeper = keep_nothing
    limits: HttpLimits = field(default_factory=HttpLimits)
    sockets: Sockets | None = None  # None: no WebSockets
    xmpp_sockets: Sockets | None = None
    bosh: Requests | None = None
    neighbours: Neighbours | None = None
    xmpp_places: Callable[[], dict[str, str]] = dict
    office: Office | None = None
    admin_anywhere: bool = False
    upgrades: Upgrades | None = None  # None: no live upgrades
    origins: frozenset[str] = frozenset()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    __repr__ = discreet


def make_app(parts: HttpParts) -> web.Application:
    inside = Inside(
        ask=parts.ask,
        load=parts.load,
        sender=parts.sender,
        secret=parts.secret,
        admin_token=parts.admin_token,
        ready=parts.ready,
        stats=parts.stats,
        metrics=parts.metrics,
        alerts=parts.alerts,
        info=lambda: Info(parts.domain, parts.native_port(), parts.fingerprint()),
        signup=SignupLimits(pin_digits=parts.pin_digits),
        http=parts.limits,
        default_region=parts.default_region,
        sockets=parts.sockets,
        xmpp_sockets=parts.xmpp_sockets,
        bosh=parts.bosh,
        neighbours=parts.neighbours,
        xmpp_places=parts.xmpp_places,
        office=parts.office,
        admin_anywhere=parts.admin_anywhere,
        upgrades=parts.upgrades,
        origins=parts.origins,
        trusted_proxies=parts.trusted_proxies,
        media=parts.media,
        keep=parts.keep,
    )
    app = dispatch.make_app(inside)
    app[LIMITS] = parts.limits
    return app


class HttpServer:
    """Every port that the node opens for HTTP. Connections are capped for each port."""

    def __init__(self) -> None:
        self.servers: list[server.HttpServer] = []

    async def start(
        self,
        app: web.Application,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        sockets: Sequence[socket.socket] = (),
        per_client: bool = True,
    ) -> int:
        """Open one port more, or accept on the sockets that listen there already.

        per_client: False where one client, another node, asks for many people.

        The real port comes back. Raises OSError if it is taken.
        """
        limits = app[LIMITS]
        if not per_client:
            limits = replace(limits, connections_per_client_max=limits.connections_max)
        one = server.HttpServer(app, limits)
        if context is None:
            await one.start(plain=(host, port), sockets=sockets)
        else:
            await one.start(https=(host, port, context), sockets=sockets)
        self.servers.append(one)
        return one.plain_port or one.https_port

    @property
    def connections(self) -> int:
        return sum(one.connections for one in self.servers)

    async def stop(self) -> None:
        """Close all ports; requests under way may end. May be called twice."""
        servers, self.servers = self.servers, []
        for one in servers:
            await one.stop()
