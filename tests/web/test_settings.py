"""Settings: hiding, and leaving a browser without leaving anything behind."""

import pytest
from playwright.async_api import expect

from tests.web.person import PATIENCE_MS, SENT, Arrive, Person

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
