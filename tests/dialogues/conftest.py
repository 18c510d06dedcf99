"""A fresh server for each dialogue."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.xmpp.house import House, house


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data") as opened:
        yield opened
