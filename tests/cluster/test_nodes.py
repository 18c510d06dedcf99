"""Three real nodes, a real PostgreSQL, a real NATS; people on all of them; what breaks, breaks.

The judge knows only what clients saw (tests/node/kill.py).
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.server import LIMITS
from trial.nats import NatsServer
from trial.nodes import Trial, TrialNode
from trial.people import Crowd, create
from trial.twice import Echo

PAIRS = 9


@pytest.fixture
def trial(url: str, nats_server: NatsServer, tmp_path: Path) -> Iterator[Trial]:
    asyncio.run(create(url, 2 * PAIRS))
    trial = Trial(tmp_path / "trial", url, nats_server.url, 3, LIMITS)
    trial.start()
    yield trial
    trial.stop()


def asked(node: TrialNode, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Over the node's own HTTP, as its administrator."""
    admin = json.loads((node.folder / "data" / "admin.json").read_text())
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.ready['http']}{path}",
        json.dumps(body).encode() if body is not None else None,
        {"Authorization": f"Bearer {admin['token']}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def has_bus(node: TrialNode) -> bool:
    return bool(asked(node, "GET", "/admin/stats")[1]["stats"]["bus_up"])


def test_people_on_all_nodes_lose_nothing_whatever_breaks(
    trial: Trial, nats_server: NatsServer
) -> None:
    async def play() -> None:
        one, two, three = trial.nodes
        async with Crowd(trial.nodes, PAIRS) as crowd:
            await crowd.everybody_talks()
            echo = Echo(nats_server.url)
            await echo.start()
            await crowd.talks(200)
            assert echo.count > 0, "all of it was said twice"
            await echo.stop()
            nats_server.kill()
            await crowd.until(lambda: not any(has_bus(node) for node in trial.nodes))
            nats_server.start()
            await crowd.everybody_talks()
            three.kill()
            await crowd.everybody_talks()
            await asyncio.to_thread(two.stop)  # hands over
            await crowd.everybody_talks()
            await asyncio.to_thread(three.start)
            await crowd.talks(100)
            await crowd.settles()
            crowd.judge()
        assert one.process is not None
        assert one.process.poll() is None

    asyncio.run(play())


def test_any_node_answers_for_every_account_and_keeps_the_same_secrets(trial: Trial) -> None:
    one, two, three = trial.nodes
    for number in range(6):  # on whichever nodes these are
        name = f"person{number}"
        status, made = asked(one, "POST", "/admin/users", {"address": name})
        assert status < 300, made
        for other in (two, three):
            status, shown = asked(other, "GET", f"/admin/users/{name}")
            assert (status, shown["address"]) == (200, name), shown
    secrets = {
        (node.folder / "data" / name).read_text()
        for node in trial.nodes
        for name in ("scram.secret",)
    }
    assert len(secrets) == 1
    for node in trial.nodes:
        stats = asked(node, "GET", "/admin/stats")[1]["stats"]
        assert stats["nodes"] == 3
        assert stats["bus_up"] == 1
        assert stats["node_shards"] > 1_000
