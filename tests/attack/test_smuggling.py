"""Requests that a proxy and we might read differently: refused, and the connection ends.

RFC 9112 sections 2.2, 5.2, 6.1, 6.3, 7.1. The smuggled request would have a PIN sent to the victim.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge.http.sign_up_world import SignUpWorld, running
from whimbrel.domain.messages import RequestPin

VICTIM, OWN = "+4915187654321", "+4915112345678"


def request_for(number: str) -> bytes:
    body = b'{"number":"%b"}' % number.encode()
    return (
        b"POST /v1/signup/pin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


SMUGGLED = request_for(VICTIM)
BODY = b'{"number":"+4915112345678"}'
LENGTH = b"%d" % len(BODY)


def head(*fields: bytes) -> bytes:
    start = b"POST /v1/signup/pin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return start + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
WHOLE = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

AMBIGUOUS = {
    "TE and CL": head(b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n",
    "CL and TE": head(CHUNKED, b"Content-Length: " + LENGTH) + WHOLE,
    "CL twice": head(b"Content-Length: 0", b"Content-Length: " + LENGTH) + BODY,
    "CL twice, the same": head(*[b"Content-Length: " + LENGTH] * 2) + BODY,
    "CL list": head(b"Content-Length: 0, " + LENGTH) + BODY,
    "CL with a plus": head(b"Content-Length: +" + LENGTH) + BODY,
    "CL with a minus": head(b"Content-Length: -1") + BODY,
    "CL in hexadecimal": head(b"Content-Length: 0x1b") + BODY,
    "CL with an underscore": head(b"Content-Length: 2_7") + BODY,
    "CL in other digits": head("Content-Length: ٢٧".encode()) + BODY,
    "CL beyond 64 bits": head(b"Content-Length: " + b"9" * 30) + BODY,
    "CL empty": head(b"Content-Length:") + BODY,
    "space before the colon": head(b"Content-Length : " + LENGTH) + BODY,
    "folded TE": head(b"Transfer-Encoding:\r\n chunked") + WHOLE,
    "folded CL": head(b"X: y\r\n Content-Length: 0", b"Content-Length: " + LENGTH) + BODY,
    "TE that is not chunked": head(b"Transfer-Encoding: xchunked") + WHOLE,
    "TE identity": head(b"Transfer-Encoding: identity", b"Content-Length: 0") + BODY,
    "TE chunked, not last": head(b"Transfer-Encoding: chunked, gzip") + WHOLE,
    "TE twice": head(CHUNKED, CHUNKED) + WHOLE,
    "TE with a tab": head(b"Transfer-Encoding: \x0bchunked") + WHOLE,
    "TE in HTTP/1.0": head(CHUNKED).replace(b"1.1", b"1.0") + WHOLE,
    "bare LF in the head": head(b"Content-Length: " + LENGTH + b"\nX: y") + BODY,
    "bare CR in the head": head(b"X: y\rContent-Length: 0", b"Content-Length: " + LENGTH) + BODY,
    "NUL in the head": head(b"X: y\x00z", b"Content-Length: " + LENGTH) + BODY,
    "space at the first field": head(b"Content-Length: " + LENGTH).replace(b"\nHost", b"\n Host")
    + BODY,
    "bare LF after a chunk": head(CHUNKED) + b"1b\r\n%b\n0\r\n\r\n" % BODY,
    "bare LF after a size": head(CHUNKED) + b"1b\n%b\r\n0\r\n\r\n" % BODY,
    "LF in a chunk extension": head(CHUNKED) + b"1b;x=\ny\r\n%b\r\n0\r\n\r\n" % BODY,
    "chunk size with a minus": head(CHUNKED) + b"-1\r\n%b\r\n0\r\n\r\n" % BODY,
    "chunk size with 0x": head(CHUNKED) + b"0x1b\r\n%b\r\n0\r\n\r\n" % BODY,
    "chunk size with an underscore": head(CHUNKED) + b"1_b\r\n%b\r\n0\r\n\r\n" % BODY,
    "chunk size without end": head(CHUNKED) + b"f" * 40 + b"\r\n%b\r\n0\r\n\r\n" % BODY,
    "chunk longer than said": head(CHUNKED) + b"5\r\n%b\r\n0\r\n\r\n" % BODY,
    "CL in a trailer": head(CHUNKED) + b"1b\r\n%b\r\n0\r\nContent-Length: 0\r\n\r\n" % BODY,
    "two Hosts": head(b"Host: other", b"Content-Length: " + LENGTH) + BODY,
}
UNDERSTOOD = {
    "chunks": head(CHUNKED) + WHOLE,
    "chunk extension": head(CHUNKED) + b'1b;x="y z"\r\n%b\r\n0\r\n\r\n' % BODY,
    "trailers": head(CHUNKED) + b"1b\r\n%b\r\n0\r\nX: y\r\n\r\n" % BODY,
    "leading zeros": head(b"Content-Length: 0" + LENGTH) + BODY,
}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[SignUpWorld]:
    async with running() as world:
        yield world


def asked(world: SignUpWorld) -> list[str]:
    return [each.number for each in world.asked if isinstance(each, RequestPin)]


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    world: SignUpWorld, name: str
) -> None:
    answer = await world.raw(AMBIGUOUS[name] + SMUGGLED)  # until the server closes
    assert answer.count(b"HTTP/1.") == 1
    assert answer.split(b" ", 2)[1] == b"400", answer[:60]
    assert b'"code":"bad-message"' in answer
    assert VICTIM not in asked(world)


@pytest.mark.parametrize("name", UNDERSTOOD)
async def test_what_can_be_read_in_one_way_ends_where_it_ends(
    world: SignUpWorld, name: str
) -> None:
    end = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await world.raw(UNDERSTOOD[name] + end)
    assert answer.count(b"HTTP/1.1 ") == 2, answer
    assert b'{"status":"alive"}' in answer
    assert asked(world) == [OWN]


async def test_two_requests_at_once_are_two_requests(world: SignUpWorld) -> None:
    """So that the tests above are known to look for something that can be seen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.plain_port)
    writer.write(request_for(OWN) + SMUGGLED)
    async with asyncio.timeout(10):
        while len(asked(world)) < 2:
            await reader.read(1_000)
    writer.close()
    assert asked(world) == [OWN, VICTIM]
