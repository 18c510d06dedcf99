"""Readable for everybody: axe-core finds nothing, the keyboard reaches everything, phones fit.

axe-core and the TypeScript compiler come from npm into the environment's folder (see Makefile).
"""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import FilePayload, expect

from tests.services.media.samples import picture
from tests.web.chromium import missing
from tests.web.person import PHONE, Arrive, Person

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.prefix) / "web" / "node_modules"
CONFIG = {
    "compilerOptions": {
        "checkJs": True,
        "allowJs": True,
        "noEmit": True,
        "strict": True,
        "target": "es2023",
        "module": "esnext",
        "lib": ["es2023", "dom", "dom.iterable"],
        "types": [],
    },
}


async def faults(person: Person) -> list[Any]:
    """What axe-core finds on the page as it stands, in few words."""
    script = TOOLS / "axe-core" / "axe.min.js"
    if not script.exists():
        missing("axe-core is not installed (make test does it where npm is)")
    await person.page.evaluate(script.read_text())
    found: list[Any] = await person.page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
        .map((v) => [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 160)).slice(0, 3)])"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(arrive: Arrive, scheme: str) -> None:
    ben = await arrive(signed_up=True)
    anna = await arrive(color_scheme=scheme)
    await expect(anna.page.get_by_role("textbox", name="Your phone number")).to_be_visible()
    assert await faults(anna) == [], "the number"
    await anna.sign_up()
    assert await faults(anna) == [], "no chats"
    await anna.page.get_by_role("button", name="New chat").click()
    await expect(anna.page.get_by_role("dialog", name="New chat")).to_be_visible()
    assert await faults(anna) == [], "new chat"
    await anna.page.keyboard.press("Escape")
    await anna.write_to(ben.number)
    assert await faults(anna) == [], "an empty conversation"
    await anna.say("See https://example.org/")
    await ben.open_chat()
    await ben.say("Thanks")
    await anna.sees("Thanks")
    assert await faults(anna) == [], "a conversation"
    await anna.bubble("Thanks").click(button="right")
    assert await faults(anna) == [], "the menu of a message"
    await anna.page.get_by_role("menuitem", name="Reply").click()
    await anna.page.get_by_role("button", name="Settings").click()
    await expect(anna.page.get_by_role("dialog", name="Settings")).to_be_visible()
    assert await faults(anna) == [], "settings"
    await anna.page.get_by_role("button", name="Close").click()
    photo = FilePayload(name="a.png", mimeType="image/png", buffer=picture("PNG"))
    await anna.page.locator("input[type=file]").set_input_files(photo)
    await expect(anna.page.get_by_role("dialog", name="Send files")).to_be_visible()
    assert await faults(anna) == [], "files before they are sent"
    await anna.page.get_by_role("button", name="Send", exact=True).last.click()
    await ben.page.get_by_role("button", name="Open the photo").click()
    await expect(ben.page.get_by_role("dialog", name="Photo")).to_be_visible()
    assert await faults(ben) == [], "a photo over the whole page"
    await anna.write_to("+4915199999998")
    await anna.say("nobody")
    await expect(anna.bubble("nobody")).to_contain_text("Nobody with this number")
    assert await faults(anna) == [], "an error"


async def test_everything_can_be_done_with_the_keyboard(arrive: Arrive) -> None:
    ben = await arrive(signed_up=True)
    anna = await arrive()
    press = anna.page.keyboard.press
    await expect(anna.page.get_by_role("textbox", name="Your phone number")).to_be_focused()
    await anna.page.keyboard.type(anna.number)
    await press("Enter")
    await expect(anna.page.get_by_role("textbox", name="PIN")).to_be_focused()
    pin = await anna.page.locator(".chip").inner_text()
    await anna.page.keyboard.type(pin)
    await press("Enter")
    await expect(anna.page.get_by_role("button", name="New chat")).to_be_visible()
    await anna.is_online()
    await press("Alt+n")
    await anna.page.keyboard.type(ben.number)
    await press("Enter")
    await expect(anna.composer).to_be_focused()
    await anna.page.keyboard.type("by keyboard")
    await press("Shift+Enter")
    await anna.page.keyboard.type("in two lines")
    await press("Enter")
    await ben.open_chat()
    await ben.sees("by keyboard")
    await ben.say("answer me")
    await anna.sees("answer me")
    row = anna.page.locator(".line").filter(has_text="answer me")
    await anna.composer.press("ArrowUp")
    await expect(row).to_be_focused()
    await press("Enter")
    await expect(anna.page.get_by_role("menuitem", name="Reply")).to_be_focused()
    await press("Escape")
    await expect(anna.page.get_by_role("menuitem")).to_have_count(0)
    await expect(row).to_be_focused()


@pytest.mark.parametrize("width", [320, 390, 768])
async def test_nothing_is_wider_than_the_screen(arrive: Arrive, width: int) -> None:
    anna = await arrive(viewport={"width": width, "height": 700})
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await anna.page.evaluate(wide)
    await anna.sign_up()
    await anna.write_to("+4915199999997")
    await anna.say("W" * 400 + " " + "https://example.org/" + "a" * 300)
    await expect(anna.bubble("WWW")).to_contain_text("Nobody with this number")
    assert not await anna.page.evaluate(wide)
    box = await anna.bubble("WWW").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


async def test_on_a_phone_one_goes_into_a_chat_and_back(arrive: Arrive) -> None:
    anna = await arrive(viewport=PHONE)
    await anna.sign_up()
    await anna.write_to("+4915199999996")
    await expect(anna.page.get_by_role("button", name="New chat")).to_be_hidden()
    await anna.page.get_by_role("button", name="Back to all chats").click()
    await expect(anna.page.get_by_role("button", name="New chat")).to_be_visible()
    await expect(anna.composer).to_be_hidden()


async def test_the_types_in_the_comments_are_true(tmp_path: Path) -> None:
    tsc = TOOLS / ".bin" / "tsc"
    if not tsc.exists() or shutil.which("node") is None:
        missing("the TypeScript compiler is not installed (make test does it where npm is)")
    web = ROOT / "src" / "whimbrel" / "web"
    files = [str(path) for path in (*web.glob("*.js"), *web.glob("admin/*.js"))]
    config = tmp_path / "tsconfig.json"
    options = CONFIG["compilerOptions"] | {"paths": {"/app/*": [f"{web}/*"]}}
    config.write_text(json.dumps({"compilerOptions": options, "files": files}))
    process = await asyncio.create_subprocess_exec(
        tsc, "-p", str(config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
