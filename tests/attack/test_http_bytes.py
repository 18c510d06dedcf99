"""Bytes that are no text, bombs and broken requests: an answer of our own table, never a 500."""

import asyncio
import gzip
import re
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from random import Random

import msgspec
import pytest
import pytest_asyncio

from tests.edge.http.sign_up_world import NUMBER, TOKEN, SignUpWorld, running
from tests.fuzz.guided import Mutator
from whimbrel.edge.http import server
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.problems import STATUS, Problems

JSON = {"Content-Type": "application/json"}
ROUNDS = 400


@pytest_asyncio.fixture
async def world() -> AsyncIterator[SignUpWorld]:
    async with running() as world:
        yield world


def request(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """Asks for the end of the connection, so that the answer ends, too."""
    head = [line + b" HTTP/1.1", *fields, b"Connection: close"]
    if not any(field.lower().startswith(b"host:") for field in fields):
        head.append(b"Host: localhost")
    if body:
        head += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


ADMIN = b"Authorization: Bearer " + TOKEN.encode()
PIN = b'{"number":"%b"}' % NUMBER.encode()
SAMPLES = {
    "home": (request(b"GET /"), 200),
    "host of bytes": (request(b"GET /", b"Host: \xff\xfe"), 200),
    "host of brackets": (request(b"GET /", b"Host: [::1"), 200),
    "host that is markup": (request(b"GET /", b"Host: <script>"), 200),
    "token of bytes": (request(b"GET /admin/stats", b"Authorization: Bearer \xff"), 401),
    "token of bytes, elsewhere": (request(b"GET /health", b"Authorization: Bearer \xff"), 200),
    "path of bytes": (request(b"GET /admin/users/%ff", ADMIN), 422),
    "query of bytes": (request(b"GET /admin/users?after=%ff&limit=1", ADMIN), 200),
    "query of surrogates": (request(b"GET /admin/users?after=%ed%a0%80", ADMIN), 200),
    "encoding": (request(b"POST /v1/signup/pin", b"Content-Encoding: gzip", body=PIN), 415),
    "no encoding": (request(b"POST /v1/signup/pin", b"Content-Encoding: identity", body=PIN), 202),
    "expectation": (request(b"POST /v1/signup/pin", b"Expect: a cake", body=PIN), 400),
    "method": (request(b"PATCH /"), 405),
    "method that is none": (request(b"BREW /"), 400),
    "forwarded bytes": (request(b"GET /pins", b"X-Forwarded-For: \xff"), 404),
}


def judge(answer: bytes) -> int:
    """The status; a refusal is one of the table, in our form and with our headers."""
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer, answer[:200]
    status = int(answer.split(b" ", 2)[1])
    if status >= 400:
        content = answer.partition(b"\r\n\r\n")[2]
        problem = msgspec.json.decode(content, type=Problems).error
        assert STATUS[problem.code][0] == status
        assert status != 500, problem
    return status


@pytest.mark.parametrize("name", SAMPLES)
async def test_strange_bytes_in_good_requests(world: SignUpWorld, name: str) -> None:
    data, status = SAMPLES[name]
    answer = await world.raw(data)
    assert judge(answer) == status
    assert b"<script>" not in answer


async def test_requests_that_were_broken_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutated by the fuzzer of tests/fuzz; what waits for more bytes is soon shown out."""
    chance = Random(5)
    words = (b"\r\n", b"\xff", b"%", b":", b"\0", b"chunked", b"Transfer-Encoding: ", b"gzip")
    mutator, samples = Mutator(chance, words), [data for data, _ in SAMPLES.values()]
    seen: set[int] = set()
    monkeypatch.setattr(server, "LINGER_S", 0.2)
    async with running(http=HttpLimits(head_s=0.2, body_s=0.2, requests_burst=10**6)) as world:
        for _ in range(ROUNDS // 50):
            sent = [mutator.change(chance.choice(samples), samples[0]) for _ in range(50)]
            for data, answer in zip(sent, await asyncio.gather(*map(world.raw, sent)), strict=True):
                codes = set(map(int, re.findall(rb"HTTP/1\.[01] ([1-5][0-9]{2}) ", answer)))
                assert 500 not in codes, data
                seen |= codes
    assert {200, 400, 404} <= seen, "what was broken was broken too much, or not at all"
    assert seen <= {status for status, _ in STATUS.values()} | {100, 200, 201, 202, 417}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip", "br", "zstd", "x"])
async def test_a_packed_body_is_refused_and_never_unpacked(world: SignUpWorld, coding: str) -> None:
    bomb = zlib.compress(b" " * 4_000_000) if coding == "deflate" else gzip.compress(bytes(3 << 20))
    tracemalloc.start()
    try:
        status, answer = await world.post(
            "/v1/signup/pin", data=bomb, headers=JSON | {"Content-Encoding": coding}
        )
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert (status, answer["error"]["code"]) == (415, "wrong-content-type")
    assert world.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 4_000,
        b'{"number":' * 400,
        b'{"number":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
        b'{"x":' * 33 + b"1" + b"}" * 33,
        b'{"number":"' + b"\\ud800" * 9 + b'"}',
        b'{"number":"\xed\xa0\x80"}',
        b'{"number":' + b"9" * 4_000 + b"}",
    ],
    ids=["lists", "maps", "value", "unknown", "surrogates", "no UTF-8", "number"],
)
async def test_nested_and_malformed_json_is_refused(world: SignUpWorld, body: bytes) -> None:
    for path in ("/v1/signup/pin", "/v1/signup/verify"):
        status, answer = await world.post(path, data=body, headers=JSON)
        assert (status, answer["error"]["code"]) == (400, "bad-message")
    assert world.asked == []


async def test_a_new_account_is_told_a_host_that_is_one(world: SignUpWorld) -> None:
    """A right PIN is used up: the key must not be lost to a header that cannot be repeated."""
    pin = await world.pin()
    body = b'{"number":"%b","pin":"%b"}' % (NUMBER.encode(), pin.encode())
    answer = await world.raw(request(b"POST /v1/signup/verify", b"Host: \xff[::1", body=body))
    assert judge(answer) == 201
    assert b'"host":"chat.example"' in answer
