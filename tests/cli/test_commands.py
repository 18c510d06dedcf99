"""The commands as people and scripts call them, against scripted servers."""

import asyncio
import json
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from tests.client.fake_server import FakeServer, Peer, text_body
from tests.client.test_trust import self_signed
from whimbrel.cli.home import Account, Home, compact
from whimbrel.cli.main import app
from whimbrel.protocol import wire

Script = Callable[[Peer], Coroutine[Any, Any, None]]


class World:
    """Servers in a loop of their own thread, because a command runs its own loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._stops: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def native(self, script: Script | None = None, tls: Any = None) -> FakeServer:
        """Every connection is welcomed and then follows the script."""

        async def start() -> FakeServer:
            server = FakeServer()
            await server.start(tls)

            async def serve() -> None:
                while script is not None:
                    try:
                        peer = await server.accept()
                    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                        continue  # nobody came, or only looked at the certificate
                    await script(peer)

            if script is not None:
                task = asyncio.ensure_future(serve())
                self._stops.append(lambda: _cancelled(task))
            self._stops.append(server.stop)
            return server

        server: FakeServer = self.call(start())
        return server

    def http(self, routes: list[web.RouteDef]) -> str:
        async def start() -> str:
            application = web.Application()
            application.add_routes(routes)
            runner = web.AppRunner(application)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._stops.append(runner.cleanup)
            return f"http://127.0.0.1:{runner.addresses[0][1]}"

        url: str = self.call(start())
        return url

    def stop(self) -> None:
        for stop in self._stops:
            self.call(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.stop()


def call(*words: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, list(words), input=typed, catch_exceptions=False)


def local(home: Home, server: FakeServer) -> None:
    home.save(Account("alice", 1, "key", server.host, server.port, "http://x", "", tls=False))


class Signup:
    """The sign-up service: PIN 12345."""

    def __init__(self, port: int, fingerprint: str = "", tls: bool = False) -> None:
        self.native = {"host": "0.0.0.0", "port": port, "tls": tls}
        self.fingerprint = fingerprint
        self.asked: list[dict[str, str]] = []

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/signup/pin", self.pin),
            web.post("/v1/signup/verify", self.verify),
        ]

    async def pin(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["number"] == "+49":
            return refusal(400, "bad-number")
        if body["number"] == "+4915199999999":
            return refusal(429, "rate-limited", 180)
        return web.json_response({"expires_in_s": 600, "retry_after_s": 30}, status=202)

    async def verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if body["pin"] != "12345":
            return refusal(403, "pin-wrong")
        answer = {
            "account": body["number"],
            "device": 1,
            "key": "secret",
            "created": True,
            "native": self.native,
            "fingerprint": self.fingerprint,
        }
        return web.json_response(answer, status=201)


def refusal(status: int, code: str, retry_after_s: int = 0) -> web.Response:
    error = {"code": code, "message": "", "retry_after_s": retry_after_s}
    return web.json_response({"error": error}, status=status)


# ---- register ---------------------------------------------------------------------------


def test_register_asks_for_the_pin_and_remembers_the_account(world: World, home: Home) -> None:
    signup = Signup(world.native().port)
    url = world.http(signup.routes)
    result = call(
        "register", "+49 (151) 234-56789", "--server", url, "--name", "desk", typed="99999\n12345\n"
    )
    assert result.exit_code == 0, result.output
    assert "wrong" in result.output
    assert "You are +4915123456789" in result.output
    assert signup.asked[-1] == {"number": "+4915123456789", "pin": "12345", "device_name": "desk"}
    account = home.pick(None)
    assert (account.host, account.key, account.tls) == ("127.0.0.1", "secret", False)
    assert stat.S_IMODE((home.folder / "accounts.json").stat().st_mode) == 0o600
    listed = call("accounts")
    assert "* +4915123456789" in listed.output
    assert "secret" not in listed.output


def test_the_certificate_is_trusted_on_first_use_and_another_one_is_refused_later(
    world: World, home: Home, tmp_path: Path
) -> None:
    context, fingerprint = self_signed(tmp_path)
    signup = Signup(world.native(tls=context).port, fingerprint, tls=True)
    url = world.http(signup.routes)
    assert call("register", "+4915123456789", "--server", url, "--pin", "12345").exit_code == 0
    assert "This is the trusted one" in call("fingerprint").output
    account = home.pick(None)
    home.trust(account.host, account.port, "ab" * 32)
    for words in (("send", "bob", "x"), ("fingerprint",)):
        result = call(*words)
        assert result.exit_code == 1
        assert "another certificate than before" in result.output
        assert "Traceback" not in result.output
    assert call("fingerprint", "--trust").exit_code == 0
    assert "This is the trusted one" in call("fingerprint").output


@pytest.mark.parametrize("accepted", [True, False])
def test_login_keeps_a_key_only_if_the_server_accepts_it(
    world: World, home: Home, tmp_path: Path, accepted: bool
) -> None:
    async def decides(peer: Peer) -> None:
        if accepted:
            peer.welcome()
        else:
            peer.say(wire.Error("not-authorized", fatal=True))

    context, fingerprint = self_signed(tmp_path)
    server = world.native(decides, tls=context)
    result = call("login", "carol", "--key", "k", "--port", str(server.port))
    if accepted:
        assert result.exit_code == 0, result.output
        assert home.pick("carol").fingerprint == fingerprint
    else:
        assert result.exit_code == 1
        assert "does not accept this account's key" in result.stderr
        assert home.accounts()[0] == []


@pytest.mark.parametrize(
    ("number", "typed", "text"),
    [
        ("+49", "", "country code"),
        ("+4915199999999", "", "try again in 3 minutes"),
        ("+4915123456789", "1\n2\n3\n", "this PIN is wrong"),
    ],
)
def test_a_refused_registration_says_why_in_one_line(
    world: World, home: Home, number: str, typed: str, text: str
) -> None:
    url = world.http(Signup(1).routes)
    result = call("register", number, "--server", url, typed=typed)
    assert result.exit_code == 1
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_server_that_is_not_there_is_named(home: Home) -> None:
    result = call("register", "+4915123456789", "--server", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:1" in result.stderr


# ---- send and listen --------------------------------------------------------------------


async def answers(peer: Peer) -> None:
    """Stores everything, delivers and reads it at once."""
    peer.welcome()
    submit = await peer.next(wire.Submit)
    peer.say(wire.Stored(submit.c, 5_000), wire.Receipt(0, 1, submit.to, 5_000, 5_000))


@pytest.mark.parametrize("mark", ["stored", "delivered", "read"])
def test_send_waits_for_the_mark_and_prints_it(world: World, home: Home, mark: str) -> None:
    local(home, world.native(answers))
    result = call("send", "bob", "hello", "--wait", mark, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["to"], answer["c"], answer["id"]) == ("bob", 1, 5_000)
    assert answer[f"{mark}_us"]


def test_send_says_what_became_of_a_refused_message(world: World, home: Home) -> None:
    async def refuses(peer: Peer) -> None:
        peer.welcome()
        submit = await peer.next(wire.Submit)
        peer.say(wire.Refused(submit.c, "unknown-recipient"))

    local(home, world.native(refuses))
    result = call("send", "nobody", "hello")
    assert result.exit_code == 1
    assert "nobody is registered under this address" in result.stderr


def test_send_says_how_long_a_limit_lasts(world: World, home: Home) -> None:
    async def limits(peer: Peer) -> None:
        peer.welcome()
        submit = await peer.next(wire.Submit)
        peer.say(wire.Refused(submit.c, "rate-limited", 0, 600))

    local(home, world.native(limits))
    result = call("send", "bob", "hello")
    assert result.exit_code == 1
    assert "try again in 10 minutes" in result.stderr


def test_send_gives_up_waiting_aloud(world: World, home: Home) -> None:
    async def stores(peer: Peer) -> None:
        peer.welcome()
        peer.say(wire.Stored((await peer.next(wire.Submit)).c, 5_000))

    local(home, world.native(stores))
    result = call("send", "bob", "hello", "--wait", "delivered", "--timeout", "0.2")
    assert result.exit_code == 1
    assert "it is stored" in result.stderr


def test_a_session_taken_over_elsewhere_is_explained(world: World, home: Home) -> None:
    async def replaces(peer: Peer) -> None:
        peer.welcome()
        peer.say(wire.Replaced())

    local(home, world.native(replaces))
    result = call("listen")
    assert result.exit_code == 1
    assert "another device" in result.stderr


def test_without_a_server_send_says_so(home: Home) -> None:
    home.save(Account("alice", 1, "key", "127.0.0.1", 1, "http://x", "", tls=False))
    result = call("send", "bob", "hello")
    assert result.exit_code == 1
    assert "whimbrel serve" in result.stderr


def test_without_an_account_the_first_step_is_named(home: Home) -> None:
    result = call("listen")
    assert result.exit_code == 1
    assert "whimbrel register" in result.stderr


def test_listen_prints_one_object_a_line_and_confirms_what_it_printed(
    world: World, home: Home
) -> None:
    confirmed = threading.Event()

    async def sends(peer: Peer) -> None:
        peer.welcome()
        peer.say(
            wire.Message(0, 1, "bob", 7_000, 1, 1, text_body("one")),
            wire.Message(1, 2, "bob", 7_001, 1, 2, text_body("two")),
        )
        while await peer.next(wire.Confirm) != wire.Confirm(2):
            pass
        confirmed.set()

    local(home, world.native(sends))
    result = call("listen", "--json", "--count", "2")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["from"], line["text"], line["c"]) for line in lines] == [
        ("bob", "one", 1),
        ("bob", "two", 2),
    ]
    assert confirmed.wait(5)


def test_an_account_can_be_named(world: World, home: Home) -> None:
    server = world.native(answers)
    for name in ("alice", "carol"):
        home.save(Account(name, 1, "key", server.host, server.port, "http://x", "", tls=False))
    assert call("send", "bob", "x", "--account", "alice").exit_code == 0
    assert home.pick(None).address == "alice"
    result = call("send", "bob", "x", "--account", "nobody")
    assert "there are: alice, carol" in result.stderr or "carol, alice" in result.stderr


def test_numbers_are_taken_as_people_write_them() -> None:
    assert compact("0049 151/234-5") == "+491512345"
    assert compact(" Alice ") == "alice"


# ---- users ------------------------------------------------------------------------------


def test_user_commands_ask_the_running_server(world: World, home: Home, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def admin(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer token"
        seen.append((request.method, request.path))
        if request.method == "GET":
            after = request.query.get("after", "")
            names = {"": "alice", "alice": "bob"}
            name = names[after]
            return web.json_response({"users": [{"address": name}], "next": "" if after else name})
        if request.method == "DELETE":
            return refusal(404, "not-found")
        return web.json_response({"account": "bob", "device": 1, "key": "k"}, status=201)

    url = world.http([web.route("*", "/admin/users{rest:.*}", admin)])
    (tmp_path / "admin.json").write_text(json.dumps({"url": url, "token": "token"}))
    data = ("--data", str(tmp_path))
    assert call("user", "list", *data).output == "alice\nbob\n"
    assert "key     k" in call("user", "add", "Bob", *data).output
    assert "key     k" in call("user", "reset", "bob", *data).output
    missing = call("user", "delete", "zed", "--yes", *data)
    assert missing.exit_code == 1
    assert "no such account" in missing.stderr
    assert seen == [
        ("GET", "/admin/users"),
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("POST", "/admin/users/bob/reset"),
        ("DELETE", "/admin/users/zed"),
    ]


def test_user_commands_without_a_data_folder_say_where_to_look(home: Home, tmp_path: Path) -> None:
    result = call("user", "list", "--data", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert "--data" in result.stderr
