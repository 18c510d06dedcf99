"""One fixture for both stores, one for SQLite alone; both close what they opened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.holder import Holder, memory, sqlite


@pytest.fixture(params=["memory", "memory later", "sqlite"])
def holder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holder]:
    """Each store in turn: the shared suite runs on all of them."""
    if request.param == "sqlite":
        held = sqlite(tmp_path / "data")
    else:
        held = memory(inline=request.param == "memory")
    yield held
    held.store.close()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Holder]:
    held = sqlite(tmp_path / "data")
    yield held
    held.store.close()
