"""What a route is: an address, who may ask, what it takes, gives and refuses.

The table is in routes.py and routes_admin.py.
"""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.office import READ
from whimbrel.edge.http.shapes import Shape

Handle = Callable[[Inside, web.Request, Any], Awaitable[Shape | web.StreamResponse]]


class Access(enum.Enum):
    """Who may ask. Everybody else hears `not-found`, or `not-authorized` without a token.

    PAGE: whoever may administer, from where he may, before he has said his token.
    """

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PAGE = "page"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """takes: JSON body, if any; gives: JSON answer, or None for what `answer` names.

    sends: whether the request has a body of bytes. often: counted by the limit of files.
    scope: of the token (office.SCOPES). act: what it does, in the words of the audit log; every
    address of administration that changes something has one. endless: the answer does not end.
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
    scope: str = READ
    act: str = ""
    endless: bool = False
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


def errors_of(route: Route) -> tuple[str, ...]:
    """All codes that a route can answer: its own, and those that come with its kind."""
    codes = [*route.errors, "rate-limited", "internal"]
    if route.takes is not None:
        codes += ["bad-message", "wrong-content-type", "body-too-big", "idle-timeout"]
    if route.access is not Access.PUBLIC or "{" in route.path:
        codes.append("not-found")
    if route.access is Access.ADMIN or route.basic:
        codes.append("not-authorized")
    if route.scope != READ:
        codes.append("wrong-scope")
    return tuple(dict.fromkeys(codes))
