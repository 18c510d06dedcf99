"""A real HTTP server on a free port, in front of the real sign-up desk and tiny fake users.

`ask` is what the node does, in small: it runs the desk's rules, performs their effects, and
hands the waiting caller its answer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tests.logic.desk_world import DeskWorld
from whimbrel.domain.answers import (
    Description,
    DeviceDescription,
    Proven,
    Registered,
    Rejected,
    Removed,
    ToSession,
)
from whimbrel.domain.effects import Reply, SendPin, Tell
from whimbrel.domain.ids import ACTOR_DESK
from whimbrel.domain.messages import Describe, Prove, Register, RemoveAccount, ToActor
from whimbrel.domain.rows import AccountRow
from whimbrel.domain.wants import Accounts, Want
from whimbrel.edge.http.inside import HttpLimits, Info, Inside
from whimbrel.edge.http.server import HttpServer, make_app
from whimbrel.edge.http.shapes import Alerts

TOKEN = "an-administrators-token"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
NUMBER = "+4915112345678"


class FakeSender:
    """Keeps what it was told to send. Has no `shown`: nobody chose to see PINs."""

    name = "file"

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, number: str, pin: str) -> None:
        self.sent.append((number, pin))

    async def close(self) -> None: ...


class FakeUser:
    def __init__(self) -> None:
        self.address = ""
        self.device = 0
        self.key_hash = b""
        self.name = ""

    def answer(self, message: ToActor) -> ToSession:
        if isinstance(message, Register):
            created = not self.address
            self.address, self.key_hash, self.name = message.address, message.key_hash, message.name
            self.device += 1
            return Registered(self.address, self.device, created)
        if isinstance(message, RemoveAccount):
            code = "" if self.address else "not-found"
            self.address = ""
            return Removed(code)
        if isinstance(message, Prove):
            if (message.device, message.key_hash) == (self.device, self.key_hash):
                return Proven(self.address, self.device)
            return Rejected("not-authorized")
        assert isinstance(message, Describe)
        device = DeviceDescription(self.device, self.name, 2, 3, 4, True)
        return Description(self.address, bool(self.address), 5, 6, 7, 8, 9, (device,))


class SignUpWorld:
    def __init__(self, sender: Any = None, **changes: Any) -> None:
        self.desk = DeskWorld()
        self.users: dict[int, FakeUser] = {}
        self.sender = sender or FakeSender()
        self.reason = ""
        self.trouble: Exception | None = None
        self.asked: list[ToActor] = []
        self.now_s = 0.0  # of the rate limits
        settings: dict[str, Any] = {
            "ask": self.ask,
            "load": self.load,
            "sender": self.sender,
            "secret": b"s" * 32,
            "admin_token": TOKEN,
            "ready": lambda: self.reason,
            "stats": lambda: {"turns": 12.5},
            "metrics": lambda: b"whimbrel_ready 1.0\n",
            "alerts": lambda: Alerts([], []),
            "info": lambda: Info("chat.example", 7443, "AB:CD"),
        }
        self.inside = Inside(**(settings | changes))
        self.app: web.Application = make_app(self.inside, lambda: self.now_s)
        self.server = HttpServer(self.app, self.inside.http)
        self.client: aiohttp.ClientSession

    async def ask(self, key: int, make: Callable[[int], ToActor], timeout_s: float) -> ToSession:
        if self.trouble is not None:
            raise self.trouble
        message = make(7)
        self.asked.append(message)
        if key != ACTOR_DESK:
            return self.users.setdefault(key, FakeUser()).answer(message)
        answers: list[ToSession] = []
        for effect in self.desk.say(message):
            if isinstance(effect, Reply):
                answers.append(effect.answer)
            elif isinstance(effect, Tell):
                user = self.users.setdefault(effect.to, FakeUser())
                answers.append(user.answer(effect.message))
            elif isinstance(effect, SendPin):
                await self.sender.send(effect.number, effect.pin)
        assert len(answers) == 1
        return answers[0]

    async def load(self, want: Want) -> object:
        assert isinstance(want, Accounts)
        names = sorted(u.address for u in self.users.values() if u.address > want.after)
        return [AccountRow(1, name, 2, 3, 4, 5, 6, 7, 8, 9) for name in names[: want.limit]]

    # ---- what clients do -----------------------------------------------------------------

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.plain_port}{path}"

    async def call(self, method: str, path: str, json: Any = None, **more: Any) -> tuple[int, Any]:
        if json is not None:
            more["json"] = json
        async with self.client.request(method, self.url(path), **more) as answer:
            content = await answer.read()
            self.headers = answer.headers
            if method == "HEAD" or answer.content_type != "application/json":
                return answer.status, content.decode()
            return answer.status, msgspec.json.decode(content)

    async def post(self, path: str, json: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.call("POST", path, json, **more)

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return await self.call("GET", path, **more)

    async def raw(self, data: bytes) -> bytes:
        """What the server answers to bytes, until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.plain_port)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    async def pin(self, number: str = NUMBER) -> str:
        status, body = await self.post("/v1/signup/pin", {"number": number})
        assert status == 202, body
        pin: str = self.sender.sent[-1][1]
        return pin


QUICK = HttpLimits(requests_burst=10_000)


@asynccontextmanager
async def running(sender: Any = None, **changes: Any) -> AsyncIterator[SignUpWorld]:
    changes.setdefault("http", QUICK)
    world = SignUpWorld(sender, **changes)
    await world.server.start(plain=("127.0.0.1", 0))
    try:
        async with aiohttp.ClientSession() as world.client:
            yield world
    finally:
        await world.server.stop()
