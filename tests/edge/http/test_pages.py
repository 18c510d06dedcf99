"""What people and load balancers see: the first page, the PINs, health, the document."""

from typing import Any

import msgspec
import pytest

from tests.edge.http.sign_up_world import NUMBER, SignUpWorld, running
from whimbrel.edge.http.problems import STATUS
from whimbrel.edge.http.routes import ROUTES, Access, errors_of
from whimbrel.services.sms.console import SHOWN_MAX, ConsoleSender


async def test_the_page_about_the_server_says_what_this_is(world: SignUpWorld) -> None:
    status, page = await world.get("/about")
    assert status == 200
    assert world.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "chat.example" in page
    assert "whimbrel register" in page
    _, page = await world.get("/about", headers={"Host": '"><script>alert(1)</script>'})
    assert "<script" not in page


async def test_the_page_of_pins_shows_the_newest_first_and_no_script() -> None:
    lines: list[str] = []
    sender = ConsoleSender(lines.append, now=lambda: 0.0)
    async with running(sender) as world:
        assert "Nobody has asked" in (await world.get("/pins"))[1]
        status, _ = await world.post("/v1/signup/pin", {"number": NUMBER})
        assert status == 202
        await sender.send("+1<b>", "<i>&")
        status, page = await world.get("/pins")
        pin = sender.shown[0][2]
        assert status == 200
        assert lines[0] == f"PIN for {NUMBER}: {pin}"
        assert page.index("&lt;i&gt;&amp;") < page.index(pin)
        assert NUMBER in page
        assert 'http-equiv="refresh"' in page
        assert "<script" not in page
        assert "<i>" not in page
        assert "<b>" not in page


async def test_without_the_console_sender_there_is_no_page_of_pins(world: SignUpWorld) -> None:
    status, body = await world.get("/pins")
    assert (status, body["error"]["code"]) == (404, "not-found")


async def test_another_sender_shows_nothing_whatever_it_keeps() -> None:
    sender = ConsoleSender(lambda _line: None)
    sender.name = "webhook"
    async with running(sender) as world:
        assert (await world.get("/pins"))[0] == 404


async def test_the_console_keeps_the_last_fifty() -> None:
    sender = ConsoleSender(lambda _line: None)
    for turn in range(60):
        await sender.send(NUMBER, f"{turn:05}")
    assert [pin for _, _, pin in sender.shown] == [f"{turn:05}" for turn in range(10, 60)]
    assert SHOWN_MAX == 50


async def test_health_is_alive_while_ready_tells_what_is_wrong(world: SignUpWorld) -> None:
    assert await world.get("/ready") == (200, {"status": "ready"})
    world.reason = "the disk is full"
    assert await world.get("/health") == (200, {"status": "alive"})
    status, body = await world.get("/ready")
    assert (status, body["error"]["code"]) == (503, "try-again")
    assert "the disk is full" in body["error"]["message"]
    assert (await world.call("HEAD", "/health"))[0] == 200


# ---- the OpenAPI document ---------------------------------------------------------------


def refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in refs(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in refs(value)]
    return []


async def test_the_document_describes_every_route_and_every_error(world: SignUpWorld) -> None:
    status, doc = await world.get("/openapi.json")
    assert status == 200
    assert doc["openapi"] == "3.1.0"
    assert set(doc["info"]) >= {"title", "version"}
    described = {(method, path) for path, item in doc["paths"].items() for method in item}
    assert described == {(route.method.lower(), route.path) for route in ROUTES}
    for route in ROUTES:
        operation = doc["paths"][route.path][route.method.lower()]
        assert operation["summary"]
        assert operation["tags"]
        responses = operation["responses"]
        assert set(responses) == {str(status) for status in (route.status, *route.also)} | {
            str(STATUS[code][0]) for code in errors_of(route)
        }
        for response in responses.values():
            assert response["description"]
            assert response.get("content") or not route.answer
        assert ("requestBody" in operation) is (route.takes is not None or route.sends)
        assert ("security" in operation) is (route.access is Access.ADMIN or route.basic)
        names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert names == [part.strip("{}") for part in route.path.split("/") if "{" in part]


async def test_every_reference_of_the_document_leads_somewhere(world: SignUpWorld) -> None:
    _, doc = await world.get("/openapi.json")
    found = refs(doc)
    assert len(found) > 20
    for ref in found:
        assert ref.startswith("#/components/schemas/")
        assert ref.rpartition("/")[2] in doc["components"]["schemas"]
    ids = [op["operationId"] for item in doc["paths"].values() for op in item.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_described_route_is_served(world: SignUpWorld, route: Any) -> None:
    path = route.path.replace("{address}", "alice")
    body: dict[str, Any] | None = {} if route.takes is not None else None
    headers = {"Authorization": f"Bearer {world.inside.admin_token}"}
    status, answer = await world.call(route.method, path, body, headers=headers)
    assert status != 405
    if route.method == "HEAD":
        assert status in {STATUS[code][0] for code in errors_of(route)}
    elif status == route.status:
        assert route.gives is None or msgspec.convert(answer, route.gives)
    else:
        assert answer["error"]["code"] in errors_of(route)
