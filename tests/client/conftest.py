"""A fake server and a client that knows it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.client.fake_server import FakeServer
from whimbrel.client import Backoff, Client, Plain

MakeClient = Callable[..., Client]


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    server = FakeServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def make_client(server: FakeServer) -> MakeClient:
    def make(**options: Any) -> Client:
        options.setdefault("trust", Plain())
        options.setdefault("backoff", Backoff(first_s=0.001, max_s=0.01))
        return Client("alice", 1, "key", server.host, server.port, **options)

    return make
