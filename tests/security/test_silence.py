"""What the server says of what it was told: nothing.

A real server with the loudest log, in both forms: people sign up, mistype PINs, log in with right
and wrong keys, write; strangers send broken frames and requests; planted bugs fail everywhere
with the secrets in their texts; the server is killed, started again and stopped. Then everything
that it ever said is searched for every body, key, PIN and token.
"""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from bench.raw import RawClient, client_context, connect
from tests.node.kill import kill
from tests.security.provoked import CRASH, PLACES
from tests.security.spied import PATIENCE_S, Secrets, SpiedServer
from whimbrel.protocol import wire

ALICE, BOB = "+4915112345678", "+4915187654321"
pack = msgspec.msgpack.encode


class Play:
    """One evening of a server, with its secrets."""

    def __init__(self, server: SpiedServer) -> None:
        self.server = server
        self.secrets = Secrets()
        self.heard: list[Any] = []
        self.keys: dict[str, tuple[int, str]] = {}

    # ---- people --------------------------------------------------------------------------

    def sign_up(self, number: str) -> None:
        server, secrets = self.server, self.secrets
        assert server.post("/v1/signup/pin", {"number": number})[0] == 202
        pin = secrets.keep("a PIN", server.pin_of(number))
        wrong = f"{(int(pin) + 7) % 10**8:08d}"
        for bad in (wrong, secrets.new("a wrong PIN")):
            given = {"number": number, "pin": secrets.keep("a wrong PIN", bad)}
            assert server.post("/v1/signup/verify", given)[0] == 403
        given = {"number": number, "pin": pin, "device_name": "phone"}
        request = server.answers
        status, answer = server.post("/v1/signup/verify", given)
        assert status == 201
        request.popitem()  # here the key is told, once, to whom it belongs
        account = json.loads(answer)
        self.keys[number] = account["device"], secrets.keep("a key", account["key"])

    async def log_in(self, number: str) -> RawClient:
        device, key = self.keys[number]
        client = RawClient(number, key, device, client_context(), self.hear)
        return await connect(client, "127.0.0.1", self.server.ready["native"])

    def hear(self, client: RawClient, messages: list[Any]) -> None:
        self.heard += messages
        items = [each.q for each in messages if isinstance(each, wire.Item)]
        if items:
            client.send(wire.Confirm(max(items)))

    async def until(self, kind: type, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while sum(isinstance(each, kind) for each in self.heard) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def body(self, **more: Any) -> msgspec.Raw:
        text = self.secrets.new("a body", 30)
        return msgspec.Raw(pack({"text": text, "sealed": self.secrets.new("a body"), **more}))

    async def chat(self) -> None:
        """Bodies that arrive, wait, and are refused without ending the session."""
        alice, bob = await self.log_in(ALICE), await self.log_in(BOB)
        self.heard.clear()
        for to in (BOB, BOB, "nobody-has-this", "no address at all", BOB):
            alice.submit(to, self.body())
        alice.submit(BOB, msgspec.Raw(pack({"text": self.secrets.new("a body", 20) * 2_500})))
        alice.flush()
        await self.until(wire.Stored, 3)
        await self.until(wire.Refused, 3)
        await self.until(wire.Message, 3)
        bob.close()
        await bob.closed
        alice.submit(BOB, self.body(waits=True))
        alice.flush()
        await self.until(wire.Stored, 4)
        alice.close()
        await alice.closed

    # ---- strangers -----------------------------------------------------------------------

    async def strangers(self) -> None:
        """All of these end their connection; what it says of them goes into the answers."""
        new, (device, key) = self.secrets.new, self.keys[ALICE]
        hello = wire.Hello(wire.VERSION, ALICE, device, key)
        wrong = wire.Hello(wire.VERSION, ALICE, device, new("a wrong key", 43))
        marked = new("a body").encode()
        for frames in (
            (wrong,),
            (wire.Hello(wire.VERSION, "nobody-has-this", 1, new("a wrong key", 43)),),
            (wire.Hello(99, ALICE, device, new("a wrong key", 43)),),
            (hello, hello),
            (_framed([1, new("a key"), new("a key"), new("a key"), [new("a key")]]),),
            (_framed([new("a key"), 1, 2]), hello),
            (_framed({new("a key"): new("a body")}),),
            (hello, _framed([2, 1, BOB, new("a body")])),
            (hello, _framed([2, new("a body"), BOB, {"text": 1}])),
            (hello, _framed([2, 1, BOB, {"text": [new("a body")], new("a body"): 1}])),
            (hello, _framed([2, 1, BOB, {"text": "x", "more": {7: new("a body")}}])),
            (hello, _framed([2, 1, new("a body", 60) * 9, {"text": ""}])),
            (hello, b"\0\0\0\x20" + b"\x94\x02\x01" + marked + b"\xc1" * 40),
            (hello, b"\xff\xff\xff\xff" + marked),
            (hello, wire.Confirm(2**40), wire.Submit(1, BOB, self.body())),
            (b"\0\0\0\0" + marked,),
            (marked * 900,),
        ):
            answered = await self.server.stranger(*frames)
            assert answered or frames[0] is wrong, frames

    async def requests(self) -> None:
        """HTTP that is refused: bodies, heads and tokens."""
        server, new = self.server, self.secrets.new
        token = self.secrets.keep("the token", (server.data / "admin.token").read_text())
        self.secrets.keep("the secret of PINs", (server.data / "pin.secret").read_text())
        bearer = {"Authorization": f"Bearer {token}"}
        for data in (
            {"number": [new("a body")], "pin": new("a PIN")},
            {"number": new("a number"), "pin": new("a PIN", 40)},
            {"number": ALICE, "pin": {new("a PIN"): 1}, new("a body"): 2},
            {"number": new("a number") * 600, "pin": new("a PIN")},
            {"number": f"bug{new('a number')}", "pin": new("a PIN")},
        ):
            assert server.post("/v1/signup/verify", data)[0] >= 400
        broken = f'{{"number": "{new("a body")}'.encode()
        server.ask("POST", "/v1/signup/pin", broken, {"Content-Type": "application/json"})
        server.ask("POST", "/v1/signup/pin", new("a body").encode(), {"Content-Type": "text/x"})
        for name in ("Authorization", "Cookie", "X-Forwarded-For", "Host", "Expect"):
            server.ask("GET", "/admin/stats", None, {name: f"Bearer {new('a token')}"})
        server.ask("GET", "/admin/users", None, {"Authorization": f"Basic {new('a token')}"})
        for line in (
            f"GET /{new('a token')} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"{new('a token')}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\n{new('a token')}\r\n\r\n",
            f"GET / HTTP/1.1\r\nAuthorization: {new('a token', 60) * 400}\r\n\r\n",
            f"POST /v1/signup/pin HTTP/1.1\r\nHost: x\r\nContent-Length: {new('a body')}\r\n\r\n",
        ):
            await server.raw_http(
                line.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode()
            )
        for path in (
            "/admin/users", f"/admin/users/{ALICE}", "/admin/stats", "/ready", "/health", "/",
            "/openapi.json", "/pins",
            f"/admin/messages/1?sender={quote(ALICE)}&recipient={quote(BOB)}",
        ):  # fmt: skip
            status, _ = server.ask("GET", path, None, bearer)
            assert status == (404 if path == "/pins" else 200), path

    # ---- bugs ----------------------------------------------------------------------------

    async def bugs(self) -> None:
        """Each place fails with a secret in the exception's text."""
        for place in PLACES:
            client = await self.log_in(BOB)
            client.send(wire.Typing(f"{place}.{self.secrets.new('a value')}", True))
            client.send(wire.Bye())
            client.flush()
            async with asyncio.timeout(PATIENCE_S):
                await client.closed
        alice = await self.log_in(ALICE)
        self.heard.clear()
        alice.submit(BOB, self.body(more=CRASH.decode()))
        alice.flush()
        await self.until(wire.Refused, 1)  # it killed its actor twice and was set aside
        alice.close()
        await alice.closed


def _framed(message: Any) -> bytes:
    payload = pack(message)
    return len(payload).to_bytes(4, "big") + payload


NOTICED = (
    "session failed",
    "actor crashed",
    "message set aside",
    "request failed",
    "caught this",
    "a library said something",
    "aiohttp.client",
    "py.warnings",
    "nobody caught this",
    "planted",  # the thread's name
    "finalizer",
    "RuntimeError",
)


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_no_body_no_key_no_pin_and_no_token_is_ever_said(tmp_path: Path, form: str) -> None:
    asyncio.run(_evening(SpiedServer(tmp_path, form)))


async def _evening(server: SpiedServer) -> None:
    play = Play(server)
    server.start()
    try:
        for number in (ALICE, BOB):
            await asyncio.to_thread(play.sign_up, number)
        for again in (False, True):
            await play.chat()
            await play.strangers()
            await asyncio.to_thread(asyncio.run, play.requests())
            await play.bugs()
            if not again:
                await asyncio.to_thread(kill, server)
                await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.stop)
    terminal = server.terminal()
    assert [words for words in NOTICED if words not in terminal] == [], "a bug was not noticed"
    assert terminal.count("nobody caught this") >= 2 * 4, "callback, task, thread, finalizer"
    assert "Traceback" not in terminal, "somebody else printed an exception"
    said = server.everything()
    assert len(said) > 80
    assert play.secrets.leaks(said) == []
    assert len(play.secrets.known) > 100


def test_the_search_finds_a_secret_in_every_form() -> None:
    secrets = Secrets()
    body, pin = secrets.new("a body"), secrets.keep("a PIN", "12345678")
    for said in (body.encode(), repr(body.encode()).encode(), body.encode().hex().encode()):
        assert secrets.leaks({"log": b"before " + said + b" after"}) == ["log: a body"]
    import base64

    for before in (b"", b"1", b"22"):
        said = base64.b64encode(before + body.encode() + b"after")
        assert secrets.leaks({"log": said}) == ["log: a body"]
    assert secrets.leaks({"log": f"PIN {pin}.".encode()}) == ["log: a PIN"]
    assert secrets.leaks({"log": b"at 1.12345678 or 9123456789"}) == []
