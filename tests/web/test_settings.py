"""Settings: hiding, and leaving a browser without leaving anything behind."""

import pytest
from playwright.async_api import expect

from bench.server import Server
from tests.web.person import PATIENCE_MS, SENT, Arrive, Person
from tests.xmpp.talk import Talker, connected

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]


async def open_settings(person: Person) -> None:
    await person.page.get_by_role("button", name="Settings").click()


async def test_who_hides_is_not_seen_and_sees_nobody(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    await anna.say("hello")
    await ben.open_chat()
    await ben.say("hi")
    status = anna.page.locator(".conversation .status")
    await expect(status).to_have_text("online", timeout=PATIENCE_MS)
    await open_settings(ben)
    await ben.page.get_by_role("checkbox", name="Hide when I am online").check()
    await ben.page.get_by_role("button", name="Close").click()
    await expect(status).to_have_text("", timeout=PATIENCE_MS)
    await expect(ben.page.locator(".conversation .status")).to_have_text("")
    await ben.page.reload()
    await ben.is_online()
    await open_settings(ben)
    box = ben.page.get_by_role("checkbox", name="Hide when I am online")
    await expect(box).to_be_checked()
    await box.uncheck()
    await anna.page.reload()
    await anna.is_online()
    await anna.open_chat()
    await expect(status).to_have_text("online", timeout=PATIENCE_MS)


async def test_signing_out_leaves_nothing_here(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await ben.write_to(anna.number)
    await ben.say("the first one")
    await anna.open_chat()
    await anna.sees("the first one")
    await open_settings(anna)
    await anna.page.get_by_role("button", name="Sign out here").click()
    await anna.page.get_by_role("button", name="Sign out and delete").click()
    await expect(anna.page.get_by_role("textbox", name="Your phone number")).to_be_visible()
    kept = await anna.page.evaluate(
        """async () => {
            const db = await new Promise((done) => {
                const request = indexedDB.open("whimbrel");
                request.onsuccess = () => done(request.result);
            });
            const names = [...db.objectStoreNames];
            const work = db.transaction(names);
            const counts = await Promise.all(names.map((name) => new Promise((done) => {
                const request = work.objectStore(name).count();
                request.onsuccess = () => done(request.result);
            })));
            db.close();
            return counts.reduce((sum, count) => sum + count, 0);
        }"""
    )
    assert kept == 0
    await ben.say("while you are away")
    await ben.marked("while you are away", SENT)
    await anna.page.reload()
    await expect(anna.page.get_by_role("textbox", name="Your phone number")).to_be_visible()


async def test_another_app_is_connected_with_a_key_of_its_own(
    arrive: Arrive, shared_server: Server
) -> None:
    """An XMPP client logs in with what the page shows; both show the same message."""
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await open_settings(anna)
    await anna.page.get_by_role("button", name="Connect another app").click()
    await anna.page.get_by_role("button", name="Make a key").click()
    shown = anna.page.locator("dl.key dd")
    await expect(shown).to_have_count(2)
    jid, key = await shown.all_inner_texts()
    assert jid == f"{anna.number}@localhost"
    await anna.page.get_by_role("button", name="Done").click()
    wire = await connected(shared_server.ready, "tls")
    phone = Talker(wire, anna.number, "localhost")
    phone.features = await wire.open("localhost")
    await phone.login(key)
    await phone.bind("phone")
    await phone.say("<presence/>")
    await phone.hear("presence")
    await ben.write_to(anna.number)
    await ben.say("for both of you")
    assert await phone.message() == (f"{ben.number}@localhost", "for both of you")
    await anna.open_chat()
    await anna.sees("for both of you")
    wire.abort()
