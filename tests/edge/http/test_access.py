"""Who may see what: administration by token, pages for this machine only."""

import hmac
from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tests.edge.http.sign_up_world import ADMIN, SignUpWorld, running
from whimbrel.edge.http import keys
from whimbrel.edge.http.caller import caller_of, is_local, limit_key, parse
from whimbrel.services.sms.console import ConsoleSender


class FakeTransport:
    def __init__(self, address: str) -> None:
        self._peer = (address, 1234)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._peer if name == "peername" else default


def request(address: str, **headers: str) -> web.Request:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/", names, transport=FakeTransport(address))


async def test_an_administrator_creates_shows_lists_resets_and_deletes(
    world: SignUpWorld,
) -> None:
    call = world.call
    status, first = await call("POST", "/admin/users", {"address": "Alice"}, headers=ADMIN)
    assert (status, first["account"], first["device"], len(first["key"])) == (201, "alice", 1, 43)
    status, body = await call("POST", "/admin/users", {"address": "alice"}, headers=ADMIN)
    assert (status, body["error"]["code"]) == (409, "exists")
    status, shown = await world.get("/admin/users/alice", headers=ADMIN)
    assert status == 200
    assert shown["address"] == "alice"
    assert shown["devices"][0]["confirmed"] == 3
    status, second = await call("POST", "/admin/users/alice/reset", headers=ADMIN)
    assert (status, second["device"]) == (200, 2)
    assert second["key"] != first["key"]
    await call("POST", "/admin/users", {"address": "+4915112345678"}, headers=ADMIN)
    status, page = await world.get("/admin/users?limit=1", headers=ADMIN)
    assert [user["address"] for user in page["users"]] == ["+4915112345678"]
    status, page = await world.get(
        "/admin/users", params={"limit": "5", "after": page["next"]}, headers=ADMIN
    )
    assert [user["address"] for user in page["users"]] == ["alice"]
    assert page["next"] == ""
    for address in ("alice", "+4915112345678"):
        path = f"/admin/users/{address}"
        assert await call("DELETE", path, headers=ADMIN) == (200, {"address": address})
        for method, end in (("DELETE", ""), ("GET", ""), ("POST", "/reset")):
            status, body = await call(method, path + end, headers=ADMIN)
            assert (status, body["error"]["code"]) == (404, "not-found")


async def test_the_administrator_sees_the_counters(world: SignUpWorld) -> None:
    assert await world.get("/admin/stats", headers=ADMIN) == (200, {"stats": {"turns": 12.5}})


@pytest.mark.parametrize("limit", ["0", "-1", "x", "501", "1e2", "9" * 30, "٣", ""])
async def test_a_listing_without_measure_is_refused(world: SignUpWorld, limit: str) -> None:
    status, body = await world.get("/admin/users", params={"limit": limit}, headers=ADMIN)
    assert (status, body["error"]["code"]) == (400, "bad-message")


@pytest.mark.parametrize("address", ["1abc", "a b", "%00", "x" * 65, "+0123456789"])
async def test_a_bad_address_is_refused(world: SignUpWorld, address: str) -> None:
    status, body = await world.get(f"/admin/users/{address}", headers=ADMIN)
    assert (status, body["error"]["code"]) == (422, "bad-address")
    assert world.asked == []


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic abc", "an-administrators-token"]
)
async def test_administration_without_the_token_is_not_authorized(
    world: SignUpWorld, value: str
) -> None:
    for method, path in (
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("GET", "/admin/users/alice"),
        ("DELETE", "/admin/users/alice"),
        ("POST", "/admin/users/alice/reset"),
        ("GET", "/admin/stats"),
    ):
        status, body = await world.call(method, path, headers={"Authorization": value})
        assert (status, body["error"]["code"]) == (401, "not-authorized")
        assert world.headers["WWW-Authenticate"] == "Bearer"
    assert world.asked == []


async def test_an_empty_token_in_the_configuration_lets_nobody_in() -> None:
    async with running(admin_token="") as world:
        for value in ("Bearer", "Bearer ", "Bearer x"):
            status, _ = await world.get("/admin/stats", headers={"Authorization": value})
            assert status == 401


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return hmac_compare(a, b)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert keys.same_token("right", "right")
    assert not keys.same_token("wrong and longer", "right")
    assert not keys.same_token("", "")
    assert lengths == [(32, 32)] * 3


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "198.51.100.7"},
        {"Forwarded": "for=198.51.100.7"},
        {"X-Real-IP": "198.51.100.7"},
        {"Via": "1.1 proxy"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
    ],
)
async def test_pages_for_this_machine_are_not_found_through_proxies_and_foreign_names(
    headers: dict[str, str],
) -> None:
    async with running(ConsoleSender(lambda _line: None)) as world:
        assert (await world.get("/pins"))[0] == 200
        status, body = await world.get("/pins", headers=headers)
        assert (status, body["error"]["code"]) == (404, "not-found")
        status, body = await world.get("/admin/stats", headers=ADMIN | headers)
        assert (status, body["error"]["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("address", "host", "local"),
    [
        ("127.0.0.1", "localhost:8080", True),
        ("127.8.8.8", "127.0.0.1:8080", True),
        ("::1", "[::1]:8080", True),
        ("::ffff:127.0.0.1", "localhost", True),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "192.0.2.1", False),
        ("192.0.2.1", "localhost", False),
        ("2001:db8::1", "[::1]", False),
        ("::ffff:192.0.2.1", "localhost", False),
    ],
)
def test_only_loopback_addresses_and_names_are_this_machine(
    address: str, host: str, local: bool
) -> None:
    assert is_local(request(address, Host=host)) is local


async def test_administration_from_elsewhere_can_be_allowed() -> None:
    away = {"Host": "chat.example"}
    async with running(admin_anywhere=True) as world:
        assert (await world.get("/admin/stats", headers=ADMIN | away))[0] == 200
        assert (await world.get("/admin/stats", headers=away))[0] == 401


def test_addresses_are_counted_by_what_one_customer_owns() -> None:
    assert limit_key(parse("192.0.2.1")) == "192.0.2.1"
    assert limit_key(parse("::ffff:192.0.2.1")) == "192.0.2.1"
    one, same, other = "2001:db8:1:2::9", "2001:db8:1:2:ffff::1", "2001:db8:1:3::9"
    assert limit_key(parse(one)) == limit_key(parse(same)) == "2001:db8:1:2::/64"
    assert limit_key(parse(other)) != limit_key(parse(one))
    assert limit_key(parse("fe80::1%eth0")) == "fe80::/64"
    assert limit_key(parse("nonsense")) == "0.0.0.0"


def test_only_trusted_proxies_may_say_whom_they_speak_for() -> None:
    proxies = (ip_network("10.0.0.0/8"),)
    hops = "203.0.113.9, 198.51.100.7, 10.0.0.2"
    assert str(caller_of(request("10.0.0.1", X_Forwarded_For=hops), proxies)) == "198.51.100.7"
    assert str(caller_of(request("192.0.2.1", X_Forwarded_For=hops), proxies)) == "192.0.2.1"
    assert str(caller_of(request("10.0.0.1", X_Forwarded_For=hops), ())) == "10.0.0.1"
    assert str(caller_of(request("10.0.0.1"), proxies)) == "10.0.0.1"
    assert str(caller_of(request("10.0.0.1", X_Forwarded_For="x"), proxies)) == "0.0.0.0"
