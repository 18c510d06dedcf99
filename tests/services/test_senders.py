"""Senders of text messages against a provider on this machine that answers as it is told."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from aiohttp import web

from whimbrel.domain.errors import SmsFailed
from whimbrel.services.sms import make_sender
from whimbrel.services.sms.console import SHOWN_MAX, ConsoleSender
from whimbrel.services.sms.delivery import TRIES, Delivery

NUMBER, PIN, TOKEN = "+4915112345678", "98765", "secret-token"


class Provider:
    """Answers with the next of `statuses`, then with the last for ever. Keeps what it got."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append((request.method, request.path_qs, dict(request.headers), body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = {"Location": f"{self.url}/elsewhere"} if status in (302, 307) else {}
        return web.Response(status=status, headers=headers, text=f"{NUMBER} {PIN} {TOKEN}")


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    provider.url = f"http://{host}:{port}"
    yield provider
    await runner.cleanup()


def twilio(provider: Provider, sender: str = "+15551234567") -> Any:
    options = {
        "account_sid": "AC0123",
        "auth_token": TOKEN,
        "from": sender,
        "text": "Code {pin}!",
        "api": provider.url,
    }
    return make_sender("twilio", options)


def webhook(provider: Provider, **changed: Any) -> Any:
    return make_sender("webhook", {"url": f"{provider.url}/send", "text": "Code {pin}", **changed})


class Waits:
    """Instead of sleeping."""

    def __init__(self) -> None:
        self.s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.s.append(seconds)


async def request(delivery: Delivery, url: str) -> None:
    try:
        await delivery.request("POST", url, good=frozenset({200}), data=b"x")
    finally:
        await delivery.close()


# ---- twilio ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "key"), [("+15551234567", "From"), ("MG0123", "MessagingServiceSid")]
)
async def test_twilio_gets_a_form_with_the_account_as_user(
    provider: Provider, sender: str, key: str
) -> None:
    provider.statuses = [201]
    made = twilio(provider, sender)
    await made.send(NUMBER, PIN)
    await made.close()
    [(method, path, headers, body)] = provider.got
    assert (method, path) == ("POST", "/2010-04-01/Accounts/AC0123/Messages.json")
    basic = base64.b64encode(f"AC0123:{TOKEN}".encode()).decode()
    assert headers["Authorization"] == f"Basic {basic}"
    assert parse_qs(body.decode()) == {"To": [NUMBER], key: [sender], "Body": [f"Code {PIN}!"]}


async def test_a_refusal_of_the_provider_is_final_and_names_no_secret(
    provider: Provider, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.statuses = [400]
    made = twilio(provider)
    with pytest.raises(SmsFailed) as failed:
        await made.send(NUMBER, PIN)
    await made.close()
    assert len(provider.got) == 1
    said = caplog.text + "".join(capfd.readouterr()) + repr(failed.value)
    assert "400" in said
    assert not [secret for secret in (PIN, TOKEN, NUMBER) if secret in said]


# ---- tries -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_trouble_that_may_pass_is_tried_again_after_growing_waits(
    provider: Provider, status: int
) -> None:
    waits = Waits()
    provider.statuses = [status, status, 200]
    await request(Delivery(sleep=waits.sleep), provider.url)
    assert len(provider.got) == 3
    assert waits.s == [0.5, 1.0]


async def test_a_trouble_that_does_not_pass_fails_after_the_last_try(provider: Provider) -> None:
    provider.statuses = [503]
    with pytest.raises(SmsFailed):
        await request(Delivery(sleep=Waits().sleep), provider.url)
    assert len(provider.got) == TRIES


async def test_nobody_listening_is_a_failure_that_names_no_secret() -> None:
    gone = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    with pytest.raises(SmsFailed) as failed:
        await request(Delivery(sleep=Waits().sleep), f"http://127.0.0.1:{port}/{TOKEN}")
    assert TOKEN not in str(failed.value)


async def test_a_provider_that_never_answers_is_given_up() -> None:
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    delivery = Delivery(try_s=0.05, sleep=Waits().sleep)
    with pytest.raises(SmsFailed):
        await asyncio.wait_for(request(delivery, f"http://127.0.0.1:{port}"), 20)
    silent.close()


@pytest.mark.parametrize("status", [302, 307])
async def test_redirects_are_not_followed(provider: Provider, status: int) -> None:
    provider.statuses = [status, 200]
    with pytest.raises(SmsFailed):
        await request(Delivery(sleep=Waits().sleep), provider.url)
    assert len(provider.got) == 1


# ---- webhook -----------------------------------------------------------------------------


async def test_a_json_template_is_filled_and_its_values_are_escaped(provider: Provider) -> None:
    made = webhook(
        provider,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
        body='{"to": "{number}", "text": "{text}", "pin": "{pin}"}',
        text='Your "code"\n{pin}',
    )
    await made.send(NUMBER, PIN)
    await made.close()
    [(method, path, headers, body)] = provider.got
    assert (method, path) == ("POST", "/send")
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert msgspec.json.decode(body) == {"to": NUMBER, "text": f'Your "code"\n{PIN}', "pin": PIN}


async def test_a_form_template_is_filled_and_its_values_are_quoted(provider: Provider) -> None:
    made = webhook(
        provider,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body="to={number}&msg={text}",
        text="A&B {pin}",
    )
    await made.send(NUMBER, PIN)
    await made.close()
    assert parse_qs(provider.got[0][3].decode()) == {"to": [NUMBER], "msg": [f"A&B {PIN}"]}


async def test_a_provider_that_is_asked_with_get_finds_all_in_the_address(
    provider: Provider,
) -> None:
    made = webhook(
        provider,
        method="GET",
        url=f"{provider.url}/send?to={{number}}&t={{text}}",
        body="",
        headers={},
    )
    await made.send(NUMBER, PIN)
    await made.close()
    [(method, path, _, body)] = provider.got
    assert (method, body) == ("GET", b"")
    query = parse_qs(path.partition("?")[2])
    assert query == {"to": [NUMBER], "t": [f"Code {PIN}"]}


async def test_only_the_statuses_of_the_configuration_mean_yes(provider: Provider) -> None:
    provider.statuses = [202]
    made = webhook(provider, success=[200])
    with pytest.raises(SmsFailed):
        await made.send(NUMBER, PIN)
    await made.close()


# ---- console and file --------------------------------------------------------------------


async def test_the_console_shows_the_pin_and_remembers_the_last_ones() -> None:
    lines: list[str] = []
    sender = ConsoleSender(write=lines.append, now=lambda: 5.0)
    for i in range(SHOWN_MAX + 3):
        await sender.send(NUMBER, f"{i:05}")
    assert lines[0] == f"PIN for {NUMBER}: 00000"
    assert len(sender.shown) == SHOWN_MAX
    assert sender.shown[0] == (5.0, NUMBER, "00003")


async def test_the_file_gets_a_line_each_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "pins"
    sender = make_sender("file", {"path": str(path)})
    await sender.send(NUMBER, PIN)
    await sender.send(NUMBER, "00001")
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert lines == [{"number": NUMBER, "pin": PIN}, {"number": NUMBER, "pin": "00001"}]
    assert path.stat().st_mode & 0o077 == 0


async def test_a_file_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    sender = make_sender("file", {"path": str(tmp_path / "missing" / "pins")})
    with pytest.raises(SmsFailed) as failed:
        await sender.send(NUMBER, PIN)
    assert PIN not in str(failed.value)


# ---- mistakes in the configuration ---------------------------------------------------------

TWILIO = {"account_sid": "AC1", "auth_token": TOKEN, "from": "+15551234567"}


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("sms", {}, "sms.sender"),
        ("console", {"x": 1}, "sms.options"),
        ("file", {}, "sms.options"),
        ("file", {"path": ""}, "sms.options.path"),
        ("twilio", {**TWILIO, "from": "Whimbrel"}, "sms.options.from"),
        ("twilio", {**TWILIO, "text": "no place"}, "sms.options.text"),
        ("twilio", {**TWILIO, "account_sid": "../x"}, "sms.options.account_sid"),
        ("twilio", {**TWILIO, "auth_token": 5}, "sms.options.auth_token"),
        ("webhook", {"url": "ftp://x"}, "sms.options.url"),
        ("webhook", {"url": "http://x", "method": "HEAD"}, "sms.options.method"),
        ("webhook", {"url": "http://x", "body": "{number}"}, "sms.options.body"),
        ("webhook", {"url": "http://x", "body": '{"to": {number}, "p": "{pin}}'}, "options.body"),
        ("webhook", {"url": "http://x", "success": [7]}, "sms.options.success"),
    ],
)
def test_a_mistake_names_its_key(name: str, options: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError) as wrong:
        make_sender(name, options)
    assert key in str(wrong.value)
    assert TOKEN not in str(wrong.value)
