"""A whole server in this process, and administrators who speak HTTP to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from whimbrel.domain.limits import Limits
from whimbrel.node.alerts import AlertSettings
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Sms
from whimbrel.node.samples import NO_PROBE

PATIENCE_S = 20.0


class Admin:
    """One token's bearer; "" has none."""

    def __init__(self, node: Node, http: aiohttp.ClientSession, token: str) -> None:
        self.node = node
        self.http = http
        self.token = token

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.node.ports['http']}{path}"

    async def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        async with self.http.request(
            method, self.url(path), json=body, headers={**self.headers, **(headers or {})}
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def get(self, path: str) -> Any:
        status, body = await self.call("GET", path)
        assert status == 200, (status, body)
        return body

    async def do(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.call(method, path, body)
        assert status < 300, (status, answer)
        return answer

    async def with_token(self, name: str, *scopes: str, days: int = 0) -> "Admin":
        body = {"name": name, "scopes": list(scopes), "days": days}
        made = await self.do("POST", "/admin/tokens", body)
        return Admin(self.node, self.http, made["token"])

    @asynccontextmanager
    async def live(self) -> AsyncIterator["Live"]:
        async with self.http.get(self.url("/admin/live"), headers=self.headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/event-stream"
            yield Live(answer)


class Live:
    """What is heard on the live feed."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._content = answer.content

    async def next(self) -> tuple[str, Any]:
        """(event, data); ("", None) at the end."""
        name = ""
        async with asyncio.timeout(PATIENCE_S):
            while line := await self._content.readline():
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    return name, json.loads(value)
        return "", None


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Admin]:
    """With the bearer of admin.token."""
    settings.setdefault("alerts", AlertSettings())
    settings.setdefault("limits", Limits())
    listen = Listen(
        host="127.0.0.1", native=0, https=-1, http=0, xmpp=-1, xmpp_tls=-1, xmpp_plain=0,
        native_plain=0,
    )  # fmt: skip
    sms = Sms("file", {"path": str(folder.parent / "pins.txt")})
    node = Node(Config(probe=NO_PROBE, listen=listen, sms=sms, **settings), folder)
    await node.start()
    token = (folder / "admin.token").read_text(encoding="ascii").strip()
    try:
        async with aiohttp.ClientSession() as http:
            yield Admin(node, http, token)
    finally:
        await node.stop()
