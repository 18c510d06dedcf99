"""XMPP sessions over HTTP (BOSH, XEP-0206): the request's body in, the answer's body out.

Pages of other sites may use it only if the configuration names them, as for WebSockets. What is
said stands in edge/xmpp/bosh.py.
"""

import asyncio

from aiohttp import hdrs, web

from whimbrel.domain.errors import BodyTooBig, IdleTimeout, NotFound
from whimbrel.edge.http.caller import caller_of, limit_key
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.problems import WrongContentType
from whimbrel.edge.http.socket import check_origin


async def on_bosh(inside: Inside, request: web.Request, body: None) -> web.StreamResponse:
    if inside.bosh is None:
        raise NotFound
    check_origin(request, inside.origins)
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise WrongContentType
    data = await _whole(request, inside.bosh.bytes_max, inside.http.body_s)
    address = limit_key(caller_of(request, inside.trusted_proxies))
    neighbours = inside.neighbours
    node = -1 if neighbours is None or neighbours.is_one(request) else inside.bosh.away(data)
    if neighbours is not None and node >= 0:
        passed = await neighbours.ask(request, node, data)
        if passed is not None:
            return passed
        answer = inside.bosh.unknown()
    else:
        answer = await inside.bosh.answer(data, address)
    headers = {**_allowed(request), hdrs.CONTENT_TYPE: "text/xml; charset=utf-8"}
    return web.Response(body=answer, headers=headers)


async def on_bosh_asked(inside: Inside, request: web.Request, body: None) -> web.Response:
    """What a browser asks before a page of another site says something here (CORS)."""
    check_origin(request, inside.origins)
    allowed: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "OPTIONS, POST",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Content-Type",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=204, headers={**_allowed(request), **allowed})


def _allowed(request: web.Request) -> dict[str, str]:
    """After check_origin(): the page may read the answer."""
    origin = request.headers.get(hdrs.ORIGIN)
    if not origin:
        return {}
    allowed: dict[str, str] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin}
    allowed[hdrs.VARY] = hdrs.ORIGIN
    return allowed


async def _whole(request: web.Request, bytes_max: int, patience_s: float) -> bytes:
    if (request.content_length or 0) > bytes_max:
        raise BodyTooBig
    data = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            async for piece in request.content.iter_any():
                data += piece
                if len(data) > bytes_max:
                    raise BodyTooBig
    except TimeoutError:
        raise IdleTimeout from None
    return bytes(data)
