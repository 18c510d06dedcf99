"""Is the process alive, and may it be given work? For load balancers and operators."""

from aiohttp import web

from whimbrel.domain.errors import TRY_AGAIN
from whimbrel.edge.http.caller import is_local
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.problems import refused_as
from whimbrel.edge.http.shapes import Health


async def on_health(inside: Inside, request: web.Request, body: None) -> Health:
    return Health("alive")


async def on_ready(inside: Inside, request: web.Request, body: None) -> Health | web.Response:
    """The reason names files and disks: for this machine only."""
    reason = inside.ready()
    if not reason:
        return Health("ready")
    return refused_as(TRY_AGAIN, 1, f"Not ready: {reason}" if is_local(request) else "")
