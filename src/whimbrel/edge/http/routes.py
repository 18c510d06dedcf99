"""The route table: every address of the HTTP front end, what it takes, gives and refuses.

The one source of both dispatch (dispatch.py) and the document (openapi.py): an address that
stands here is served and documented, another one is neither.
"""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from whimbrel.edge.http import admin, bosh, health, hostmeta, media, pages, signup, socket
from whimbrel.edge.http import web as browser
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.shapes import (
    Alerts,
    Deleted,
    Health,
    HostMeta,
    LiveMessage,
    MediaConfirmed,
    MediaDone,
    MediaRequest,
    MediaSlot,
    NewKey,
    NewUser,
    PinOnItsWay,
    PinRequest,
    Pins,
    Shape,
    SignedUp,
    Stats,
    UserDetails,
    UserPage,
    Verification,
)

Handle = Callable[[Inside, web.Request, Any], Awaitable[Shape | web.StreamResponse]]


class Access(enum.Enum):
    """Who may ask. Everybody else hears `not-found`, or `not-authorized` without the token."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """takes: JSON body, if any; gives: JSON answer, or None for what `answer` names.

    sends: whether the request has a body of bytes. often: counted by the limit of files.
    """

    method: str
    path: str
    handle: Handle
    gives: type[Shape] | None
    summary: str
    tags: tuple[str, ...]
    takes: type[Shape] | None = None
    status: int = 200
    access: Access = Access.PUBLIC
    errors: tuple[str, ...] = ()
    query: tuple[tuple[str, str, str], ...] = ()  # name, JSON type, what it does
    tells: tuple[tuple[str, str, str], ...] = ()  # the same, in headers
    answer: str = "text/html"  # of the answer, if it is not JSON; "": it has none
    also: tuple[int, ...] = ()  # further statuses of success
    sends: bool = False
    often: bool = False
    basic: bool = False  # wants a device's key, as in media.authorized

    @property
    def name(self) -> str:
        return self.handle.__name__.removeprefix("on_")


ASKS = ("busy", "try-again")  # what every address may say that asks an actor
SLOT = ("too-big", "wrong-type", "quota-exceeded", "no-space")
UPLOAD = "/v1/uploads/{token}"
NUMBER = ("bad-number", "rate-limited", *ASKS)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/v1/signup/pin",
        handle=signup.on_pin,
        takes=PinRequest,
        gives=PinOnItsWay,
        status=202,
        errors=NUMBER,
        summary="Have a PIN sent to a telephone number",
        tags=("sign-up",),
    ),
    Route(
        method="POST",
        path="/v1/signup/verify",
        handle=signup.on_verify,
        takes=Verification,
        gives=SignedUp,
        status=201,
        errors=("pin-wrong", *NUMBER),
        summary="Trade a PIN for an account and a key; ends all older keys of the account",
        tags=("sign-up",),
    ),
    Route(
        method="GET",
        path="/v1/socket",
        handle=socket.on_socket,
        gives=None,
        status=101,
        answer="",
        errors=(
            "upgrade-required",
            "wrong-origin",
            "bad-message",
            "too-many-connections",
            "shutting-down",
        ),
        summary="Open a WebSocket with the subprotocol whimbrel.1",
        tags=("messages",),
    ),
    Route(
        method="GET",
        path="/xmpp-websocket",
        handle=socket.on_xmpp_socket,
        gives=None,
        status=101,
        answer="",
        errors=(
            "upgrade-required",
            "wrong-origin",
            "bad-message",
            "too-many-connections",
            "shutting-down",
        ),
        summary="Open a WebSocket with the subprotocol xmpp (RFC 7395)",
        tags=("messages",),
    ),
    Route(
        method="POST",
        path="/http-bind",
        handle=bosh.on_bosh,
        gives=None,
        answer="text/xml",
        sends=True,
        errors=(
            "wrong-origin",
            "bad-message",
            "wrong-content-type",
            "body-too-big",
            "idle-timeout",
            "not-found",
            "busy",
            "too-many-connections",
            "shutting-down",
        ),
        summary="Say something in an XMPP session over HTTP, and hear what there is (XEP-0206)",
        tags=("messages",),
    ),
    Route(
        method="OPTIONS",
        path="/http-bind",
        handle=bosh.on_bosh_asked,
        gives=None,
        answer="",
        status=204,
        errors=("wrong-origin",),
        summary="What a page of another site may do here (CORS)",
        tags=("messages",),
    ),
    Route(
        method="GET",
        path="/.well-known/host-meta",
        handle=hostmeta.on_host_meta,
        gives=None,
        answer="application/xrd+xml",
        summary="Where XMPP clients connect (XEP-0156)",
        tags=("messages",),
    ),
    Route(
        method="GET",
        path="/.well-known/host-meta.json",
        handle=hostmeta.on_host_meta_json,
        gives=HostMeta,
        summary="The same as JSON",
        tags=("messages",),
    ),
    Route(
        method="GET",
        path="/health",
        handle=health.on_health,
        gives=Health,
        summary="Is the process alive?",
        tags=("operation",),
    ),
    Route(
        method="GET",
        path="/ready",
        handle=health.on_ready,
        gives=Health,
        errors=("try-again",),
        summary="May the server be given work?",
        tags=("operation",),
    ),
    Route(
        method="GET",
        path="/",
        handle=browser.on_page,
        gives=None,
        summary="The browser client",
        tags=("pages",),
    ),
    Route(
        method="GET",
        path="/app/{file}",
        handle=browser.on_file,
        gives=None,
        summary="A file of the browser client",
        tags=("pages",),
    ),
    Route(
        method="GET",
        path="/about",
        handle=pages.on_home,
        gives=None,
        summary="What this is, for people",
        tags=("pages",),
    ),
    Route(
        method="GET",
        path="/pins.json",
        handle=pages.on_pins_json,
        gives=Pins,
        access=Access.LOOPBACK,
        summary="The last PINs of the console sender, for this machine only",
        tags=("pages",),
    ),
    Route(
        method="GET",
        path="/pins",
        handle=pages.on_pins,
        gives=None,
        access=Access.LOOPBACK,
        summary="The last PINs of the console sender, for this machine only",
        tags=("pages",),
    ),
    Route(
        method="GET",
        path="/admin/users",
        handle=admin.on_list,
        gives=UserPage,
        access=Access.ADMIN,
        errors=("bad-message", "try-again"),
        query=(
            ("after", "string", "List addresses that come after this one."),
            ("limit", "integer", "How many at most."),
        ),
        summary="List accounts by address",
        tags=("administration",),
    ),
    Route(
        method="POST",
        path="/admin/users",
        handle=admin.on_add,
        takes=NewUser,
        gives=NewKey,
        status=201,
        access=Access.ADMIN,
        errors=("bad-address", "exists", *ASKS),
        summary="Create an account by name",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/admin/users/{address}",
        handle=admin.on_show,
        gives=UserDetails,
        access=Access.ADMIN,
        errors=("bad-address", *ASKS),
        summary="Look at an account",
        tags=("administration",),
    ),
    Route(
        method="DELETE",
        path="/admin/users/{address}",
        handle=admin.on_delete,
        gives=Deleted,
        access=Access.ADMIN,
        errors=("bad-address", *ASKS),
        summary="Delete an account and everything that waits for it",
        tags=("administration",),
    ),
    Route(
        method="POST",
        path="/admin/users/{address}/reset",
        handle=admin.on_reset,
        gives=NewKey,
        access=Access.ADMIN,
        errors=("bad-address", *ASKS),
        summary="Give an account a new key; ends all older ones",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/admin/messages/{id}",
        handle=admin.on_message,
        gives=LiveMessage,
        access=Access.ADMIN,
        errors=("bad-message", "bad-address", *ASKS),
        query=(
            ("sender", "string", "Who wrote it."),
            ("recipient", "string", "To whom."),
        ),
        summary="What the running server knows of a message that is under way",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/admin/stats",
        handle=admin.on_stats,
        gives=Stats,
        access=Access.ADMIN,
        summary="Counters of the server",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/admin/alerts",
        handle=admin.on_alerts,
        gives=Alerts,
        access=Access.ADMIN,
        summary="Alerts that are active, and the last changes",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/metrics",
        handle=admin.on_metrics,
        gives=None,
        answer="text/plain",
        access=Access.ADMIN,
        summary="Figures for Prometheus, in its text format",
        tags=("administration",),
    ),
    Route(
        method="POST",
        path="/v1/media",
        handle=media.on_media,
        takes=MediaRequest,
        gives=MediaSlot,
        status=201,
        basic=True,
        errors=("not-found", *SLOT, *ASKS),
        summary="Ask for a slot to upload one file",
        tags=("media",),
    ),
    Route(
        method="HEAD",
        path=UPLOAD,
        handle=media.on_offset,
        gives=None,
        answer="",
        often=True,
        errors=("expired", *ASKS),
        summary="How far an upload is: the header Upload-Offset",
        tags=("media",),
    ),
    Route(
        method="PATCH",
        path=UPLOAD,
        handle=media.on_piece,
        gives=None,
        answer="",
        status=204,
        sends=True,
        often=True,
        tells=(("Upload-Offset", "integer", "Where in the file this piece begins."),),
        errors=(
            "bad-message", "idle-timeout", "replaced", "wrong-offset", "expired", "too-big", *ASKS,
        ),
        summary="Upload the next piece; a broken one is kept as far as it came",
        tags=("media",),
    ),
    Route(
        method="DELETE",
        path=UPLOAD,
        handle=media.on_cancel,
        gives=None,
        answer="",
        status=204,
        often=True,
        errors=("expired", *ASKS),
        summary="Cancel an upload, or take back what was uploaded",
        tags=("media",),
    ),
    Route(
        method="POST",
        path=UPLOAD + "/done",
        handle=media.on_done,
        gives=MediaDone,
        often=True,
        errors=("wrong-offset", "bad-checksum", "wrong-type", "expired", "too-big", *ASKS),
        summary="All bytes are there: what to write into the message (again the same)",
        tags=("media",),
    ),
    Route(
        method="PUT",
        path="/v1/put/{token}/{name}",
        handle=media.on_put,
        gives=None,
        answer="",
        status=201,
        often=True,
        sends=True,
        errors=("bad-message", "wrong-offset", "wrong-type", "expired", "too-big", *ASKS),
        summary="Upload a whole file at once (XEP-0363)",
        tags=("media",),
    ),
    Route(
        method="OPTIONS",
        path="/v1/put/{token}/{name}",
        handle=media.on_put_asked,
        gives=None,
        answer="",
        status=204,
        often=True,
        summary="What a page of another site may do here (CORS)",
        tags=("media",),
    ),
    Route(
        method="GET",
        path="/m/{id}/{name}",
        handle=media.on_file,
        gives=None,
        answer="application/octet-stream",
        also=(206, 304),
        often=True,
        errors=("expired", "wrong-range", *ASKS),
        summary="Download a file, or a range of it",
        tags=("media",),
    ),
    Route(
        method="POST",
        path="/m/{id}/confirm",
        handle=media.on_confirm,
        gives=MediaConfirmed,
        basic=True,
        often=True,
        errors=("expired", *ASKS),
        summary="A recipient has downloaded the file",
        tags=("media",),
    ),
)  # fmt: skip


def errors_of(route: Route) -> tuple[str, ...]:
    """All codes that a route can answer: its own, and those that come with its kind."""
    codes = [*route.errors, "rate-limited", "internal"]
    if route.takes is not None:
        codes += ["bad-message", "wrong-content-type", "body-too-big", "idle-timeout"]
    if route.access is not Access.PUBLIC or "{" in route.path:
        codes.append("not-found")
    if route.access is Access.ADMIN or route.basic:
        codes.append("not-authorized")
    return tuple(dict.fromkeys(codes))
