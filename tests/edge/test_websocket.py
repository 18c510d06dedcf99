"""WebSockets beside devices on TLS: the same sessions, the same accounts, the same laws."""

from pathlib import Path

import pytest

from bench import accounts
from tests.edge.browser import Browser, browser
from tests.edge.house import BODY, House, hello_of, house
from whimbrel.protocol import wire
from whimbrel.protocol.body import body_to_json


async def logged_in(home: House, n: int, *, tls: bool = False, last: int = 0) -> Browser:
    one = await browser(home, tls=tls, origin="")
    await one.send(hello_of(n, last=last, era=1 if last else 0))
    welcome = await one.next()
    assert isinstance(welcome, wire.Welcome), welcome
    return one


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_a_browser_and_a_device_on_tls_chat_with_both_marks(
    tmp_path: Path, tls: bool
) -> None:
    async with house(tmp_path) as home:
        page = await logged_in(home, 2, tls=tls)
        phone = await home.guest(3)

        await page.send(wire.Submit(1, accounts.address_of(3), BODY))
        stored = await page.next_of(wire.Stored)
        got = await phone.next_of(wire.Message)
        assert (got.sender, got.id, bytes(got.body)) == (
            accounts.address_of(2),
            stored.id,
            bytes(BODY),
        )
        phone.send(wire.Confirm(got.q))
        receipt = await page.next_of(wire.Receipt)
        assert (receipt.delivered, receipt.read) == (stored.id, 0)
        phone.send(wire.Read(accounts.address_of(2), got.id))
        receipt = await page.next_of(wire.Receipt)
        assert (receipt.delivered, receipt.read) == (stored.id, stored.id)

        phone.send(wire.Submit(1, accounts.address_of(2), BODY))
        stored = await phone.next_of(wire.Stored)
        got = await page.next_of(wire.Message)
        assert bytes(got.body) == body_to_json(bytes(BODY))
        await page.send(wire.Confirm(got.q))
        receipt = await phone.next_of(wire.Receipt)
        assert receipt.delivered == stored.id
        await page.send(wire.Bye())
        assert await page.next() is None
        assert page.close_code == 1000
