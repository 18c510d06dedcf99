"""The handshake of a WebSocket at /v1/socket: an HTTP request in, a session's connection out.

RFC 6455 section 4.2. Everything is checked before anything changes, and a refusal is an ordinary
HTTP answer with its name. Then aiohttp lets go of the connection and edge/websocket.py has it.
A page of another site may not connect (section 10.2), unless the configuration names it. Keys go
in the hello and never in a cookie, so a page that got past this check could still do nothing.
"""

import base64
import binascii
import hashlib
from collections.abc import Collection
from typing import Any

from aiohttp import hdrs, web

from whimbrel.domain.errors import BadMessage, Refused
from whimbrel.edge.http.caller import caller_of, limit_key
from whimbrel.edge.http.inside import Inside, Sockets
from whimbrel.edge.http.origin import is_same_place
from whimbrel.edge.http.pipe import Pipe
from whimbrel.edge.http.problems import UpgradeRequired, WrongOrigin, response_for
from whimbrel.edge.xmpp.websocket import SUBPROTOCOL as XMPP_SUBPROTOCOL
from whimbrel.protocol.wire import SUBPROTOCOL

VERSION = "13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY_BYTES = 16

_ACCEPTED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
)


class _Early:
    """Takes what came behind the request's head; aiohttp hands it over with set_parser()."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """The connection is ours by then."""


async def on_socket(inside: Inside, request: web.Request, body: None) -> web.Response:
    """A client of the own protocol."""
    return await _upgrade(inside, request, SUBPROTOCOL, inside.sockets)


async def on_xmpp_socket(inside: Inside, request: web.Request, body: None) -> web.Response:
    """An XMPP client (RFC 7395)."""
    return await _upgrade(inside, request, XMPP_SUBPROTOCOL, inside.xmpp_sockets)


async def _upgrade(
    inside: Inside, request: web.Request, protocol: str, sockets: Sockets | None
) -> web.Response:
    """Answers 101 by itself; every response that is returned here is a refusal, or not sent."""
    try:
        accept = accept_key(request, protocol)
        check_origin(request, inside.origins)
        if sockets is None:
            raise UpgradeRequired("there are no WebSockets here")
        pipe = request.transport
        if not isinstance(pipe, Pipe):  # the connection is gone
            return web.Response()
        address = limit_key(caller_of(request, inside.trusted_proxies))
        socket = sockets(pipe.connection, address)
    except UpgradeRequired as error:
        response = response_for(error)
        response.headers[hdrs.UPGRADE] = "websocket"
        response.headers[hdrs.SEC_WEBSOCKET_VERSION] = VERSION
        response.force_close()
        return response
    except Refused as error:
        response = response_for(error)
        response.force_close()  # a further try costs a further connection
        return response
    early = _Early()
    parser: Any = early
    request.protocol.set_parser(parser)
    head = _ACCEPTED.format(accept=accept, protocol=protocol)
    pipe.write(head.encode("ascii"))
    pipe.hand_over(socket)
    if early.data:
        socket.received(early.data)
    return web.Response()  # aiohttp finds the connection lost, and drops it


def accept_key(request: web.Request, protocol: str = SUBPROTOCOL) -> str:
    """What proves that we speak WebSocket. Raises UpgradeRequired or BadMessage."""
    headers = request.headers
    if (
        request.version < (1, 1)
        or headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket"
        or "upgrade" not in _tokens(request, hdrs.CONNECTION, fold=True)
        or headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != VERSION
    ):
        raise UpgradeRequired
    key = headers.get(hdrs.SEC_WEBSOCKET_KEY, "").strip()
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != KEY_BYTES or len(headers.getall(hdrs.SEC_WEBSOCKET_KEY)) != 1:
        raise BadMessage("The Sec-WebSocket-Key is not 16 bytes in Base64.")
    if protocol not in _tokens(request, hdrs.SEC_WEBSOCKET_PROTOCOL):
        raise BadMessage(f"Ask for the subprotocol {protocol}.")
    digest = hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _tokens(request: web.Request, name: str, *, fold: bool = False) -> list[str]:
    """A header's list, also when it stands in several lines."""
    line = ",".join(request.headers.getall(name, []))
    return [token.strip() for token in (line.lower() if fold else line).split(",")]


def check_origin(request: web.Request, origins: Collection[str]) -> None:
    """Raises WrongOrigin. Programs send no Origin; browsers always do, and no page can hide it."""
    said = request.headers.getall(hdrs.ORIGIN, [])
    hosts = request.headers.getall(hdrs.HOST, [])
    if not said or (len(said) == 1 and said[0].lower() in origins):
        return
    if len(said) != 1 or len(hosts) != 1 or not is_same_place(said[0], hosts[0]):
        raise WrongOrigin
