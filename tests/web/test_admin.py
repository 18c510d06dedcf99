"""The page for administrators in a real browser: the door, its pages, who may what."""

import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bench.server import Server
from tests.web.person import DESKTOP, PATIENCE_MS, PHONE, WITHOUT_SERVER
from tests.web.program import HELLO, Program, next_number
from tests.web.test_looks import faults

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]

PAGES = ("Overview", "Users", "Sign-ups", "Alerts", "Upgrades", "Audit", "Acts", "Settings")
POISON = "<img src=x onerror='window.hit=1'>"


class Operator:
    """Somebody at the administration's page. What the console says is kept, as for Person."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server = server
        self.page = page
        self.said: list[str] = []
        self.may_lose_server = False
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))

    def _on_console(self, message: Any) -> None:
        refused = "401" in message.text or "404" in message.text  # the browser's own word for it
        if message.type in ("error", "warning") and not refused:
            self.said.append(f"{message.type}: {message.text}")

    @property
    def complaints(self) -> list[str]:
        return [t for t in self.said if not (self.may_lose_server and WITHOUT_SERVER.search(t))]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.ready['http']}/admin/"

    async def enter(self, token: str) -> None:
        await self.page.get_by_label("Token").fill(token)
        await self.page.get_by_role("button", name="Open").click()

    async def go(self, title: str) -> None:
        await self.page.get_by_role("link", name=title, exact=title != "Alerts").click()
        await expect(self.page.get_by_role("heading", name=title, level=1)).to_be_visible()

    async def is_in(self) -> None:
        await expect(self.page.get_by_text("Ready", exact=True)).to_be_visible()


Come = Callable[..., Awaitable[Operator]]


def root_of(server: Server) -> str:
    return (server.data / "admin.token").read_text().strip()


def admin(server: Server, method: str, path: str, body: Any = None) -> Any:
    """As the root, beside the page."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.ready['http']}/admin/{path}"
    headers = {"Authorization": f"Bearer {root_of(server)}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest_asyncio.fixture(loop_scope="session")
async def come(browser: Browser, shared_server: Server) -> AsyncIterator[Come]:
    """come() stands before the door; come(token=...) is inside."""
    there: list[Operator] = []

    async def arrive(token: str = "", server: Server | None = None, **options: Any) -> Operator:
        options.setdefault("viewport", DESKTOP)
        context = await browser.new_context(locale="de-DE", timezone_id="UTC", **options)
        context.set_default_timeout(PATIENCE_MS)
        operator = Operator(server or shared_server, await context.new_page())
        there.append(operator)
        await operator.page.goto(operator.url)
        if token:
            await operator.enter(token)
            await operator.is_in()
        return operator

    yield arrive
    for operator in there:
        await operator.page.context.close()
    complaints = [text for operator in there for text in operator.complaints]
    assert not complaints, complaints


# ---- the door ---------------------------------------------------------------------------


async def test_a_wrong_token_opens_nothing_and_a_right_one_stays_in_this_tab(
    come: Come, shared_server: Server
) -> None:
    anna = await come()
    await anna.enter("whimbrel_guess")
    await expect(anna.page.get_by_text("This token opens nothing here.")).to_be_visible()
    await anna.enter(root_of(shared_server))
    await anna.is_in()
    assert "token" not in anna.page.url
    assert root_of(shared_server) not in await anna.page.evaluate("JSON.stringify(localStorage)")
    assert await anna.page.evaluate("document.cookie") == ""
    await anna.page.reload()
    await anna.is_in()
    other = await anna.page.context.new_page()
    await other.goto(anna.url)
    await expect(other.get_by_label("Token")).to_be_visible()
    await anna.page.get_by_role("button", name="Sign out").click()
    await expect(anna.page.get_by_label("Token")).to_be_visible()
    assert root_of(shared_server) not in await anna.page.evaluate("JSON.stringify(sessionStorage)")


async def test_a_token_that_is_revoked_shuts_the_door_at_once(
    come: Come, shared_server: Server
) -> None:
    body = {"name": "to-be-revoked", "scopes": ["read"], "days": 1}
    token = admin(shared_server, "POST", "tokens", body)["token"]
    anna = await come(token)
    admin(shared_server, "DELETE", "tokens/to-be-revoked")
    await expect(anna.page.get_by_text("This token is good no more.")).to_be_visible()


async def test_the_page_comes_back_by_itself_when_the_server_does(
    come: Come, own_server: Server
) -> None:
    anna = await come(root_of(own_server), own_server)
    anna.may_lose_server = True
    own_server.stop()
    await expect(anna.page.get_by_role("status").first).not_to_have_text("Ready")
    own_server.start()
    await anna.is_in()


# ---- pages ------------------------------------------------------------------------------


async def test_the_overview_shows_what_the_server_does(come: Come, shared_server: Server) -> None:
    anna = await come(root_of(shared_server))
    async with Program(shared_server) as ben, Program(shared_server) as carl:
        await carl.socket.close()
        for n in range(30):
            assert await ben.submit(carl.number, {"text": f"number {n}"})
        inboxes = anna.page.get_by_role("region", name="Longest inboxes")
        await expect(inboxes.get_by_role("link", name=carl.number)).to_be_visible()
        fronts = anna.page.get_by_role("region", name="Connections")
        await expect(fronts.get_by_role("cell", name="browser")).to_be_visible()
        chart = anna.page.get_by_role("img", name="Accepted: now")
        await expect(chart).not_to_have_attribute(
            "aria-label", "Accepted: now 0, at most 0 in five minutes"
        )
        await inboxes.get_by_role("link", name=carl.number).click()
        await expect(anna.page.get_by_role("heading", name=carl.number)).to_be_visible()
        await expect(anna.page.get_by_text("30 waiting, last number 30")).to_be_visible()


async def test_an_account_is_made_found_disconnected_given_a_new_key_and_deleted(
    come: Come, shared_server: Server
) -> None:
    anna = await come(root_of(shared_server))
    await anna.go("Users")
    await anna.page.get_by_role("button", name="New account").click()
    await anna.page.get_by_role("textbox", name="A name or a number").fill("zoe")
    await anna.page.get_by_role("button", name="Create").click()
    first = await anna.page.locator(".secret").inner_text()
    assert len(first) == 43
    await anna.page.get_by_role("button", name="Done").click()
    await anna.page.get_by_role("searchbox").fill("zo")
    await anna.page.get_by_role("link", name="zoe").click()
    await expect(anna.page.get_by_role("heading", name="zoe")).to_be_visible()
    async with Program(shared_server) as ben:
        assert await ben.submit("zoe", {"text": "hello"})
        await expect(anna.page.get_by_text("1 waiting, last number 1")).to_be_visible()
    await anna.page.get_by_role("button", name="New key").click()
    await anna.page.get_by_role("button", name="Make a new key").click()
    assert await anna.page.locator(".secret").inner_text() != first
    await anna.page.get_by_role("button", name="Done").click()
    await anna.page.get_by_role("button", name="Delete").click()
    await anna.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(anna.page.get_by_role("heading", name="Users")).to_be_visible()
    await anna.page.get_by_role("searchbox").fill("zo")
    await expect(anna.page.get_by_text("No account begins so.")).to_be_visible()
    await anna.go("Acts")
    for act in ("create user", "reset user", "delete user"):
        row = anna.page.get_by_role("row").filter(has_text=act).filter(has_text="zoe")
        await expect(row.first).to_contain_text("root")


async def test_a_session_is_ended_from_its_page(come: Come, shared_server: Server) -> None:
    anna = await come(root_of(shared_server))
    async with Program(shared_server) as ben:
        await anna.page.goto(anna.url + f"#users/{ben.number}".replace("+", "%2B"))
        await anna.page.get_by_role("button", name="Disconnect device 1").click()
        await expect(anna.page.get_by_text("The session has ended")).to_be_visible()
        while await ben.socket.recv():  # what it hears, until the end
            if ben.socket.close_code is not None:
                break


async def test_whoever_may_only_read_sees_no_button_that_changes_anything(
    come: Come, shared_server: Server
) -> None:
    token = admin(shared_server, "POST", "tokens", {"name": "eyes", "scopes": ["read"]})["token"]
    eyes = await come(token)
    async with Program(shared_server) as ben:
        for title in PAGES:
            await eyes.go(title)
            buttons = await eyes.page.get_by_role("button").all_inner_texts()
            assert set(buttons) <= {"Sign out", "Trace it", "More", "Older ones"}, title
        await eyes.page.goto(eyes.url + f"#users/{ben.number}".replace("+", "%2B"))
        await expect(eyes.page.get_by_role("cell", name="browser, for")).to_be_visible()
        assert await eyes.page.get_by_role("button").all_inner_texts() == ["Sign out"]
    await eyes.go("Settings")
    await expect(eyes.page.get_by_text("limits.mailbox_max")).to_be_visible()
    await expect(eyes.page.get_by_role("region", name="Tokens")).to_have_count(0)


async def test_a_token_is_made_shown_once_and_revoked(come: Come, shared_server: Server) -> None:
    anna = await come(root_of(shared_server))
    await anna.go("Settings")
    await anna.page.get_by_label("New token, for").fill("grafana")
    await anna.page.get_by_role("button", name="Create").click()
    token = await anna.page.locator(".secret").inner_text()
    assert token.startswith("whimbrel_")
    await anna.page.get_by_role("button", name="Done").click()
    await expect(anna.page.locator(".secret")).to_have_count(0)
    assert token not in await anna.page.content()
    await anna.page.get_by_role("button", name="Revoke grafana").click()
    await anna.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(anna.page.get_by_role("button", name="Revoke grafana")).to_have_count(0)


async def test_sign_up_is_closed_and_opened_and_attempts_are_masked(
    come: Come, shared_server: Server
) -> None:
    anna = await come(root_of(shared_server))
    number = next_number()
    async with Program(shared_server) as ben:
        await anna.go("Sign-ups")
        await anna.page.get_by_label("Refuse sign-up to a number").fill(number)
        await anna.page.get_by_role("button", name="Close it").click()
        await expect(anna.page.get_by_role("cell", name=number, exact=True)).to_be_visible()
        attempts = anna.page.get_by_role("region", name="The last attempts")
        masked = f"{ben.number[:4]}{'*' * (len(ben.number) - 6)}{ben.number[-2:]}"
        await expect(attempts.get_by_role("cell", name=masked).first).to_be_visible()
        await expect(attempts.get_by_text(ben.number)).to_have_count(0)
        await anna.page.get_by_role("button", name=f"Open sign-up for {number}").click()
        await expect(anna.page.get_by_role("cell", name=number, exact=True)).to_have_count(0)


async def test_an_audit_is_run_and_a_message_traced(come: Come, shared_server: Server) -> None:
    anna = await come(root_of(shared_server))
    async with Program(shared_server) as ben, Program(shared_server) as carl:
        await ben.socket.send(json.dumps([2, 1, carl.number, {"text": "where am I?"}]))
        answer = json.loads(await ben.socket.recv())
        while answer[0] != 33:
            answer = json.loads(await ben.socket.recv())
    await anna.go("Audit")
    await anna.page.get_by_role("button", name="Audit now").click()
    await expect(
        anna.page.get_by_text("Nothing: every message is where it must be.")
    ).to_be_visible()
    await expect(anna.page.get_by_text("waiting", exact=True).first).to_be_visible()
    await anna.page.get_by_label("A message's number").fill(str(answer[2]))
    await anna.page.get_by_role("button", name="Trace it").click()
    await expect(anna.page.get_by_text("accepted", exact=True)).to_be_visible()
    await expect(anna.page.get_by_text("stored", exact=True)).to_be_visible()
    assert "where am I?" not in await anna.page.content()


async def test_what_strangers_say_of_themselves_is_text(come: Come, shared_server: Server) -> None:
    anna = await come(root_of(shared_server))
    async with Program(shared_server) as eve:
        await eve.socket.close()
        signed = eve.signed
        from websockets.asyncio.client import connect
        from websockets.typing import Subprotocol

        url = f"ws://127.0.0.1:{shared_server.ready['http']}/v1/socket"
        async with connect(url, subprotocols=[Subprotocol("whimbrel.1")]) as socket:
            hello = [HELLO, 1, signed["account"], signed["device"], signed["key"], 0, 0, POISON]
            await socket.send(json.dumps(hello))
            await socket.recv()
            await anna.page.goto(anna.url + f"#users/{eve.number}".replace("+", "%2B"))
            await expect(anna.page.get_by_text(POISON)).to_be_visible()
    for hash in ("users/%3Cimg src=x onerror=hit=1%3E", "audit/%22%3E%3Cscript%3E", "users/%ff"):
        await anna.page.goto(anna.url + "#" + hash)
        await expect(anna.page.get_by_role("heading", level=1)).to_be_visible()
    assert await anna.page.evaluate("window.hit") is None
    assert await anna.page.locator("img[src='x'], #app script").count() == 0
    anna.said = [text for text in anna.said if "Failed to load resource" not in text]  # 400, 422


# ---- for everybody ----------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page_of_it(
    come: Come, shared_server: Server, scheme: str
) -> None:
    door: Any = await come(color_scheme=scheme)
    assert await faults(door) == [], "the door"
    anna: Any = await come(root_of(shared_server), color_scheme=scheme)
    async with Program(shared_server) as ben:
        for title in PAGES:
            await anna.go(title)
            await expect(anna.page.get_by_role("region").first).to_be_visible()
            assert await faults(anna) == [], title
        await anna.page.goto(anna.url + f"#users/{ben.number}".replace("+", "%2B"))
        await expect(anna.page.get_by_role("button", name="Disconnect device 1")).to_be_visible()
        assert await faults(anna) == [], "one account"
        await anna.page.get_by_role("button", name="New key").click()
        await expect(anna.page.get_by_role("dialog")).to_be_visible()
        assert await faults(anna) == [], "a question"


@pytest.mark.parametrize("width", [320, PHONE["width"], 768])
async def test_no_page_of_it_is_wider_than_the_screen(
    come: Come, shared_server: Server, width: int
) -> None:
    anna = await come(root_of(shared_server), viewport={"width": width, "height": 760})
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    for title in PAGES:
        await anna.go(title)
        await expect(anna.page.get_by_role("region").first).to_be_visible()
        assert not await anna.page.evaluate(wide), title


async def test_it_is_used_with_the_keyboard_alone(come: Come, shared_server: Server) -> None:
    anna = await come()
    await expect(anna.page.get_by_label("Token")).to_be_focused()
    await anna.page.keyboard.type(root_of(shared_server))
    await anna.page.keyboard.press("Enter")
    await anna.is_in()
    for _ in range(2):
        await anna.page.keyboard.press("Tab")
    await expect(anna.page.get_by_role("link", name="Users")).to_be_focused()
    await anna.page.keyboard.press("Enter")
    await expect(anna.page.get_by_role("heading", name="Users", level=1)).to_be_focused()
    await anna.page.keyboard.press("Tab")
    await expect(anna.page.get_by_role("searchbox")).to_be_focused()
    await anna.page.keyboard.press("Tab")
    await anna.page.keyboard.press("Enter")
    await expect(anna.page.get_by_role("dialog")).to_be_visible()
    await anna.page.keyboard.press("Escape")
    await expect(anna.page.get_by_role("button", name="New account")).to_be_focused()


async def test_what_has_the_focus_keeps_it_while_figures_change(
    come: Come, shared_server: Server
) -> None:
    anna = await come(root_of(shared_server))
    async with Program(shared_server) as ben, Program(shared_server) as carl:
        await carl.socket.close()
        await ben.submit(carl.number, {"text": "wait here"})
        inboxes = anna.page.get_by_role("region", name="Longest inboxes")
        link = inboxes.get_by_role("link").first
        await link.focus()
        for n in range(3):
            await ben.submit(carl.number, {"text": f"and {n}"})
        row = inboxes.get_by_role("row").filter(has_text=carl.number)
        await expect(row.get_by_role("cell", name="4", exact=True)).to_be_visible()
        await expect(link).to_be_focused()
