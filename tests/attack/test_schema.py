"""The OpenAPI document against a real server: schemathesis tries what it allows and what not.

Every answer must be of a status and a shape that the document promises, and none a 500.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
import uvloop
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.checks import load_all_checks

from whimbrel.edge.http.routes import ROUTES
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Sms
from whimbrel.node.samples import NO_PROBE

EXAMPLES = 15
SOAK_EXAMPLES = 600
# The live feed does not end: tests/node/test_office.py listens to it.
OPERATIONS = [(route.method, route.path) for route in ROUTES if not route.endless]
load_all_checks()


class Server:
    """A node on a loop and a thread of its own: schemathesis calls like any program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.node = self._run(self._start())
        admin: dict[str, str] = msgspec.json.decode((folder / "admin.json").read_bytes())
        self.url = admin["url"]
        self.headers = {"Authorization": f"Bearer {admin['token']}"}
        self.schema = schemathesis.openapi.from_url(f"{self.url}/openapi.json")

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self) -> Node:
        config = Config(
            probe=NO_PROBE,
            listen=Listen(host="127.0.0.1", native=-1, https=-1, http=0, xmpp=-1, xmpp_tls=-1),
            sms=Sms("file", {"path": str(self._folder / "pins.txt")}),
        )
        node = Node(config, self._folder)
        await node.start()
        return node

    def close(self) -> None:
        self._run(self.node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    built = Server(tmp_path_factory.mktemp("schema"))
    yield built
    built.close()


def attack(
    server: Server,
    method: str,
    path: str,
    examples: int,
    headers: dict[str, str],
    mode: GenerationMode = GenerationMode.POSITIVE,
) -> int:
    """How many answers came; each was judged by the document."""
    operation = server.schema[path][method]
    statuses = []

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def run(case: Any) -> None:
        answer = case.call(base_url=server.url, headers=headers)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=JUDGES)

    run()
    return len(statuses)


JUDGES = [
    checks.not_a_server_error,
    *checks.CHECKS.get_by_names(
        [
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "response_headers_conformance",
        ]
    ),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_promises(
    server: Server, method: str, path: str
) -> None:
    examples = EXAMPLES if (method, path) in TAKING or "{" in path else 2
    assert attack(server, method, path, examples, server.headers) > 0
    attack(server, method, path, 3, {})  # a stranger


# Without a parameter or a body there is nothing that could be wrong.
TAKING = [(route.method, route.path) for route in ROUTES if route.takes or route.query]


@pytest.mark.parametrize(("method", "path"), TAKING)
def test_what_the_document_forbids_is_refused_as_it_promises(
    server: Server, method: str, path: str
) -> None:
    negative = GenerationMode.NEGATIVE
    assert attack(server, method, path, EXAMPLES, server.headers, negative) > 0


@pytest.mark.soak
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_same_for_longer(server: Server, method: str, path: str) -> None:
    attack(server, method, path, SOAK_EXAMPLES, server.headers)
