"""A person with a browser: the words of the tests, in terms of what people see and press.

Elements are found by their role and name wherever that is possible, as a screen reader would.
Everything the page says to its console is kept: a test ends well only if it was silent.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from bench.server import Server

PATIENCE_MS = 10_000
WITHOUT_SERVER = re.compile(r"WebSocket connection to|net::ERR_|Failed to load resource")
SENT, DELIVERED, READ, WAITING = "on the server", "delivered", "read", "waiting to be sent"
DESKTOP = {"width": 1100, "height": 720}
PHONE = {"width": 390, "height": 780}


class Person:
    """One browser profile (a context of its own) with one page."""

    def __init__(self, server: Server, number: str, context: BrowserContext, page: Page) -> None:
        self.server = server
        self.number = number
        self.context = context
        self.page = page
        self.said: list[str] = []
        self.may_lose_server = False
        self.listen(page)

    @classmethod
    async def arrive(
        cls, browser: Browser, server: Server, number: str, **options: Any
    ) -> "Person":
        """A fresh profile on the first page."""
        options.setdefault("viewport", DESKTOP)
        context = await browser.new_context(locale="de-DE", timezone_id="UTC", **options)
        context.set_default_timeout(PATIENCE_MS)
        person = cls(server, number, context, await context.new_page())
        await person.page.goto(person.url)
        return person

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.ready['http']}/"

    def listen(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    @property
    def complaints(self) -> list[str]:
        """What the console heard, without what a missing server explains."""
        return [
            text for text in self.said if not (self.may_lose_server and WITHOUT_SERVER.search(text))
        ]

    # ---- sign-up and the list -----------------------------------------------------------

    async def sign_up(self) -> None:
        await self.page.get_by_role("textbox", name="Your phone number").fill(self.number)
        await self.page.get_by_role("button", name="Send me a PIN").click()
        await self.page.locator(".chip").click()
        await self.page.get_by_role("button", name="Start chatting").click()
        await expect(self.page.get_by_role("button", name="New chat")).to_be_visible()
        await self.is_online()

    async def is_online(self) -> None:
        await expect(self.page.locator(".banner")).to_be_hidden(timeout=PATIENCE_MS)

    async def write_to(self, peer: str) -> None:
        """Begin a chat by number."""
        await self.page.get_by_role("button", name="New chat").click()
        await self.page.get_by_role("textbox", name="Phone number or name").fill(peer)
        await self.page.get_by_role("button", name="Write", exact=True).click()
        await expect(self.composer).to_be_visible()

    async def open_chat(self, n: int = 0) -> None:
        """From the list, the newest first."""
        await self.chats.nth(n).click()
        await expect(self.composer).to_be_visible()

    @property
    def chats(self) -> Locator:
        return self.page.locator(".chat")

    # ---- the conversation ---------------------------------------------------------------

    @property
    def composer(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message", exact=True)

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    def bubble(self, text: str) -> Locator:
        return self.page.locator(".bubble").filter(has_text=text)

    async def sees(self, text: str) -> None:
        await expect(self.bubble(text)).to_be_visible(timeout=PATIENCE_MS)

    async def marked(self, text: str, mark: str) -> None:
        sign = self.bubble(text).get_by_role("img", name=mark, exact=True)
        await expect(sign).to_be_visible(timeout=PATIENCE_MS)

    async def texts(self) -> list[str]:
        return await self.page.locator(".bubble > p:not(.why)").all_inner_texts()


Arrive = Callable[..., Awaitable[Person]]
