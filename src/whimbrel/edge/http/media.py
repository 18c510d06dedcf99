"""Files by HTTP: slots, pieces, links. Thin handlers over domain.media.Media.

An upload's token and a link's id are capabilities: who has one may use it, so both stand in
addresses and nowhere in a log. Ranges and conditions as in RFC 9110 sections 13 and 14. Law: a
file is served with a type from the safe list, or as something to save, and never with rights in
our origin (docs/media.md).
"""

import base64
import binascii
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web

from whimbrel.domain.answers import Proven
from whimbrel.domain.errors import (
    BadMessage,
    NotAuthorized,
    NotFound,
    Unready,
    WrongOffset,
    WrongRange,
)
from whimbrel.domain.ids import account_number, parse_address
from whimbrel.domain.media import UNKNOWN_TYPE, Facts, Media, Served
from whimbrel.domain.messages import Prove
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.keys import key_hash
from whimbrel.edge.http.problems import response_for
from whimbrel.edge.http.ranges import wanted
from whimbrel.edge.http.shapes import MediaConfirmed, MediaDone, MediaRequest, MediaSlot
from whimbrel.edge.http.signup import refused

OFFSET = "Upload-Offset"
PIECE_BYTES = 65_536
POLICY = "default-src 'none'; sandbox"


ANY_PAGE = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}  # the token is the right to do it


async def on_media(
    inside: Inside, request: web.Request, body: MediaRequest
) -> MediaSlot | web.Response:
    media = _media(inside)
    caller = await authorized(inside, request)
    if isinstance(caller, web.Response):
        return caller
    slot = await media.slot(
        caller, body.name, body.size, body.type, body.sha256 or "", body.recipients
    )
    return MediaSlot(f"/v1/uploads/{slot.token}", slot.chunk_max, slot.expires_us, slot.direct)


Handler = Callable[[Inside, web.Request, None], Awaitable[Any]]


def at_its_node(handle: Handler) -> Handler:
    """Asked at the node that has this upload or file in hand; if that one is gone, here.

    Finished files of a folder that is not shared can only wait for their node.
    """

    @functools.wraps(handle)
    async def handler(inside: Inside, request: web.Request, body: None) -> Any:
        neighbours, media = inside.neighbours, _media(inside)
        if neighbours is None or neighbours.is_one(request):
            return await handle(inside, request, body)
        token, id = (request.match_info.get(name, "") for name in ("token", "id"))
        home = await media.away(token, id)
        if not home:
            return await handle(inside, request, body)
        passed = await neighbours.ask(request, home)
        if passed is not None:
            return passed
        if not token:
            raise Unready("the node that has this file is away")
        await media.adopt(token, home)
        return await handle(inside, request, body)

    return handler


@at_its_node
async def on_offset(inside: Inside, request: web.Request, body: None) -> web.Response:
    offset, size = await _media(inside).offset(request.match_info["token"])
    return web.Response(headers={OFFSET: str(offset), "Upload-Length": str(size)})


@at_its_node
async def on_piece(inside: Inside, request: web.Request, body: None) -> web.Response:
    media = _media(inside)
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise BadMessage("An upload is not packed.")
    text = request.headers.get(OFFSET, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadMessage(f"{OFFSET} is a number.")
    length = -1 if request.content_length is None else request.content_length
    try:
        offset = await media.receive(
            request.match_info["token"], int(text), length, _pieces(request)
        )
    except WrongOffset as error:
        return _elsewhere(error)
    return web.Response(status=204, headers={OFFSET: str(offset)})


@at_its_node
async def on_put(inside: Inside, request: web.Request, body: None) -> web.Response:
    """XEP-0363: the whole file in one request."""
    media = _media(inside)
    token = request.match_info["token"]
    offset, size = await media.offset(token)
    if request.content_length is None or request.content_length != size - offset:
        raise BadMessage(f"The length of this file was announced as {size} bytes.")
    stream = _pieces(request)
    left = b""

    async def part(most: int) -> AsyncIterator[bytes]:
        nonlocal left
        taken = 0
        while taken < most:
            piece = left or await anext(stream, b"")
            if not piece:
                return
            left = piece[most - taken :]
            piece = piece[: most - taken]
            taken += len(piece)
            yield piece

    while offset < size:
        most = min(media.settings.chunk_bytes_max, size - offset)
        before = offset
        offset = await media.receive(token, offset, most, part(most))
        if offset == before:
            raise BadMessage("The file ended early.")
    await media.done(token)
    return web.Response(status=201, headers=ANY_PAGE)


async def on_put_asked(inside: Inside, request: web.Request, body: None) -> web.Response:
    """What a browser asks before it puts a file from another page (CORS)."""
    allowed = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "OPTIONS, PUT",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Content-Type",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=204, headers={**ANY_PAGE, **allowed})


@at_its_node
async def on_cancel(inside: Inside, request: web.Request, body: None) -> web.Response:
    await _media(inside).cancel(request.match_info["token"])
    return web.Response(status=204)


@at_its_node
async def on_done(inside: Inside, request: web.Request, body: None) -> MediaDone | web.Response:
    try:
        link, facts = await _media(inside).done(request.match_info["token"])
    except WrongOffset as error:
        return _elsewhere(error)
    return _told(link, facts)


@at_its_node
async def on_file(inside: Inside, request: web.Request, body: None) -> web.StreamResponse:
    media = _media(inside)
    served = await media.find(request.match_info["id"], request.match_info["name"])
    size, tag = served.facts.size, f'"{served.facts.sha256[:32]}"'
    headers = _headers(served, tag, media)
    if tag in _tags(request.headers.get(hdrs.IF_NONE_MATCH, "")):
        return web.Response(status=304, headers=headers)
    try:
        span = wanted(request.headers.get(hdrs.RANGE, ""), size)
    except WrongRange as error:
        answer = response_for(error)
        answer.headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
        return answer
    if request.headers.get(hdrs.IF_RANGE, tag) != tag:
        span = None
    start, end = span or (0, size)
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    if span:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{size}"
    response.content_length = end - start
    if request.method == hdrs.METH_HEAD or start == end:
        await response.prepare(request)
        return response
    return await _send(request, response, media.read(served, start, end))


@at_its_node
async def on_confirm(
    inside: Inside, request: web.Request, body: None
) -> MediaConfirmed | web.Response:
    media = _media(inside)
    caller = await authorized(inside, request)
    if isinstance(caller, web.Response):
        return caller
    return MediaConfirmed(await media.confirm(request.match_info["id"], caller))


# ---- who asks ---------------------------------------------------------------------------


async def authorized(inside: Inside, request: web.Request) -> int | web.Response:
    """The account of `Authorization: Basic base64("<address>/<device>:<key>")` (RFC 7617)."""
    address, device, key = _credentials(request.headers.get(hdrs.AUTHORIZATION, ""))
    account = account_number(address)
    hashed = key_hash(key)
    answer = await inside.ask(
        account, lambda reply: Prove(device, hashed, reply), inside.http.ask_s
    )
    return account if isinstance(answer, Proven) else refused(answer)


def _credentials(header: str) -> tuple[str, int, str]:
    scheme, _, packed = header.partition(" ")
    if scheme.lower() != "basic":
        raise NotAuthorized
    try:
        text = base64.b64decode(packed.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise NotAuthorized from None
    who, _, key = text.partition(":")
    address, _, device = who.rpartition("/")
    if not (device.isascii() and device.isdigit() and len(device) < 10 and key):
        raise NotAuthorized
    try:
        return parse_address(address), int(device), key
    except Exception:
        raise NotAuthorized from None


def _media(inside: Inside) -> Media:
    if inside.media is None:
        raise NotFound
    return inside.media


# ---- bytes ------------------------------------------------------------------------------


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes, in bounded pieces."""
    try:
        async for piece in request.content.iter_chunked(PIECE_BYTES):
            yield piece
    except web.RequestPayloadError:
        raise BadMessage("The piece was cut off.") from None


async def _send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """The first piece is read before the head is sent, so that a missing file is a clear 404."""
    async with aclosing(pieces) as pieces:  # type: ignore[type-var]
        try:
            piece = await anext(pieces)
        except FileNotFoundError:
            raise NotFound from None
        await response.prepare(request)
        await response.write(piece)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    return response


def _elsewhere(error: WrongOffset) -> web.Response:
    answer = response_for(error)
    answer.headers[OFFSET] = str(error.offset)
    return answer


def _headers(served: Served, tag: str, media: Media) -> dict[str, str]:
    shown = served.facts.type != UNKNOWN_TYPE
    name = quote(served.facts.name, safe="")
    return {
        hdrs.CONTENT_TYPE: served.facts.type,
        hdrs.CONTENT_DISPOSITION: f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        hdrs.ETAG: tag,
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: f"private, max-age={media.settings.keep_s}, immutable",
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


def _told(link: str, facts: Facts) -> MediaDone:
    return MediaDone(
        link=link,
        size=facts.size,
        type=facts.type,
        name=facts.name,
        sha256=facts.sha256,
        width=facts.width or None,
        height=facts.height or None,
        duration=facts.duration or None,
        thumbnail=facts.thumbnail or None,
        blur=facts.blur or None,
    )
