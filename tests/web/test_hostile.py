"""What strangers write is text: no field of a message becomes markup, a script or a bad link."""

import json

import pytest
from playwright.async_api import expect

from bench.server import Server
from tests.web.person import Arrive
from tests.web.program import Program

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]

HOSTILE = (
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 2'>",
    "<svg/onload=window.hit=3>",
    "\"><iframe src='javascript:window.parent.hit=4'></iframe>",
    "javascript:window.hit=5",
    "data:text/html,<script>parent.hit=6</script>",
    'https://example.org/"onmouseover="window.hit=7"',
    "https://example.org/'><script>window.hit=8</script>",
    "{{constructor.constructor('window.hit=9')()}}",
    "\u202egpj.exe \u0000 \ufeff &lt;b&gt; ]]> <!--",
)


def bodies() -> list[dict[str, object]]:
    """Every field that the page reads, with every kind of poison and every wrong type."""
    found: list[dict[str, object]] = [{"text": text.replace("\0", "")} for text in HOSTILE]
    for text in HOSTILE[:4]:
        found.append({"text": "a reply", "reply": [text[:60], 1, 1]})
        found.append({"text": "sealed", "sealed": text})
        media = {"link": text, "name": text, "type": text, "size": 1, "blur": text}
        media |= {"thumbnail": text, "sha256": text}
        found.append({"text": "a picture", "media": media})
        found.append({"text": "a picture", "media": media | {"link": "javascript:window.hit=10"}})
    wrong: tuple[object, ...] = (None, 1, [], {}, [[]], {"name": {}}, -1.5, True, "text")
    found += [{"text": "wrong media", "media": value} for value in wrong]
    found += [{"unknown": value} for value in wrong]
    return found


async def test_no_field_of_a_message_is_ever_run_or_shown_as_markup(
    arrive: Arrive, shared_server: Server
) -> None:
    anna = await arrive(signed_up=True)
    sent = 0
    async with Program(shared_server) as eve:
        for body in bodies():
            sent += await eve.submit(anna.number, body)
    assert sent >= len(HOSTILE)
    await anna.open_chat()
    await expect(anna.page.locator(".theirs .bubble")).to_have_count(sent)
    shown = await anna.texts()
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert await anna.page.evaluate("window.hit") is None
    strangers = (
        "script, iframe, object, embed, form[action], .bubble img[src='x'], .bubble svg[onload]"
    )
    assert await anna.page.locator(f"#app >> {strangers}").count() == 0
    links = await anna.page.locator(".bubble a").evaluate_all(
        "all => all.map((a) => [new URL(a.href).protocol, a.rel, a.getAttributeNames().join()])"
    )
    assert links
    for protocol, rel, names in links:
        assert protocol in ("http:", "https:"), links
        assert "noopener" in rel
        assert "on" not in names.replace("onclick", "on"), names
    await anna.page.reload()  # and from its own database
    await anna.is_online()
    await anna.open_chat()
    assert await anna.page.evaluate("window.hit") is None


async def test_inline_code_would_not_run_even_if_it_came_into_the_page(arrive: Arrive) -> None:
    """The policy is a second wall: it is tried here by putting the poison in ourselves."""
    anna = await arrive()
    await anna.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"hit=1\">')"
    )
    await expect(anna.page.locator("body > img")).to_have_count(1)
    outside = await anna.page.evaluate(
        "fetch('http://127.0.0.1:9/').then(() => 'went out', () => 'stopped')"
    )
    assert outside == "stopped"
    stopped = [text for text in anna.said if "Content Security Policy" in text]
    assert len(stopped) >= 2, anna.said
    assert await anna.page.evaluate("window.hit") is None
    anna.said.clear()


async def test_a_profile_name_in_the_address_is_only_a_name(arrive: Arrive) -> None:
    anna = await arrive()
    await anna.page.goto(anna.url + "?profile=" + "%3Cscript%3Ehit%3D1%3C/script%3E" * 9)
    await expect(anna.page.get_by_role("textbox", name="Your phone number")).to_be_visible()
    names = await anna.page.evaluate("indexedDB.databases().then((all) => all.map((d) => d.name))")
    assert all("<" not in name and len(name) < 40 for name in names), json.dumps(names)
