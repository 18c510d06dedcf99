"""The browser client's files (src/whimbrel/web): read once, then served from memory.

Each has an ETag, so that a second visit costs one short answer a file. Law: only these files,
under their own names; the page may run no code and load nothing that is not among them.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aiohttp import hdrs, web

from whimbrel.domain.discreet import discreet
from whimbrel.domain.errors import NotFound
from whimbrel.edge.http.inside import Inside

PAGE = "index.html"
WORKER = "worker.js"  # answers for the page itself, which stands above its folder
KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
# No inline code or style, nothing from elsewhere; blob: and data: for pictures of one's own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ADMIN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PERMISSIONS = "camera=(), geolocation=(), payment=(), usb=(), microphone=(self)"


def is_file(path: str) -> bool:
    """True for what a visit of the page asks for. These have a rate limit of their own: with a
    part of them refused the page stays blank, and many people may share an address."""
    return path in ("/", "/admin/") or path.startswith(("/app/", "/admin/page/"))


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    kind: str
    tag: str
    __repr__ = discreet


def client() -> dict[str, File]:
    """By name. About 120 KB."""
    return _read("web")


def administration() -> dict[str, File]:
    return _read("web/admin")


@cache
def _read(folder: str) -> dict[str, File]:
    found = {}
    for path in (files("whimbrel") / folder).iterdir():
        kind = KINDS.get(path.name.rpartition(".")[2])
        if kind is not None:
            body = path.read_bytes()
            found[path.name] = File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return found


async def on_page(inside: Inside, request: web.Request, body: None) -> web.Response:
    return _answer(request, PAGE, client())


async def on_file(inside: Inside, request: web.Request, body: None) -> web.Response:
    return _answer(request, request.match_info["file"], client())


async def on_admin_page(inside: Inside, request: web.Request, body: None) -> web.Response:
    return _answer(request, PAGE, administration(), ADMIN_POLICY)


async def on_admin_file(inside: Inside, request: web.Request, body: None) -> web.Response:
    return _answer(request, request.match_info["file"], administration(), ADMIN_POLICY)


def _answer(
    request: web.Request, name: str, folder: dict[str, File], policy: str = POLICY
) -> web.Response:
    file = folder.get(name)
    if file is None:
        raise NotFound
    headers = {
        hdrs.ETAG: file.tag,
        hdrs.CACHE_CONTROL: "no-cache",  # ask each time, by ETag
        "Content-Security-Policy": policy,
        "Permissions-Policy": PERMISSIONS,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if name == WORKER and folder is client():
        headers["Service-Worker-Allowed"] = "/"
    if request.headers.get(hdrs.IF_NONE_MATCH) == file.tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.content, headers={**headers, hdrs.CONTENT_TYPE: file.kind})
