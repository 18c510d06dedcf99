"""Every address of administration against every scope, on a whole server.

Beside test_privileges.py. A token may do what its scopes say and not one thing more; whoever has
none, a wrong, an expired or a revoked one, hears 401 everywhere; nothing of it is done.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.node.administering import Admin, serving
from whimbrel.edge.http.office import SCOPES
from whimbrel.edge.http.route import Access, Route
from whimbrel.edge.http.routes import ROUTES

ADMINISTRATION = [route for route in ROUTES if route.access is Access.ADMIN]
WAIT = (429, "rate-limited")  # in front of everything, for who has no good token
CLOSED, HIDDEN = ((401, "not-authorized"), WAIT), ((404, "not-found"), WAIT)
MAY = {
    "read": {"read"},
    "users": {"read", "users"},
    "operate": {"read", "operate"},
    "admin": set(SCOPES),
}
PLACES = {
    "{address}": "somebody", "{device}": "1", "{id}": "1", "{number}": "+4915112345678",
    "{name}": "nobody",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def root(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Admin]:
    async with serving(tmp_path_factory.mktemp("scopes") / "data") as admin:
        yield admin


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bearers(root: Admin) -> dict[str, Admin]:
    return {scope: await root.with_token(f"only-{scope}", scope) for scope in SCOPES}


def path_of(route: Route) -> str:
    path = route.path
    for place, value in PLACES.items():
        path = path.replace(place, value)
    assert "{" not in path, f"say in PLACES what to put into {route.path}"
    return path


async def status_of(admin: Admin, route: Route) -> tuple[int, str]:
    """(status, code of the refusal or ""). The feed does not end, so its status has to do."""
    body: Any = {} if route.takes is not None else None  # no shape: so nothing is done
    async with admin.http.request(
        route.method, admin.url(path_of(route)), json=body, headers=admin.headers
    ) as answer:
        if answer.status < 400:
            return answer.status, ""
        told = msgspec.json.decode(await answer.read())
        return answer.status, told["error"]["code"]


def test_what_changes_something_has_a_scope_and_a_name_for_the_audit_log() -> None:
    for route in ADMINISTRATION:
        if route.method == "GET":
            assert not route.act, route.path
        else:
            assert route.act, route.path
            assert route.scope != "read", route.path
        assert route.scope in SCOPES


def test_only_the_page_itself_is_open_to_who_has_said_no_token_yet() -> None:
    strangers = [r for r in ROUTES if r.path.startswith("/admin") and r.access is not Access.ADMIN]
    assert all(r.access is Access.PAGE and r.method == "GET" for r in strangers)
    assert all(r.path == "/admin/" or r.path.startswith("/admin/page/") for r in strangers)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_opens_what_it_says_and_nothing_else(
    bearers: dict[str, Admin], scope: str
) -> None:
    opened: set[str] = set()
    for route in ADMINISTRATION:
        status, code = await status_of(bearers[scope], route)
        if route.scope in MAY[scope]:
            assert status not in (401, 403), (route.method, route.path, code)
            opened.add(route.scope)
        else:
            assert (status, code) == (403, "wrong-scope"), (route.method, route.path)
    assert opened == MAY[scope]


@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_good_token_nothing_is_opened(root: Admin) -> None:
    revoked = await root.with_token("revoked", "admin")
    await root.do("DELETE", "/admin/tokens/revoked")
    for token in ("", "wrong", revoked.token):
        stranger = Admin(root.node, root.http, token)
        for route in ADMINISTRATION:
            status, code = await status_of(stranger, route)
            assert (status, code) in CLOSED, route.path


async def test_an_expired_token_opens_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        short = await root.with_token("short", "admin", days=1)
        assert (await status_of(short, ADMINISTRATION[0]))[0] == 200
        clock = root.node.clock
        real = clock.now_us
        tokens: Any = root.node.office.tokens
        tokens._now_us = lambda: real() + 86_400 * 1_000_000
        for route in ADMINISTRATION[:10]:
            assert await status_of(short, route) == (401, "not-authorized")
        await asyncio.sleep(0)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_from_another_machine_or_a_foreign_page_is_not_even_looked_at(
    root: Admin,
) -> None:
    for headers in ({"Host": "evil.example"}, {"X-Forwarded-For": "192.0.2.7"}):
        for route in ADMINISTRATION:
            body: Any = {} if route.takes is not None else None
            status, answer = await root.call(route.method, path_of(route), body, headers)
            assert (status, answer["error"]["code"]) in HIDDEN, route.path
        for path in ("/admin/", "/admin/page/admin.js"):
            status, answer = await root.call("GET", path, None, headers)
            assert (status, answer["error"]["code"]) == (404, "not-found")
