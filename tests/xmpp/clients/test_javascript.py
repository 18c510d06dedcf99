"""@xmpp/client in Node, and Converse.js in a browser over WebSocket."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Page, async_playwright

from tests.web import chromium
from tests.xmpp.clients.conftest import MODULES, Place
from tests.xmpp.clients.middle import Middle
from tests.xmpp.clients.test_libraries import Program
from tests.xmpp.clients.test_python import Slix, client, jid

SCRIPT = Path(__file__).with_name("chat.mjs")
needs_modules = pytest.mark.skipif(
    not (MODULES / "converse.js").exists() or shutil.which("node") is None,
    reason="@xmpp/client and converse.js are not installed (make test has npm fetch them)",
)


@needs_modules
async def test_xmpp_client_for_node_chats_gets_what_waited_and_resumes(place: Place) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    node = shutil.which("node")
    assert node is not None
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "MODULES": str(MODULES)}
    env["NODE_EXTRA_CA_CERTS"] = str(place.certificate)
    async with client(place, bob) as b, Middle(place.tls_port) as middle:
        b.send_message(mto=jid(alice), mbody="while you were away", mtype="chat")
        command = [node, str(SCRIPT), f"xmpps://localhost:{middle.port}", "localhost"]
        command += [*alice, bob[0], "hello from node"]
        program = Program(
            await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
            )
        )
        try:
            await program.line("heard while you were away")
            assert await b.text() == "hello from node"
            middle.cut()
            b.send_message(mto=jid(alice), mbody="meanwhile", mtype="chat")
            await program.line("heard meanwhile")
            await program.line("resumed")
            b.send_message(mto=jid(alice), mbody="bye", mtype="chat")
            await program.line("heard bye")
            assert program.lines.count("heard meanwhile") == 1
            await asyncio.wait_for(program.process.wait(), 30)
        finally:
            if program.process.returncode is None:
                program.process.kill()
                await program.process.wait()


async def converse(
    page: Page, place: Place, site: int, who: tuple[str, str], how: str = "websocket"
) -> None:
    plain = f"127.0.0.1:{place.http_port}"
    where = {
        "websocket": {"websocket_url": f"ws://{plain}/xmpp-websocket"},
        "bosh": {"bosh_service_url": f"http://{plain}/http-bind"},
    }
    settings: dict[str, Any] = {
        "view_mode": "fullscreen",
        "authentication": "login",
        "auto_login": True,
        "jid": f"{who[0]}@localhost/converse",
        "password": who[1],
        **where[how],
        "discover_connection_methods": False,
        "whitelisted_plugins": ["here"],
        "loglevel": "warn",
        "assets_path": "/",
        "i18n": "en",
    }
    await page.goto(f"http://127.0.0.1:{site}/chat.html#{quote(json.dumps(settings))}")


@needs_modules
@pytest.mark.parametrize("how", ["websocket", "bosh"])
async def test_converse_js_chats(place: Place, elsewhere: int, how: str, tmp_path: Path) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    path = chromium.where()
    if path is None:
        chromium.missing("no Chromium here (apt-get install chromium, or set CHROMIUM)")
    async with client(place, bob) as b, async_playwright() as playwright:
        b.send_message(mto=jid(alice), mbody="while you were away", mtype="chat")
        browser = await chromium.launch(playwright, path)
        page = await browser.new_page(ignore_https_errors=True)
        await converse(page, place, elsewhere, alice, how)
        await page.wait_for_function("window.here?.api?.connection?.connected?.()", timeout=60_000)
        await page.evaluate(f"window.here.api.chats.open('{bob[0]}@localhost')")
        box = page.locator("textarea.chat-textarea")
        await box.fill("hello from Converse")
        await box.press("Enter")
        assert await b.text() == "hello from Converse"
        b.send_message(mto=jid(alice), mbody="hello Converse", mtype="chat")
        await page.get_by_text("hello Converse").first.wait_for(timeout=30_000)
        await page.get_by_text("while you were away").first.wait_for(timeout=30_000)
        file = tmp_path / "notes.txt"
        file.write_text("what was uploaded")
        await page.locator("input[type=file]").first.set_input_files(file)
        link = await b.text()
        assert link.endswith("/notes.txt"), link
        if how == "websocket":
            await resumes(page, b, alice)
        await page.close()
        context = await browser.new_context()  # knows nothing: what it shows is the archive's
        page = await context.new_page()
        await converse(page, place, elsewhere, alice, how)
        await page.wait_for_function("window.here?.api?.connection?.connected?.()", timeout=60_000)
        await page.evaluate(f"window.here.api.chats.open('{bob[0]}@localhost')")
        await page.get_by_text("hello Converse").first.wait_for(timeout=30_000)
        await browser.close()


async def resumes(page: Page, other: Slix, alice: tuple[str, str]) -> None:
    """Its connection ends without a goodbye; the same session goes on in the next one."""
    session = "window.here.session.get('smacks_stream_id')"
    before = await page.evaluate(session)
    assert before
    await page.evaluate(
        "() => { window.here.api.listen.on('reconnected', () => { window.again = true; });"
        " window.here.api.connection.get()._proto.socket.close(); }"
    )
    for n in range(3):
        other.send_message(mto=jid(alice), mbody=f"meanwhile {n}", mtype="chat")
    await page.wait_for_function("window.again", timeout=60_000)
    for n in range(3):
        await page.get_by_text(f"meanwhile {n}").first.wait_for(timeout=30_000)
    assert await page.evaluate(session) == before
    for n in range(3):
        assert (
            await page.locator("converse-chat-message-body", has_text=f"meanwhile {n}").count() == 1
        )
