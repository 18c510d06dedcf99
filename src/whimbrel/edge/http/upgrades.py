"""Live upgrades over HTTP: begin one, watch it, go back, and what there has been.

Thin: the node hands in its upgrader (node/upgrade/upgrader.py) behind the port `Upgrades`.
"""

from aiohttp import web

from whimbrel.domain.errors import NotFound
from whimbrel.edge.http.inside import Inside, Upgrades
from whimbrel.edge.http.office import HOLDER, ON
from whimbrel.edge.http.shapes import (
    RollbackRequest,
    UpgradeHistory,
    UpgradeRequest,
    UpgradeState,
)


async def on_upgrade(inside: Inside, request: web.Request, body: UpgradeRequest) -> UpgradeState:
    request[ON] = body.path
    return _upgrades(inside).begin(body.path, _who(request, body.who), body.fast)


async def on_upgrade_state(inside: Inside, request: web.Request, body: None) -> UpgradeState:
    return _upgrades(inside).state()


async def on_upgrade_history(inside: Inside, request: web.Request, body: None) -> UpgradeHistory:
    return _upgrades(inside).all()


async def on_rollback(inside: Inside, request: web.Request, body: RollbackRequest) -> UpgradeState:
    return _upgrades(inside).roll_back(_who(request, body.who))


def _who(request: web.Request, said: str) -> str:
    """The holder of the token, and for whom he says that he asks."""
    holder = request.get(HOLDER)
    name = holder.name if holder is not None else ""
    return f"{said} ({name})" if said and name and said != name else said or name


def _upgrades(inside: Inside) -> Upgrades:
    if inside.upgrades is None:
        raise NotFound
    return inside.upgrades
