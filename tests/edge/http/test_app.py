"""The HTTP front end as the node uses it: over real sockets, with the real desk behind it."""

import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from whimbrel.domain.answers import Registered, ToSession
from whimbrel.domain.effects import Reply, SendPin, Tell
from whimbrel.domain.ids import ACTOR_DESK, account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Register, ToActor
from whimbrel.domain.turn import Turn
from whimbrel.domain.wants import Want
from whimbrel.edge.certificate import Certificate, self_signed
from whimbrel.edge.http.app import HttpParts, HttpServer, make_app
from whimbrel.edge.http.shapes import Alerts
from whimbrel.logic import desk as rules
from whimbrel.services.sms import make_sender
from whimbrel.services.sms.console import ConsoleSender

NUMBER = "+4915112345678"


class Actors:
    """The sign-up desk with its real rules, and user actors that accept everybody once."""

    def __init__(self) -> None:
        self.desk = rules.new(ACTOR_DESK)
        self.pins: dict[str, str] = {}
        self.keys: dict[str, bytes] = {}

    async def ask(self, key: int, make: Callable[[int], ToActor], timeout_s: float) -> ToSession:
        assert key == ACTOR_DESK
        message = make(1)
        turn = Turn(1_800_000_000_000_000, 0, Limits())
        answer: ToSession | None = None
        handlers: Any = rules.HANDLERS
        for effect in handlers[type(message)](self.desk, message, turn):
            if isinstance(effect, Reply):
                answer = effect.answer
            elif isinstance(effect, SendPin):
                self.pins[effect.number] = effect.pin
            elif isinstance(effect, Tell):
                answer = self._register(effect)
        assert answer is not None
        return answer

    def _register(self, tell: Tell) -> ToSession:
        message = tell.message
        assert isinstance(message, Register)
        assert tell.to == account_number(message.address)
        created = message.address not in self.keys
        self.keys[message.address] = message.key_hash
        return Registered(message.address, len(self.keys), created)


class World:
    def __init__(self) -> None:
        self.actors = Actors()
        self.native_port = 0
        self.trouble = ""
        self.server = HttpServer()
        self.app = make_app(
            HttpParts(
                ask=self.actors.ask,
                load=self._load,
                sender=ConsoleSender(write=lambda line: None),
                secret=b"s" * 32,
                admin_token="",
                ready=lambda: self.trouble,
                stats=dict,
                metrics=bytes,
                alerts=lambda: Alerts([], []),
                domain="example.org",
                native_port=lambda: self.native_port,
                fingerprint=lambda: "ab" * 32,
                pin_digits=6,
            )
        )

    async def _load(self, want: Want) -> object:
        raise AssertionError("nothing here reads rows")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.server.stop()


async def post(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        return answer.status, await answer.json()


async def test_a_number_becomes_an_account_and_only_the_hash_of_its_key_goes_inside(
    world: World,
) -> None:
    port = await world.server.start(world.app, "127.0.0.1", 0, None)
    world.native_port = 7443  # known only after the application was made
    url = f"http://127.0.0.1:{port}/v1/signup"
    status, answer = await post(f"{url}/pin", {"number": "+49 1511 2345678"})
    assert (status, answer) == (202, {"expires_in_s": 600, "retry_after_s": 60})
    pin = world.actors.pins[NUMBER]
    assert len(pin) == 6
    status, answer = await post(f"{url}/verify", {"number": NUMBER, "pin": pin})
    assert status == 201
    key = answer.pop("key")
    assert answer == {
        "account": NUMBER,
        "device": 1,
        "created": True,
        "native": {"host": "example.org", "port": 7443},
        "fingerprint": "ab" * 32,
    }
    assert len(key) == 43
    assert world.actors.keys[NUMBER] == hashlib.sha256(key.encode()).digest()
    status, answer = await post(f"{url}/verify", {"number": NUMBER, "pin": pin})
    assert (status, answer["error"]["code"]) == (403, "pin-wrong")


async def test_one_application_is_served_on_several_ports_also_with_tls(
    world: World, tmp_path: Path
) -> None:
    certificate = Certificate(*self_signed(tmp_path, "localhost"), "whimbrel/1")
    plain = await world.server.start(world.app, "127.0.0.1", 0, None)
    secure = await world.server.start(world.app, "127.0.0.1", 0, certificate.http)
    trusted = ssl.create_default_context()
    trusted.check_hostname, trusted.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        for url, context in (
            (f"http://127.0.0.1:{plain}/health", True),
            (f"https://127.0.0.1:{secure}/health", trusted),
        ):
            async with session.get(url, ssl=context) as answer:
                assert answer.status == 200


async def test_ready_says_why_not_and_says_so_again_when_it_is(world: World) -> None:
    port = await world.server.start(world.app, "127.0.0.1", 0, None)
    async with aiohttp.ClientSession() as session:
        for trouble, status in (("the disk is full", 503), ("", 200)):
            world.trouble = trouble
            async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                assert answer.status == status
                assert trouble in await answer.text()


async def test_a_taken_port_is_an_error_and_leaves_the_others_open(world: World) -> None:
    port = await world.server.start(world.app, "127.0.0.1", 0, None)
    with pytest.raises(OSError):
        await world.server.start(world.app, "127.0.0.1", port, None)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/health") as answer,
    ):
        assert answer.status == 200


async def test_after_stop_nobody_listens_and_stopping_twice_is_harmless(world: World) -> None:
    port = await world.server.start(world.app, "127.0.0.1", 0, None)
    await world.server.stop()
    await world.server.stop()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{port}/health")


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [("pigeon", {}, "sms.sender"), ("file", {}, "path"), ("console", {"colour": 1}, "colour")],
)
def test_a_mistake_in_the_choice_of_a_sender_names_its_key(
    name: str, options: dict[str, Any], key: str
) -> None:
    assert make_sender("console", {}).name == "console"
    with pytest.raises(ValueError, match=key):
        make_sender(name, options)
