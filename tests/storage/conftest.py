"""One fixture for all stores, one for SQLite alone; both close what they opened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres as server
from tests.storage.holder import Holder, memory, sqlite
from tests.storage.holder_postgres import PostgresHolder, postgres


@pytest.fixture(params=["memory", "memory later", "sqlite", "postgres"])
def holder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holder]:
    """Each store in turn: the shared suite runs on all of them."""
    if request.param == "sqlite":
        held = sqlite(tmp_path / "data")
    elif request.param == "postgres":
        held = postgres(server.fresh_database())
    else:
        held = memory(inline=request.param == "memory")
    yield held
    held.close()
    if isinstance(held, PostgresHolder):
        server.give_back(held.url)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Holder]:
    held = sqlite(tmp_path / "data")
    yield held
    held.store.close()
