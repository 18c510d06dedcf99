"""Administration: facts about the server, tokens, sign-ups, traces and what administrators did.

Accounts stand in admin.py. Everything here answers from what the node hands over (office.py).
"""

from aiohttp import web

from whimbrel.domain.answers import DeskDescription, Removed
from whimbrel.domain.errors import NotFound
from whimbrel.domain.ids import ACTOR_DESK
from whimbrel.domain.messages import CloseNumber, DescribeDesk
from whimbrel.edge.http.admin import limit_of, number_of
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.live import send
from whimbrel.edge.http.numbers import parse_number
from whimbrel.edge.http.office import HOLDER, ON, SCOPES, STILL, Holder, Office, masked
from whimbrel.edge.http.problems import refused_as
from whimbrel.edge.http.shapes import (
    ActPage,
    AuditShown,
    AuditStarted,
    ClosedNumber,
    Histograms,
    History,
    LockLine,
    NewToken,
    Revoked,
    Settings,
    SignUps,
    Snapshot,
    Tokens,
    TokenShown,
    Traces,
    WhoAmI,
)
from whimbrel.edge.http.signup import refused


def office_of(inside: Inside) -> Office:
    if inside.office is None:
        raise NotFound
    return inside.office


def holder_of(request: web.Request) -> Holder:
    """Set by dispatch.py for every address of administration."""
    return request[HOLDER]


# ---- the server -------------------------------------------------------------------------


async def on_facts(inside: Inside, request: web.Request, body: None) -> Snapshot:
    return office_of(inside).snapshot()


async def on_history(inside: Inside, request: web.Request, body: None) -> History:
    return office_of(inside).history()


async def on_histograms(inside: Inside, request: web.Request, body: None) -> Histograms:
    return office_of(inside).histograms()


async def on_settings(inside: Inside, request: web.Request, body: None) -> Settings:
    return office_of(inside).settings()


async def on_live(inside: Inside, request: web.Request, body: None) -> web.StreamResponse:
    """Until the caller leaves."""
    office = office_of(inside)
    allowed = request[STILL]
    with office.feed.listening(office.live_max) as listener:
        return await send(request, listener, office.history(), office.snapshot(), allowed)


async def on_audit(inside: Inside, request: web.Request, body: None) -> AuditShown:
    return office_of(inside).audit()


async def on_audit_now(inside: Inside, request: web.Request, body: None) -> AuditStarted:
    return AuditStarted(office_of(inside).audit_now())


async def on_trace(inside: Inside, request: web.Request, body: None) -> Traces:
    found = await office_of(inside).trace(number_of(request.match_info["id"]))
    if not found.messages:
        raise NotFound
    return found


# ---- sign-ups ---------------------------------------------------------------------------


async def on_signups(inside: Inside, request: web.Request, body: None) -> SignUps | web.Response:
    attempts = list(office_of(inside).attempts.last)
    answer = await inside.ask(ACTOR_DESK, DescribeDesk, inside.http.ask_s)
    if not isinstance(answer, DeskDescription):
        return refused(answer)
    locks = [LockLine(_whom(lock.whom, lock.why), lock.why, lock.until_us) for lock in answer.locks]
    return SignUps(
        attempts, locks, answer.more, answer.numbers, answer.pins_today, answer.wrong_today
    )


def _whom(whom: str, why: str) -> str:
    """A closed number is shown whole, because whoever opens it again has to name it."""
    return masked(whom) if whom.startswith("+") and why != "closed" else whom


async def on_close(inside: Inside, request: web.Request, body: None) -> ClosedNumber | web.Response:
    return await _close(inside, request, True)


async def on_open(inside: Inside, request: web.Request, body: None) -> ClosedNumber | web.Response:
    return await _close(inside, request, False)


async def _close(inside: Inside, request: web.Request, on: bool) -> ClosedNumber | web.Response:
    number, _ = parse_number(request.match_info["number"], inside.default_region)
    request[ON] = number
    answer = await inside.ask(
        ACTOR_DESK, lambda reply: CloseNumber(number, on, reply), inside.http.ask_s
    )
    if not isinstance(answer, Removed):
        return refused(answer)
    return refused_as(answer.code) if answer.code else ClosedNumber(number, on)


# ---- tokens and acts --------------------------------------------------------------------


async def on_whoami(inside: Inside, request: web.Request, body: None) -> WhoAmI:
    holder = holder_of(request)
    return WhoAmI(holder.name, [s for s in SCOPES if holder.may(s)], holder.expires_us)


async def on_tokens(inside: Inside, request: web.Request, body: None) -> Tokens:
    return Tokens(office_of(inside).tokens.lines())


async def on_new_token(inside: Inside, request: web.Request, body: NewToken) -> TokenShown:
    request[ON] = body.name
    by = holder_of(request).name
    return office_of(inside).tokens.create(body.name, body.scopes, body.days, by)


async def on_revoke(inside: Inside, request: web.Request, body: None) -> Revoked:
    name = request.match_info["name"]
    office_of(inside).tokens.revoke(name)
    return Revoked(name)


async def on_acts(inside: Inside, request: web.Request, body: None) -> ActPage:
    before = number_of(request.query.get("before", "0"), "before is a number.")
    return await office_of(inside).acts.page(before, limit_of(request, inside.http.page_max))
