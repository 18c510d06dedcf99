"""Nobody acts for somebody else: sessions, accounts, tokens and pages, from a stranger's side.

Beside tests/edge/test_hello.py (logging in) and tests/edge/http/test_access.py (who may ask).
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from bench import accounts
from tests.edge.house import BODY, hello_of, house
from tests.edge.http.sign_up_world import ADMIN, running
from whimbrel.cli.account import signup_url
from whimbrel.client.errors import Unreachable
from whimbrel.client.signup import request_pin
from whimbrel.domain.ids import ACCOUNT_MIN, ACTOR_DESK, account_number, submit_hash
from whimbrel.protocol import wire
from whimbrel.services.sms.console import ConsoleSender

VICTIM = accounts.address_of(3)


# ---- the own protocol -------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        wire.Submit(1, VICTIM, msgspec.Raw(BODY)),
        wire.Confirm(1),
        wire.Read(VICTIM, 1),
        wire.Typing(VICTIM, True),
        wire.Watch(VICTIM),
        wire.Block(VICTIM, True),
        wire.Link("mine"),
        wire.Unlink(1),
    ],
    ids=lambda words: type(words).__name__,
)
@pytest.mark.parametrize("lie", ["nothing", "another's key", "another device"])
async def test_without_a_welcome_nothing_is_done(tmp_path: Path, words: Any, lie: str) -> None:
    """Not even in the same breath as a hello that will be refused."""
    hellos: dict[str, list[wire.Wire]] = {
        "nothing": [],
        "another's key": [hello_of(3, key=accounts.key_of(2))],
        "another device": [hello_of(3, device=2)],
    }
    async with house(tmp_path) as home:
        thief = await home.stranger()
        thief.send(*hellos[lie], words)
        assert await thief.error() == ("not-authorized" if hellos[lie] else "hello-expected")
        victim = await home.guest(3)
        victim.send(wire.Link("still the first one"), wire.Unlink(7))
        linked = await victim.next_of(wire.Linked)
        assert linked.device == 2, "no other device was made"
        victim.close()


async def test_devices_of_others_cannot_be_named(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        victim = await home.guest(3)
        thief = await home.guest(2)
        for device in (1, 2, 99, 2**53 - 1):
            thief.send(wire.Unlink(device))
            answer = await thief.next_of(wire.Error)
            assert (answer.code, answer.fatal) == ("not-found", False)
        thief.send(wire.Read(VICTIM, 2**53 - 1))
        assert (await thief.next_of(wire.Error)).code == "unknown-recipient"
        victim.send(wire.Ping(5))
        assert (await victim.next_of(wire.Pong)).n == 5, "the victim's session lives"
        victim.close()
        thief.send(wire.Confirm(10**6))
        assert await thief.error() == "bad-confirm"


async def test_who_was_replaced_can_do_nothing_more(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        old = await home.guest(3)
        new = await home.guest(3)
        old.send(wire.Link("a way back"), wire.Unlink(1))
        assert await old.error() == "replaced"
        new.send(wire.Link("second"))
        assert (await new.next_of(wire.Linked)).device == 2
        new.close()


async def test_a_recipient_of_64_letters_that_are_not_ascii_is_only_unknown(tmp_path: Path) -> None:
    """It was our own bug once: a hash whose key has at most 64 bytes."""
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        for c, to in enumerate(("é" * 64, "🐦" * 64, "\0" * 64, "é" * 63 + "è"), 1):
            guest.send(wire.Submit(c, to, msgspec.Raw(BODY)))
            refused = await guest.next_of(wire.Refused)
            assert (refused.c, refused.code) == (c, "unknown-recipient")
        guest.close()
    assert submit_hash("é" * 64, b"") != submit_hash("é" * 63 + "è", b"")
    assert submit_hash("bob", b"x") == submit_hash("bob", b"x") != submit_hash("bo", b"bx")


async def test_the_name_of_a_device_has_no_control_characters(tmp_path: Path) -> None:
    """An operator's terminal would obey them."""
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.send(wire.Link("\x1b]0;owned\x07 lap\ntop\u202e "))
        assert (await guest.next_of(wire.Linked)).device == 2
        devices = home.node.engine.cells[account_number(accounts.address_of(2))].state.devices
        assert devices[2].name == "]0;owned laptop"
        guest.close()


def test_no_address_leads_to_the_sign_up_desk() -> None:
    assert ACTOR_DESK < ACCOUNT_MIN
    assert all(account_number(f"name{n}") >= ACCOUNT_MIN for n in range(10_000))


# ---- pages and tokens -------------------------------------------------------------------


async def test_why_the_server_is_not_ready_is_told_on_this_machine_only() -> None:
    """The reason names files and disks."""
    async with running() as world:
        world.reason = "the database /srv/secret/whimbrel.db is damaged"
        status, body = await world.get("/ready")
        assert (status, "/srv/secret" in body["error"]["message"]) == (503, True)
        for head in ({"Host": "chat.example"}, {"X-Forwarded-For": "192.0.2.7"}):
            status, body = await world.get("/ready", headers=head)
            assert (status, "/srv" in str(body)) == (503, False)


FOREIGN = (
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "localhost.",
    "2130706433", "[::ffff:192.0.2.1]", "localhost@evil.example", "",
)  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_page_of_another_site_cannot_read_what_is_for_this_machine(name: str) -> None:
    """DNS rebinding: its name leads to 127.0.0.1, but the browser says the name."""
    async with running(ConsoleSender(lambda line: None)) as world:
        await world.post("/v1/signup/pin", {"number": "+4915112345678"})
        for path in ("/pins", "/admin/stats", "/admin/users"):
            heads = {"Host": name, **ADMIN}
            assert (await world.get(path, headers=heads))[0] in (400, 404)


async def test_a_form_of_another_site_changes_nothing() -> None:
    """Without CORS a page can send forms and plain text only, and never a bearer's token."""
    async with running() as world:
        heads = {"Origin": "https://evil.example"}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            status, _ = await world.call(
                "POST",
                "/v1/signup/pin",
                data=b'{"number": "+4915112345678"}',
                headers={"Content-Type": kind, **heads},
            )
            assert status == 415
        asks = {"Access-Control-Request-Method": "POST", **heads}
        assert (await world.call("OPTIONS", "/v1/signup/pin", headers=asks))[0] == 405
        assert not [name for name in world.headers if name.lower().startswith("access-control")]
        status, body = await world.post("/admin/users", {"address": "mallory"}, headers=heads)
        assert (status, body["error"]["code"]) == (401, "not-authorized")
        assert world.asked == []


# ---- the client -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("chat.example.org", "https://chat.example.org"),
        ("chat.example.org:8443", "https://chat.example.org:8443"),
        ("192.0.2.7:8443", "https://192.0.2.7:8443"),
        ("localhost.evil.example", "https://localhost.evil.example"),
        ("https://chat.example.org", "https://chat.example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_server_elsewhere_is_asked_over_tls(
    typed: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert signup_url(typed) == url
    assert capsys.readouterr().err == ""


def test_whoever_insists_on_plain_http_is_warned(capsys: pytest.CaptureFixture[str]) -> None:
    assert signup_url("http://chat.example.org") == "http://chat.example.org"
    assert "can read the PIN and the key" in capsys.readouterr().err


async def test_sign_up_follows_no_redirection() -> None:
    """It would take the PIN to somebody else."""
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.path)
        if request.path == "/stolen":
            return web.json_response({"expires_in_s": 1})
        raise web.HTTPPermanentRedirect("/stolen")

    app = web.Application()
    app.router.add_post("/{tail:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        with pytest.raises(Unreachable, match="308"):
            await request_pin(f"http://127.0.0.1:{port}", "+4915112345678")
    finally:
        await runner.cleanup()
    assert seen == ["/v1/signup/pin"]
