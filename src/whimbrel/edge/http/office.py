"""What administration is handed: who may do what, what was done, and the facts about the server.

Functions and small protocols, given once by the node (node/office.py), so that this front end
sees no actor, no store and no file.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from aiohttp import web

from whimbrel.domain.discreet import discreet
from whimbrel.edge.http.live import Feed
from whimbrel.edge.http.shapes import (
    ActorState,
    ActPage,
    AttemptLine,
    AuditShown,
    Histograms,
    History,
    SessionLine,
    Settings,
    Snapshot,
    TokenLine,
    TokenShown,
    Traces,
)

ROOT = "root"  # the name of the bearer of admin.token
READ, USERS, OPERATE, ADMIN = SCOPES = ("read", "users", "operate", "admin")
ATTEMPTS_MAX = 200


class Holder(msgspec.Struct, frozen=True):
    """Whoever holds a token. expires_us 0: never. `admin` may do everything, all may read."""

    name: str
    scopes: frozenset[str]
    expires_us: int = 0

    def may(self, scope: str) -> bool:
        return scope == READ or scope in self.scopes or ADMIN in self.scopes


# What dispatch.py and the handlers of administration tell each other by way of the request:
HOLDER = web.RequestKey("holder", Holder)  # who asks
STILL: web.RequestKey[Callable[[], bool]] = web.RequestKey("still")  # is the token still good?
ON = web.RequestKey("on", str)  # whom or what an act was for


class Tokens(Protocol):
    """The tokens beside admin.token. Only their hashes are kept."""

    def find(self, token: str) -> Holder | None: ...
    def create(self, name: str, scopes: list[str], days: int, by: str) -> TokenShown:
        """Raises Exists, or Busy if there are too many."""

    def lines(self) -> list[TokenLine]: ...
    def revoke(self, name: str) -> None:
        """At once, also for whoever is listening to the live feed. Raises NotFound."""


class Acts(Protocol):
    """What administrators did: written down before they hear of it."""

    async def record(self, who: str, what: str, on: str, result: str, source: str) -> None: ...
    async def page(self, before: int, limit: int) -> ActPage: ...


class Attempts:
    """The last attempts to sign up, in memory. Law 5: bounded."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.last: deque[AttemptLine] = deque(maxlen=ATTEMPTS_MAX)
        self._now_us = now_us

    def add(self, number: str, what: str, result: str, client: str) -> None:
        self.last.appendleft(AttemptLine(self._now_us(), masked(number), what, result, client))


def masked(number: str) -> str:
    """Enough to recognise, not enough to call: "+4915112345678" is "+491***********78"."""
    return number[:4] + "*" * max(0, len(number) - 6) + number[-2:] if len(number) > 6 else "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    tokens: Tokens
    acts: Acts
    feed: Feed
    attempts: Attempts
    snapshot: Callable[[], Snapshot]
    history: Callable[[], History]
    histograms: Callable[[], Histograms]
    settings: Callable[[], Settings]
    actor: Callable[[int], ActorState | None]  # by account number; None: not in memory
    session: Callable[[int], SessionLine | None]  # by session number
    audit: Callable[[], AuditShown]
    audit_now: Callable[[], bool]  # False: one is under way
    trace: Callable[[int], Awaitable[Traces]]
    live_max: int = field(default=64)  # who may listen at once
    __repr__ = discreet
