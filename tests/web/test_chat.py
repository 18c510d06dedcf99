"""Signing up and chatting, in two real browsers."""

import re

import pytest
from playwright.async_api import expect

from tests.web.person import DELIVERED, PHONE, READ, SENT, Arrive

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]


async def test_a_visitor_signs_up_with_a_number_and_the_shown_pin(arrive: Arrive) -> None:
    anna = await arrive()
    await anna.sign_up()
    await expect(anna.page.get_by_text("No chats yet")).to_be_visible()
    await anna.page.reload()
    await anna.is_online()
    assert anna.page.url == anna.url, "no key and no number in the address"


async def test_a_wrong_pin_is_told_and_can_be_tried_again(arrive: Arrive) -> None:
    anna = await arrive()
    await anna.page.get_by_role("textbox", name="Your phone number").fill(anna.number)
    await anna.page.get_by_role("button", name="Send me a PIN").click()
    pin = await anna.page.locator(".chip").inner_text()
    wrong = "11111" if pin != "11111" else "22222"
    await anna.page.get_by_role("textbox", name="PIN").fill(wrong)
    anna.may_lose_server = True  # Chromium writes a line about every answer above 399
    await anna.page.get_by_role("button", name="Start chatting").click()
    await expect(anna.page.get_by_role("alert").first).to_contain_text("not right")
    await anna.page.get_by_role("textbox", name="PIN").fill(pin)
    await anna.page.get_by_role("button", name="Start chatting").click()
    await anna.is_online()


async def test_two_people_chat_and_watch_the_marks_turn(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True, viewport=PHONE)
    await anna.write_to(ben.number)
    await anna.say("A giant monster is attacking the Golden Gate Bridge.")
    await anna.marked("A giant monster", DELIVERED)
    await expect(ben.chats.first).to_contain_text("A giant monster")
    await expect(ben.page.get_by_label("1 unread")).to_be_visible()
    await ben.open_chat()
    await ben.sees("A giant monster")
    await anna.marked("A giant monster", READ)
    await ben.say("Stay inside. I am on my way.")
    await anna.sees("Stay inside.")
    await ben.marked("Stay inside.", READ)


async def test_one_mark_while_the_other_is_away_then_two_then_blue(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await ben.page.goto("about:blank")
    await anna.write_to(ben.number)
    for n in range(5):
        await anna.say(f"message {n}")
    await anna.marked("message 4", SENT)
    await ben.page.goto(ben.url)
    await anna.marked("message 4", DELIVERED)
    await ben.open_chat()
    for n in range(5):
        await anna.marked(f"message {n}", READ)
    assert await ben.texts() == [f"message {n}" for n in range(5)]


async def test_typing_and_presence_are_shown(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    await anna.say("hello")
    await ben.open_chat()
    await ben.say("hello too")
    await anna.sees("hello too")
    status = anna.page.locator(".conversation .status")
    await ben.composer.type("I am")
    await expect(status).to_have_text("typing …")
    await expect(anna.chats.first).to_contain_text("typing …")
    await ben.composer.press("Enter")
    await anna.page.reload()  # asks again
    await anna.open_chat()
    await expect(status).to_have_text("online")
    await ben.page.goto("about:blank")
    await expect(status).to_have_text(re.compile("last seen"))


async def test_a_reply_quotes_the_message_and_a_draft_is_kept(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    await anna.say("Tea or coffee?")
    await ben.open_chat()
    await ben.bubble("Tea or").click(button="right")
    await ben.page.get_by_role("menuitem", name="Reply").click()
    await ben.say("Coffee, please.")
    await expect(anna.bubble("Coffee, please.").locator("blockquote")).to_contain_text(
        "Tea or coffee?"
    )
    await anna.composer.fill("With milk")
    await expect(anna.page.get_by_role("textbox", name="Message", exact=True)).to_be_focused()
    await anna.page.wait_for_timeout(700)  # the composer writes a draft when one pauses
    await anna.page.reload()
    await expect(anna.chats.first).to_contain_text("Draft: With milk")
    await anna.open_chat()
    await expect(anna.composer).to_have_value("With milk")


async def test_what_was_deleted_here_is_gone_here_only(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    await anna.say("first")
    await anna.say("a slip of the tongue")
    await anna.marked("a slip", DELIVERED)
    await anna.bubble("a slip").click(button="right")
    await anna.page.get_by_role("menuitem", name="Delete").click()
    await expect(anna.bubble("a slip")).to_have_count(0)
    await expect(anna.chats.first).to_contain_text("first")
    await anna.page.reload()
    await anna.open_chat()
    assert await anna.texts() == ["first"]
    await ben.open_chat()
    await ben.sees("a slip")


async def test_someone_blocked_sees_one_mark_and_is_not_heard(arrive: Arrive) -> None:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    await anna.say("hello")
    await ben.open_chat()
    await ben.page.get_by_role("button", name="More").click()
    await ben.page.get_by_role("menuitem", name="Block").click()
    await expect(ben.page.locator(".conversation .status")).to_have_text("blocked")
    await anna.say("are you there?")
    await anna.marked("are you there?", SENT)
    await ben.page.get_by_role("button", name="More").click()
    await ben.page.get_by_role("menuitem", name="Unblock").click()
    await expect(ben.page.locator(".conversation .status")).not_to_have_text("blocked")
    await anna.say("now?")
    await ben.sees("now?")
    assert await ben.texts() == ["hello", "now?"]


async def test_a_number_that_nobody_has_is_told_at_the_message(arrive: Arrive) -> None:
    anna = await arrive(signed_up=True)
    await anna.write_to("+4915199999999")
    await anna.say("anybody?")
    await expect(anna.bubble("anybody?")).to_contain_text("Nobody with this number")
