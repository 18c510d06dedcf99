"""The native edge is tested on the loop that it runs on in production.

`way`: the same dialogue over every transport that devices have.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.edge.house import House


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.parent.name == "http":
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["native", "websocket"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(House, "way", request.param)
    return str(request.param)
