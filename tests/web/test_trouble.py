"""When something breaks: the server, the connection, the right to this number."""

import asyncio
import signal

import pytest
from playwright.async_api import expect

from bench.server import Server
from tests.web.person import DELIVERED, READ, WAITING, Arrive

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]


def kill(server: Server) -> None:
    """As a power cut would."""
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


async def test_a_server_killed_while_people_type_loses_and_doubles_nothing(
    arrive: Arrive, own_server: Server
) -> None:
    anna = await arrive(signed_up=True, server=own_server)
    ben = await arrive(signed_up=True, server=own_server)
    await anna.write_to(ben.number)
    await anna.say("before")
    await ben.open_chat()
    await anna.marked("before", READ)
    anna.may_lose_server = ben.may_lose_server = True
    await anna.composer.fill("while")
    await ben.composer.type("I am typ")
    kill(own_server)
    await expect(anna.page.locator(".banner")).to_contain_text("Offline")
    await anna.composer.press("Enter")
    await anna.say("while it is gone")
    await anna.marked("while it is gone", WAITING)
    await expect(ben.composer).to_have_value("I am typ")
    await asyncio.to_thread(own_server.start)
    await anna.marked("while it is gone", READ)
    await ben.composer.press("Enter")
    await anna.sees("I am typ")
    await anna.is_online()
    assert await ben.texts() == ["before", "while", "while it is gone", "I am typ"]
    assert await anna.texts() == ["before", "while", "while it is gone", "I am typ"]


async def test_what_waits_survives_a_reload_and_keeps_its_order(
    arrive: Arrive, own_server: Server
) -> None:
    anna = await arrive(signed_up=True, server=own_server)
    ben = await arrive(signed_up=True, server=own_server)
    await anna.write_to(ben.number)
    anna.may_lose_server = ben.may_lose_server = True
    kill(own_server)
    await expect(anna.page.locator(".banner")).to_contain_text("Offline")
    for n in range(10):
        await anna.say(f"number {n}")
    await anna.marked("number 9", WAITING)
    await anna.page.goto("about:blank")  # the page is closed before anything was sent
    await asyncio.to_thread(own_server.start)
    await anna.page.goto(anna.url)
    await anna.open_chat()
    await anna.marked("number 9", DELIVERED)
    await ben.open_chat()
    await ben.sees("number 9")
    assert await ben.texts() == [f"number {n}" for n in range(10)]


async def test_without_a_server_the_page_still_opens_and_keeps_what_is_written(
    arrive: Arrive, own_server: Server
) -> None:
    anna = await arrive(signed_up=True, server=own_server)
    ben = await arrive(signed_up=True, server=own_server)
    anna.may_lose_server = ben.may_lose_server = True
    await anna.write_to(ben.number)
    await anna.say("before")
    await anna.marked("before", DELIVERED)
    await anna.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    await anna.page.reload()  # now the worker has all files
    await anna.is_online()
    kill(own_server)
    await anna.page.reload()
    await anna.open_chat()
    await anna.sees("before")
    await expect(anna.page.locator(".banner")).to_contain_text("Offline")
    await anna.say("written without a server")
    await anna.marked("written without a server", WAITING)
    await asyncio.to_thread(own_server.start)
    await anna.marked("written without a server", DELIVERED)


async def test_signed_up_elsewhere_is_told_kindly_and_the_conversations_stay(
    arrive: Arrive,
) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    await anna.say("from the old browser")
    await anna.marked("from the old browser", DELIVERED)
    pinned = await anna.page.request.post(f"{anna.url}v1/signup/pin", data={"number": anna.number})
    assert pinned.status == 429, "the same number may ask again only after a while"
    key = await anna.page.evaluate(ACCOUNT)
    await anna.page.evaluate(ELSEWHERE, key)
    await expect(anna.page.get_by_role("heading")).to_have_text(
        "You are signed in somewhere else now"
    )
    await anna.page.reload()
    await anna.is_online()
    await anna.open_chat()
    await anna.sees("from the old browser")


async def test_a_key_that_is_not_valid_any_more_leads_back_to_sign_up(arrive: Arrive) -> None:
    anna = await arrive(signed_up=True)
    await anna.page.evaluate(SPOIL_KEY)
    await anna.page.reload()
    await expect(anna.page.get_by_role("heading")).to_have_text("This browser is signed out")
    await anna.page.get_by_role("button", name="Sign up again").click()
    await expect(anna.page.get_by_role("textbox", name="Your phone number")).to_be_visible()


async def test_a_second_tab_says_so_and_may_take_over(arrive: Arrive) -> None:
    anna = await arrive(signed_up=True)
    second = await anna.context.new_page()
    anna.listen(second)
    await second.goto(anna.url)
    await expect(second.get_by_role("heading")).to_have_text("Whimbrel is open in another tab")
    await second.get_by_role("button", name="Use Whimbrel here").click()
    await expect(second.get_by_role("button", name="New chat")).to_be_visible()
    await expect(anna.page.get_by_role("heading")).to_have_text("Whimbrel is open in another tab")


async def test_two_ordinary_windows_can_be_two_people(arrive: Arrive) -> None:
    anna = await arrive(signed_up=True)
    second = await anna.context.new_page()
    anna.listen(second)
    await second.goto(f"{anna.url}?profile=2")
    await expect(second.get_by_role("textbox", name="Your phone number")).to_be_visible()


OPEN = """
const opened = indexedDB.open("whimbrel");
const db = await new Promise((done) => { opened.onsuccess = () => done(opened.result); });
const facts = db.transaction("fact", "readwrite").objectStore("fact");
const asked = facts.get("account");
const account = await new Promise((done) => { asked.onsuccess = () => done(asked.result); });
"""
ACCOUNT = f"async () => {{ {OPEN} db.close(); return account; }}"
SPOIL_KEY = f"""async () => {{ {OPEN}
    facts.put({{ ...account, key: account.key.replace(/^./, (c) => (c === "A" ? "B" : "A")) }},
        "account");
    await new Promise((done) => {{ facts.transaction.oncomplete = done; }});
    db.close();
}}"""
# A second session of the same device, as a copied profile would open it.
ELSEWHERE = """async (account) => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/v1/socket",
        "whimbrel.1");
    await new Promise((done) => { socket.onopen = done; });
    socket.send(JSON.stringify([1, 1, account.address, account.device, account.key, 0, 0, "copy"]));
    await new Promise((done) => { socket.onmessage = done; });
    socket.close();
}"""
