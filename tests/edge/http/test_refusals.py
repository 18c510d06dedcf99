"""Bad input: every mistake is a named answer in one form, and has no effect."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.edge.http.sign_up_world import ADMIN, NUMBER, SignUpWorld, running
from whimbrel.domain import errors
from whimbrel.edge.http import problems
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.problems import STATUS

JSON = {"Content-Type": "application/json"}


def test_the_table_of_statuses_knows_every_code_there_is() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper()}
    for module in (errors, problems):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, errors.Refused | errors.Unready):
                codes.add(kind.code)
    assert len(codes) > 30
    assert codes == set(STATUS)
    for status, message in STATUS.values():
        assert 400 <= status < 600
        assert message.endswith(".")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"number": 49}',
        b'{"number": null}',
        b'{"number": ["+49"]}',
        b'{"number": "' + b"4" * 65 + b'"}',
        b'{"number": "\xff\xfe"}',
        b'{"number": "\\ud800"}',
        b'{"number": "+49"} x',
        b"\x00\x01\x02",
        b'{"number": "+4915112345678", "more": ' + b"[" * 50 + b"]" * 50 + b"}",
        b"[" * 4_000,
        b'{"a":' * 700,
    ],
)
async def test_what_is_not_the_expected_json_is_a_bad_message(
    world: SignUpWorld, body: bytes
) -> None:
    status, answer = await world.post("/v1/signup/pin", data=body, headers=JSON)
    assert (status, answer["error"]["code"]) == (400, "bad-message")
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "retry_after_s"}
    assert world.asked == []


async def test_a_bad_message_says_where_but_never_what(world: SignUpWorld) -> None:
    status, answer = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": 12345})
    assert status == 400
    assert "$.pin" in answer["error"]["message"]
    assert "12345" not in answer["error"]["message"]


async def test_fields_that_are_not_known_yet_are_ignored(world: SignUpWorld) -> None:
    status, _ = await world.post("/v1/signup/pin", {"number": NUMBER, "locale": ["de", {}]})
    assert status == 202


async def test_too_big_bodies_are_refused_whether_they_say_so_or_not(world: SignUpWorld) -> None:
    big = b'{"number": "' + b" " * 5_000 + b'"}'

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 100):
            yield big[start : start + 100]

    requests: tuple[dict[str, Any], ...] = (
        {"data": big, "headers": JSON},
        {"data": in_pieces(), "headers": JSON},
    )
    for more in requests:
        status, answer = await world.post("/v1/signup/pin", **more)
        assert (status, answer["error"]["code"]) == (413, "body-too-big")
    assert world.asked == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
)
async def test_another_content_type_is_refused(world: SignUpWorld, kind: str) -> None:
    status, answer = await world.post(
        "/v1/signup/pin", data=b'{"number": "+4915112345678"}', headers={"Content-Type": kind}
    )
    assert (status, answer["error"]["code"]) == (415, "wrong-content-type")


async def test_json_may_say_its_character_set(world: SignUpWorld) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = b'{"number": "+4915112345678"}'
    assert (await world.post("/v1/signup/pin", data=body, headers=headers))[0] == 202


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/signup/pin/", "/admin", "/../etc/passwd"])
async def test_an_unknown_address_is_not_found(world: SignUpWorld, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        status, answer = await world.call(method, path)
        assert (status, answer["error"]["code"]) == (404, "not-found")


async def test_a_wrong_method_is_refused_and_the_right_ones_are_named(world: SignUpWorld) -> None:
    status, answer = await world.get("/v1/signup/pin")
    assert (status, answer["error"]["code"]) == (405, "wrong-method")
    assert world.headers["Allow"] == "POST"
    status, answer = await world.post("/health", {})
    assert (status, answer["error"]["code"]) == (405, "wrong-method")
    assert "GET" in world.headers["Allow"]


async def test_a_device_name_with_control_characters_is_refused(world: SignUpWorld) -> None:
    for name in ("a\nb", "\x1b[2J", "x\u202ey"):
        body = {"number": NUMBER, "pin": "12345", "device_name": name}
        status, answer = await world.post("/v1/signup/verify", body)
        assert (status, answer["error"]["code"]) == (400, "bad-message")
    assert world.asked == []


async def test_every_answer_carries_the_security_headers(world: SignUpWorld) -> None:
    for path in ("/", "/about", "/health", "/nothing", "/openapi.json", "/admin/users"):
        await world.get(path)
        assert world.headers["X-Content-Type-Options"] == "nosniff"
        assert world.headers["Referrer-Policy"] == "no-referrer"
        kept = "no-cache" if path == "/" else "no-store"  # the page is asked about by its tag
        assert world.headers["Cache-Control"] == kept
        assert "default-src 'none'" in world.headers["Content-Security-Policy"]
        assert world.headers["Server"] == "whimbrel"


async def test_a_client_that_asks_too_often_is_told_to_wait_and_the_administrator_is_not() -> None:
    limits = HttpLimits(requests_per_s=2.0, requests_burst=3)
    async with running(http=limits) as world:
        for _ in range(3):
            assert (await world.get("/health"))[0] == 200
        status, answer = await world.get("/health")
        assert (status, answer["error"]["code"]) == (429, "rate-limited")
        assert answer["error"]["retry_after_s"] == 1
        assert (await world.get("/nothing"))[0] == 429  # in front of everything
        wrong = {"Authorization": "Bearer guess"}
        assert (await world.get("/admin/stats", headers=wrong))[0] == 429
        assert (await world.get("/admin/stats", headers=ADMIN))[0] == 200
        world.now_s += 0.5
        assert (await world.get("/health"))[0] == 200
        assert (await world.get("/health"))[0] == 429


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async with running(http=HttpLimits(body_s=0.05)) as world:
        answer = await world.raw(
            b"POST /v1/signup/pin HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 40\r\n\r\n{"
        )
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"idle-timeout"' in answer
        assert world.asked == []


async def test_a_client_that_leaves_in_the_middle_harms_nobody(world: SignUpWorld) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", world.server.plain_port)
        writer.write(b"POST /v1/signup/pin HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{")
        writer.transport.abort()
    assert (await world.get("/health"))[0] == 200


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/a" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
        b"POST /v1/signup/pin HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/signup/pin HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_closed_and_has_no_effect(
    world: SignUpWorld, noise: bytes
) -> None:
    answer = await world.raw(noise)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert (await world.get("/health"))[0] == 200
    assert world.asked == []
