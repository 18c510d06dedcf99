"""From a request to a handler and back: the same refusals, limits and headers for all routes.

Order of refusal: rate, access, content type, size, shape, then the handler's own. Law: an error
leaves in one form only, whatever went wrong; what is not a named refusal is "internal", with the
stack (and no values) in the log.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Middleware

from whimbrel.domain.discreet import stack_of
from whimbrel.domain.errors import (
    INTERNAL,
    TRY_AGAIN,
    BadMessage,
    BodyTooBig,
    Busy,
    IdleTimeout,
    NotAuthorized,
    NotFound,
    RateLimited,
    Refused,
    Unready,
)
from whimbrel.edge.http.buckets import Buckets
from whimbrel.edge.http.caller import caller_of, is_local, limit_key
from whimbrel.edge.http.inside import HttpLimits, Inside
from whimbrel.edge.http.keys import same_token
from whimbrel.edge.http.office import HOLDER, ON, ROOT, SCOPES, STILL, Holder
from whimbrel.edge.http.openapi import document
from whimbrel.edge.http.problems import (
    CODE,
    WrongContentType,
    WrongMethod,
    WrongScope,
    response_for,
)
from whimbrel.edge.http.routes import ROUTES, Access, Route
from whimbrel.edge.http.shapes import Shape
from whimbrel.edge.http.web import is_file

log = structlog.get_logger("whimbrel.http")

OFTEN = frozenset(route.path for route in ROUTES if route.often)
Decoder = msgspec.json.Decoder[Shape]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SOCKET = "/v1/socket"  # counted by the listener of sessions; a refusal costs its connection
OK = "ok"
BY_CHARS_MAX = 64
BY = "X-Whimbrel-User"  # the command line says for whom it asks
BOSH = "/http-bind"  # the same, and what its stream may read in a second

# To quote when asking the operator: the log has it beside all that the request did.
REQUEST_ID = "X-Request-Id"
NUMBER = web.RequestKey("number", str)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
}


def make_app(inside: Inside, now_s: Callable[[], float] = time.monotonic) -> web.Application:
    """The application: every route of the table, and the document about them."""
    limits = inside.http
    buckets = Buckets(limits.requests_per_s, limits.requests_burst, limits.clients_max, now_s)
    media = Buckets(
        limits.media_requests_per_s, limits.media_requests_burst, limits.clients_max, now_s
    )
    files = Buckets(limits.files_per_s, limits.files_burst, limits.clients_max, now_s)

    def bucket_of(request: web.Request) -> Buckets:
        if is_file(request.path):
            return files
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else ""
        return media if path in OFTEN else buckets

    app = web.Application(
        middlewares=[_front(inside, bucket_of)], client_max_size=limits.body_bytes_max
    )
    app.on_response_prepare.append(_set_headers)
    wrong = Buckets(limits.wrong_tokens_per_s, limits.wrong_tokens_burst, limits.clients_max, now_s)
    for route in ROUTES:
        handler = _handler(inside, route, wrong)
        if route.method == "GET":
            app.router.add_get(route.path, handler, expect_handler=_expect)
        else:
            app.router.add_route(route.method, route.path, handler, expect_handler=_expect)
    described = msgspec.json.encode(document(ROUTES))

    async def on_document(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/openapi.json", on_document)
    return app


async def _set_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = "whimbrel"
    if NUMBER in request:
        response.headers[REQUEST_ID] = request[NUMBER]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """ "Expect: 100-continue" is met; aiohttp would answer others in its own form."""
    if request.version != HttpVersion11:
        return None
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        return response_for(BadMessage("This expectation cannot be met."))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # as aiohttp does: the answer proper has not begun
    return None


# ---- in front of every route ------------------------------------------------------------


def _front(inside: Inside, bucket_of: Callable[[web.Request], Buckets]) -> Middleware:
    @web.middleware
    async def front(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[NUMBER] = number = secrets.token_hex(8)
        began_s = time.monotonic()
        with structlog.contextvars.bound_contextvars(request=number):
            response = await answered(request, handler)
            log.debug(
                "request",
                method=request.method,
                route=_route(request),
                status=response.status,
                took_ms=round((time.monotonic() - began_s) * 1e3, 1),
            )
            return response

    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            passed_on = inside.neighbours is not None and inside.neighbours.is_one(request)
            if not _is_socket(request) and not passed_on and bearer_of(inside, request) is None:
                _take(inside, bucket_of(request), request)
            return await handler(request)
        except web.HTTPException as error:
            return _of_aiohttp(error)
        except (Refused, Unready) as error:
            return response_for(error)
        except (TimeoutError, ConnectionError):  # nobody answered in time
            return response_for(Busy(retry_after_s=1))
        except Exception as error:
            _log_bug(request, error)
            return response_for(error)

    return front


def _is_socket(request: web.Request) -> bool:
    return (request.path, request.method) in ((SOCKET, hdrs.METH_GET), (BOSH, hdrs.METH_POST))


def _take(inside: Inside, buckets: Buckets, request: web.Request) -> None:
    wait_s = buckets.take(limit_key(caller_of(request, inside.trusted_proxies)))
    if wait_s:
        raise RateLimited(retry_after_s=wait_s)


def _of_aiohttp(error: web.HTTPException) -> web.StreamResponse:
    """aiohttp's own refusals, in our form."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        response = response_for(WrongMethod())
        response.headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
        return response
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return response_for(BodyTooBig())
    return response_for(NotFound() if error.status == 404 else BadMessage())


def _route(request: web.Request) -> str:
    """As it stands in the table: what was asked for by name stays out of the log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _log_bug(request: web.Request, error: Exception) -> None:
    log.error(
        "request failed",
        method=request.method,
        route=_route(request),
        error=type(error).__name__,
        stack=stack_of(error),
    )


# ---- one route --------------------------------------------------------------------------


def _handler(inside: Inside, route: Route, wrong: Buckets) -> Handler:
    decoder = msgspec.json.Decoder(route.takes) if route.takes is not None else None

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            _check_access(inside, route, request, wrong)
        except WrongScope as error:
            if route.act:
                await record(inside, route, request, error.code)
            raise
        if route.act:
            answer = await _recorded(inside, route, request, decoder)
        else:
            answer = await _done(inside, route, request, decoder)
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.Response(
            body=msgspec.json.encode(answer), status=route.status, content_type="application/json"
        )

    return handle


async def _done(
    inside: Inside, route: Route, request: web.Request, decoder: Decoder | None
) -> Shape | web.StreamResponse:
    body = None
    if decoder is not None:
        body = decode(await _read(request, inside.http), decoder, inside.http.depth_max)
    return await route.handle(inside, request, body)


async def _recorded(
    inside: Inside, route: Route, request: web.Request, decoder: Decoder | None
) -> Shape | web.StreamResponse:
    """An administrative act: it is written down, however it ends, before its answer leaves."""
    result = INTERNAL
    try:
        answer = await _done(inside, route, request, decoder)
        result = answer.get(CODE, OK) if isinstance(answer, web.Response) else OK
        return answer
    except Refused as error:
        result = error.code
        raise
    except Unready:
        result = TRY_AGAIN
        raise
    finally:
        await record(inside, route, request, result)


async def record(inside: Inside, route: Route, request: web.Request, result: str) -> None:
    if inside.office is None:
        return
    holder = bearer_of(inside, request)
    on = request.get(ON) or " ".join(request.match_info.values())
    source = str(caller_of(request, inside.trusted_proxies))
    user = request.headers.get(BY, "")[:BY_CHARS_MAX]
    if user.isprintable() and user:
        source += f" cli {user}"
    who = holder.name if holder is not None else ""
    await asyncio.shield(inside.office.acts.record(who, route.act, on, result, source))


def bearer_of(inside: Inside, request: web.BaseRequest) -> Holder | None:
    """Who holds the token of this request, from where it may be used."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not (inside.admin_anywhere or is_local(request)):
        return None
    if same_token(token.strip(), inside.admin_token):
        return Holder(ROOT, frozenset(SCOPES))
    return inside.office.tokens.find(token.strip()) if inside.office is not None else None


def _check_access(inside: Inside, route: Route, request: web.Request, wrong: Buckets) -> None:
    if route.access is Access.PUBLIC:
        return
    here = is_local(request) or (route.access is not Access.LOOPBACK and inside.admin_anywhere)
    if not here:
        raise NotFound
    if route.access is not Access.ADMIN:
        return
    holder = bearer_of(inside, request)
    if holder is None:
        if hdrs.AUTHORIZATION in request.headers:
            _take(inside, wrong, request)
        raise NotAuthorized
    request[HOLDER] = holder
    if not holder.may(route.scope):
        raise WrongScope
    still: Callable[[], bool] = partial(_still, inside, request, route.scope)
    request[STILL] = still


def _still(inside: Inside, request: web.Request, scope: str) -> bool:
    holder = bearer_of(inside, request)
    return holder is not None and holder.may(scope)


async def _read(request: web.Request, limits: HttpLimits) -> bytes:
    packed = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity"
    if request.content_type != "application/json" or packed:
        raise WrongContentType
    if (request.content_length or 0) > limits.body_bytes_max:
        raise BodyTooBig
    try:
        async with asyncio.timeout(limits.body_s):
            return await request.read()
    except TimeoutError:
        raise IdleTimeout from None
    except web.RequestPayloadError:  # broken chunks
        raise BadMessage from None


def decode(body: bytes, decoder: msgspec.json.Decoder[Shape], depth_max: int) -> Shape:
    """The request's shape; raises BadMessage, which says where it is wrong (never the value)."""
    if body.count(b"[") + body.count(b"{") > depth_max:  # never less than the true depth
        raise BadMessage("The JSON is nested too deeply.")
    try:
        shape = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadMessage(f"The JSON is not as expected: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage("The request is not valid JSON.") from None
    return shape
