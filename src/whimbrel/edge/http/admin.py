"""Administration: accounts by name, and a look at the server. For the bearer of the token.

`whimbrel user add|list|delete|reset` speaks to these addresses. A key is told once, here.
"""

from aiohttp import web
from msgspec.structs import replace

from whimbrel.domain.answers import (
    Description,
    DeviceDescription,
    Inspected,
    Registered,
    Removed,
    ToSession,
)
from whimbrel.domain.errors import BadMessage, Exists, NotFound
from whimbrel.domain.ids import PROBES, account_number, parse_address
from whimbrel.domain.messages import Describe, Disconnect, Inspect, Register, RemoveAccount
from whimbrel.domain.rows import AccountRow
from whimbrel.domain.wants import Accounts
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.keys import new_key
from whimbrel.edge.http.office import ON
from whimbrel.edge.http.problems import refused_as
from whimbrel.edge.http.shapes import (
    Alerts,
    Deleted,
    DeviceLine,
    Disconnected,
    LiveMessage,
    LiveSession,
    NewKey,
    NewUser,
    SendLine,
    SessionLine,
    Stats,
    UserDetails,
    UserLine,
    UserPage,
)
from whimbrel.edge.http.signup import device_name, refused

PAGE = 100
DEVICE_KINDS = ("own", "offline", "resource")


async def on_list(inside: Inside, request: web.Request, body: None) -> UserPage:
    after = request.query.get("after", "")
    prefix = request.query.get("prefix", "")
    limit = limit_of(request, inside.http.page_max)
    if not (after.isprintable() and prefix.isprintable()):  # nor a half surrogate, or a NUL
        raise BadMessage("after and prefix have no such characters.")
    rows = await inside.load(Accounts(after, limit, prefix))
    assert isinstance(rows, list)
    users = [_line(row) for row in rows if row.address not in PROBES]
    return UserPage(users, rows[-1].address if len(rows) == limit else "")


async def on_add(inside: Inside, request: web.Request, body: NewUser) -> NewKey | web.Response:
    """If two administrators add the same name at once, the later key is the good one."""
    address = request[ON] = parse_address(body.address)
    described = await _describe(inside, address)
    if isinstance(described, Description) and described.exists:
        raise Exists
    return await _register(inside, address, device_name(body.device_name))


async def on_reset(inside: Inside, request: web.Request, body: None) -> NewKey | web.Response:
    """A new key; the old ones are worthless and their sessions end."""
    address = parse_address(request.match_info["address"])
    described = await _describe(inside, address)
    if not isinstance(described, Description):
        return described
    if not described.exists:
        raise NotFound
    return await _register(inside, address, "")


async def on_delete(inside: Inside, request: web.Request, body: None) -> Deleted | web.Response:
    address = parse_address(request.match_info["address"])
    answer = await inside.ask(account_number(address), RemoveAccount, inside.http.ask_s)
    if not isinstance(answer, Removed):
        return refused(answer)
    return refused_as(answer.code) if answer.code else Deleted(address)


async def on_show(inside: Inside, request: web.Request, body: None) -> UserDetails | web.Response:
    address = parse_address(request.match_info["address"])
    office = inside.office
    actor = office.actor(account_number(address)) if office is not None else None  # as it was
    found = await _describe(inside, address)
    if not isinstance(found, Description):
        return found
    if not found.exists:
        raise NotFound
    devices = [
        DeviceLine(
            d.device,
            d.name,
            d.submitted,
            d.confirmed,
            d.last_seen_us,
            d.online,
            DEVICE_KINDS[d.kind],
            _session(inside, d),
        )
        for d in found.devices
    ]
    sends = [
        SendLine(s.id, s.peer, s.device, s.accepted_us, s.attempts, s.retry_in_us / 1e6)
        for s in found.sends
    ]
    return UserDetails(
        found.account,
        found.created_us,
        found.last_seen_us,
        found.tail,
        found.waiting,
        found.open,
        devices,
        sends,
        found.owed,
        actor,
    )


def _session(inside: Inside, device: DeviceDescription) -> SessionLine | None:
    if inside.office is None or not device.session:
        return None
    found = inside.office.session(device.session)
    return None if found is None else replace(found, pushed=device.pushed)


async def on_disconnect(
    inside: Inside, request: web.Request, body: None
) -> Disconnected | web.Response:
    """The device may come back: its key stays good."""
    address = parse_address(request.match_info["address"])
    device = number_of(request.match_info["device"], "a device is named by its number.")
    answer = await inside.ask(
        account_number(address), lambda reply: Disconnect(device, reply), inside.http.ask_s
    )
    if not isinstance(answer, Removed):
        return refused(answer)
    return refused_as(answer.code) if answer.code else Disconnected(address, device)


async def on_message(
    inside: Inside, request: web.Request, body: None
) -> LiveMessage | web.Response:
    """`whimbrel trace` asks this beside what it reads from the database."""
    id = number_of(request.match_info["id"])
    sender = account_number(parse_address(request.query.get("sender", "")))
    recipient = account_number(parse_address(request.query.get("recipient", "")))
    told = await _inspect(inside, sender, recipient, id)
    seen = await _inspect(inside, recipient, sender, id)
    if not isinstance(told, Inspected):
        return refused(told)
    if not isinstance(seen, Inspected):
        return refused(seen)
    sessions = [LiveSession(*session) for session in seen.live]
    return LiveMessage(told.attempts, told.retry_in_us / 1e6, sessions)


async def _inspect(inside: Inside, account: int, peer: int, id: int) -> ToSession:
    return await inside.ask(
        account, lambda reply: Inspect(peer=peer, id=id, reply=reply), inside.http.ask_s
    )


async def on_alerts(inside: Inside, request: web.Request, body: None) -> Alerts:
    return inside.alerts()


async def on_metrics(inside: Inside, request: web.Request, body: None) -> web.Response:
    """The text format, version 0.0.4, which every Prometheus reads."""
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=inside.metrics(), headers=headers)


async def on_stats(inside: Inside, request: web.Request, body: None) -> Stats:
    return Stats(inside.stats())


async def _describe(inside: Inside, address: str) -> Description | web.Response:
    answer = await inside.ask(account_number(address), Describe, inside.http.ask_s)
    return answer if isinstance(answer, Description) else refused(answer)


async def _register(inside: Inside, address: str, name: str) -> NewKey | web.Response:
    key, hashed = new_key()
    kept = inside.keep(address, key)
    answer = await inside.ask(
        account_number(address),
        lambda reply: Register(address, hashed, name, reply, kept),
        inside.http.ask_s,
    )
    if not isinstance(answer, Registered):
        return refused(answer)
    return NewKey(answer.account, answer.device, key)


def limit_of(request: web.Request, most: int) -> int:
    return limit_in(request.query.get("limit", str(min(PAGE, most))), most)


def limit_in(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 1 <= int(text) <= most):
        raise BadMessage(f"limit is a number from 1 to {most}.")
    return int(text)


def number_of(text: str, what: str = "a message's id is a number.") -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise BadMessage(what)
    return int(text)


def _line(row: object) -> UserLine:
    assert isinstance(row, AccountRow)
    return UserLine(row.address, row.created_us, row.last_seen_us, row.waiting)
