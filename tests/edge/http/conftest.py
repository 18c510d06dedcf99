from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.http.sign_up_world import SignUpWorld, running


@pytest_asyncio.fixture
async def world() -> AsyncIterator[SignUpWorld]:
    async with running() as world:
        yield world
