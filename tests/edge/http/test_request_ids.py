"""Every answer has a number of its own, and what the log says of the request has the same one."""

from pathlib import Path

import aiohttp
import structlog
from structlog.testing import LogCapture

from tests.node.test_alerts import server
from whimbrel.node.alerts import AlertSettings


async def test_a_request_has_one_number_in_its_answer_and_in_the_log(tmp_path: Path) -> None:
    heard = LogCapture()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, heard],
        cache_logger_on_first_use=False,
    )
    try:
        async with (
            server(tmp_path / "data", AlertSettings()) as node,
            aiohttp.ClientSession() as http,
        ):
            base = f"http://127.0.0.1:{node.ports['http']}"
            numbers = []
            for path in ("/ready", "/nothing-here?pin=12345", "/admin/users"):
                async with http.get(base + path) as answer:
                    numbers.append(answer.headers["X-Request-Id"])
    finally:
        structlog.configure(**before)
    lines = [line for line in heard.entries if line["event"] == "request"]
    assert [line["request"] for line in lines] == numbers
    assert len(set(numbers)) == 3
    assert [line["status"] for line in lines] == [200, 404, 401]
    assert [line["route"] for line in lines] == ["/ready", "", "/admin/users"]
    assert "12345" not in str(heard.entries)
