"""Sign-up on the real server: PIN, key, chat; and a new sign-up throws the old phone out."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bench.raw import RawClient, client_context, connect
from bench.server import Server
from whimbrel.protocol import wire

NUMBER = "+4915112345678"


class SignUpServer(Server):
    """PINs go to a file, where the test can read them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pins = folder / "pins.jsonl"
        self.limits += (
            f'\n[sms]\nsender = "file"\n[sms.options]\npath = "{self.pins}"\n'
            "[signup]\nnumber_waits_s = [1]\n"
        )

    def post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ready['http']}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            taken: dict[str, Any] = json.load(answer)
            return taken

    async def sign_up(self, number: str) -> dict[str, Any]:
        seen = len(self.lines())
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(self.asked, number):  # noqa: ASYNC110 - one second
                await asyncio.sleep(0.05)
            while len(self.lines()) == seen:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
        pin = json.loads(self.lines()[-1])["pin"]
        return await asyncio.to_thread(
            self.post, "/v1/signup/verify", {"number": number, "pin": pin}
        )

    def asked(self, number: str) -> bool:
        try:
            self.post("/v1/signup/pin", {"number": number})
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise
            return False
        return True

    def lines(self) -> list[str]:
        return self.pins.read_text().splitlines() if self.pins.exists() else []


def client_of(signed: dict[str, Any], heard: list[Any]) -> RawClient:
    return RawClient(
        signed["account"],
        signed["key"],
        signed["device"],
        client_context(),
        lambda client, messages: heard.extend(messages),
    )


def test_a_new_sign_up_ends_the_old_connection_and_its_key(tmp_path: Path) -> None:
    async def play(server: SignUpServer) -> None:
        first = await server.sign_up(NUMBER)
        assert first["created"] is True
        assert len(first["key"]) == 43
        heard: list[Any] = []
        port = server.ready["native"]
        old = await connect(client_of(first, heard), "127.0.0.1", port)
        second = await server.sign_up(NUMBER)
        assert second["created"] is False
        assert second["key"] != first["key"]
        assert second["device"] > first["device"]
        async with asyncio.timeout(10):
            await old.closed
        assert wire.Replaced() in heard
        with pytest.raises(ConnectionError, match="not-authorized"):
            await connect(client_of(first, []), "127.0.0.1", port)
        new = await connect(client_of(second, []), "127.0.0.1", port)
        assert (await new.welcome).device == second["device"]
        new.close()

    server = SignUpServer(tmp_path)
    with server:
        asyncio.run(play(server))
    for path in server.data.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for line in server.lines():
            assert json.loads(line)["pin"].encode() + b"\n" not in data
