"""The route table of live upgrades.

An upgrade runs code inside the server, so it wants the scope `admin`; a rollback only goes back to
what ran before.
"""

from whimbrel.edge.http import upgrades
from whimbrel.edge.http.office import ADMIN, OPERATE
from whimbrel.edge.http.route import Access, Route
from whimbrel.edge.http.shapes import (
    RollbackRequest,
    UpgradeHistory,
    UpgradeRequest,
    UpgradeState,
)

UPGRADES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/admin/upgrades",
        handle=upgrades.on_upgrade,
        scope=ADMIN,
        act="begin upgrade",
        takes=UpgradeRequest,
        gives=UpgradeState,
        status=202,
        access=Access.ADMIN,
        errors=("upgrade-running",),
        summary="Load another version of the rules and XMPP features into the running server",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/admin/upgrades",
        handle=upgrades.on_upgrade_state,
        gives=UpgradeState,
        access=Access.ADMIN,
        summary="What is in use, and how far the last upgrade is",
        tags=("administration",),
    ),
    Route(
        method="GET",
        path="/admin/upgrades/history",
        handle=upgrades.on_upgrade_history,
        gives=UpgradeHistory,
        access=Access.ADMIN,
        summary="All upgrades: who, what, when, how they ended",
        tags=("administration",),
    ),
    Route(
        method="POST",
        path="/admin/upgrades/rollback",
        handle=upgrades.on_rollback,
        scope=OPERATE,
        act="roll back upgrade",
        takes=RollbackRequest,
        gives=UpgradeState,
        status=202,
        access=Access.ADMIN,
        errors=("nothing-to-roll-back",),
        summary="End the upgrade under way, or go back to the version before this one",
        tags=("administration",),
    ),
)
