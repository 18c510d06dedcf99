"""A program among the people with browsers: our Python client, and a bare one for odd bodies."""

import asyncio
import json
import urllib.request
from types import TracebackType
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError
from websockets.typing import Subprotocol

from bench.server import Server

HELLO, SUBMIT, STORED, REFUSED, ERROR = 1, 2, 33, 34, 48
_count = 0


def next_number() -> str:
    global _count
    _count += 1
    return f"+49152{_count:08}"


def _ask(url: str, body: dict[str, str] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


async def sign_up(server: Server, number: str) -> dict[str, Any]:
    """The answer of sign-up: account, device, key and where the native port is."""

    def steps() -> dict[str, Any]:
        here = f"http://127.0.0.1:{server.ready['http']}"
        _ask(f"{here}/v1/signup/pin", {"number": number})
        shown = _ask(f"{here}/pins.json")["pins"]
        pin = next(each["pin"] for each in shown if each["number"] == number)
        signed: dict[str, Any] = _ask(f"{here}/v1/signup/verify", {"number": number, "pin": pin})
        return signed

    return await asyncio.to_thread(steps)


class Program:
    """Submits whatever body it is told, as JSON, and waits for each answer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.number = next_number()
        self.c = 0

    async def __aenter__(self) -> "Program":
        self.signed = await sign_up(self.server, self.number)
        await self.join()
        return self

    async def join(self) -> None:
        signed = self.signed
        url = f"ws://127.0.0.1:{self.server.ready['http']}/v1/socket"
        self.socket = await connect(url, subprotocols=[Subprotocol("whimbrel.1")])
        hello = [HELLO, 1, signed["account"], signed["device"], signed["key"], 0, 0, "test"]
        await self.socket.send(json.dumps(hello))
        await self.socket.recv()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.socket.close()

    async def submit(self, to: str, body: dict[str, Any]) -> bool:
        """True if it was taken; False if the server refused this body, or us because of it."""
        self.c += 1
        try:
            return await self._answer(to, body)
        except ConnectionClosedError:  # what is no message at all ends the connection
            self.c -= 1
            await self.join()
            return False

    async def _answer(self, to: str, body: dict[str, Any]) -> bool:
        await self.socket.send(json.dumps([SUBMIT, self.c, to, body]))
        while True:
            answer = json.loads(await self.socket.recv())
            if answer[0] == STORED and answer[1] == self.c:
                return True
            if answer[0] == REFUSED and answer[1] == self.c:
                return False
            if answer[0] == ERROR:  # not even a message: the connection ends
                raise ConnectionClosedError(None, None)
