"""Files in the browser: photos, films, voices and documents, on good and on bad lines."""

import asyncio
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import FilePayload, Locator, Route, expect

from bench.server import Server
from tests.services.media.samples import has_place, picture, video
from tests.web.person import DELIVERED, PATIENCE_MS, READ, Arrive, Person
from tests.web.test_trouble import kill

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]


async def choose(person: Person, *files: tuple[str, str, bytes], caption: str = "") -> None:
    """By the button beside the composer, through the look before sending."""
    async with person.page.expect_file_chooser() as chooser:
        await person.page.get_by_role("button", name="Attach files").click()
    await (await chooser.value).set_files(
        [FilePayload(name=name, mimeType=type, buffer=content) for name, type, content in files]
    )
    await person.page.get_by_role("textbox", name="Caption").fill(caption)
    await person.page.get_by_role("button", name="Send", exact=False).last.click()


def photos(person: Person) -> Locator:
    return person.page.get_by_role("button", name="Open the photo")


async def two(arrive: Arrive) -> tuple[Person, Person]:
    anna, ben = await arrive(signed_up=True), await arrive(signed_up=True)
    await anna.write_to(ben.number)
    return anna, ben


async def test_a_photo_arrives_clean_with_its_caption_and_fills_the_page_when_opened(
    arrive: Arrive,
) -> None:
    anna, ben = await two(arrive)
    photo = picture("JPEG", (1200, 900))
    assert has_place(photo)
    await choose(anna, ("golden gate.jpg", "image/jpeg", photo), caption="the monster")
    await anna.marked("the monster", DELIVERED)
    await expect(ben.chats.first).to_contain_text("the monster")
    await ben.open_chat()
    await ben.sees("the monster")
    shown = photos(ben).get_by_role("img", name="Photo: golden gate.jpg")
    await expect(shown).to_be_visible()
    await expect(shown).to_have_js_property("naturalWidth", 1200)
    small = ben.page.locator(".photo .blurred")
    assert str(await small.get_attribute("src")).startswith("data:image/webp;base64,")
    await photos(ben).click()
    dialog = ben.page.get_by_role("dialog", name="Photo")
    await expect(dialog.get_by_role("img", name="Photo: golden gate.jpg")).to_be_visible()
    async with ben.page.expect_download() as download:
        await dialog.get_by_role("link", name="Save").click()
    saved = await (await download.value).path()
    assert not has_place(await asyncio.to_thread(Path(saved).read_bytes))
    await ben.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)


async def test_several_files_of_several_kinds_go_one_by_one(arrive: Arrive, tmp_path: Path) -> None:
    anna, ben = await two(arrive)
    await choose(
        anna,
        ("clip.webm", "video/webm", video(tmp_path, (320, 240), 12, "webm", "libvpx")),
        ("notes.pdf", "application/pdf", b"%PDF-1.4 not much of one"),
        ("page.html", "text/html", b"<script>alert(1)</script>"),
    )
    await expect(ben.chats.first.locator(".badge")).to_have_text("3", timeout=PATIENCE_MS)
    await ben.open_chat()
    await expect(ben.page.get_by_role("button", name="Play the video")).to_be_visible()
    order = await ben.page.locator(".film, .paper b").evaluate_all(
        "all => all.map((box) => box.textContent)"
    )
    assert order[1:] == ["notes.pdf", "page.html"], "as they were chosen"
    for name in ("notes.pdf", "page.html"):
        async with ben.page.expect_download() as download:
            await ben.page.get_by_role("link", name=name).click()
        assert (await download.value).suggested_filename == name
    assert len(ben.context.pages) == 1, "a page of a stranger is saved, never opened"
    await ben.page.get_by_role("button", name="Play the video").click()
    await expect(ben.page.locator(".viewer video")).to_be_visible()
    await expect(anna.bubble("notes.pdf").get_by_role("img", name=READ)).to_be_visible()


async def test_texts_do_not_wait_for_a_file_that_is_on_its_way(arrive: Arrive) -> None:
    anna, ben = await two(arrive)
    go_on = asyncio.Event()

    async def later(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await anna.page.route("**/v1/uploads/*", later)
    await choose(anna, ("big.png", "image/png", picture("PNG", (300, 300))))
    await expect(anna.page.get_by_role("progressbar")).to_be_visible()
    await anna.say("the text behind it")
    await anna.marked("the text behind it", DELIVERED)
    await ben.open_chat()
    await expect(photos(ben)).to_have_count(0)
    go_on.set()
    await expect(photos(ben)).to_have_count(1, timeout=PATIENCE_MS)
    await expect(anna.page.get_by_role("progressbar")).to_have_count(0)


async def test_an_upload_that_was_cut_off_goes_on_where_it_stood(arrive: Arrive) -> None:
    anna, ben = await two(arrive)
    noise = Image.effect_noise((1300, 1300), 120)
    into = io.BytesIO()
    noise.save(into, "PNG")
    assert len(into.getvalue()) > 1_200_000, "more than one piece"
    offsets: list[int] = []
    cut = True

    async def line(route: Route) -> None:
        if route.request.method == "PATCH":
            offset = int(route.request.headers["upload-offset"])
            if cut and offset:
                await route.abort("connectionreset")
                return
            offsets.append(offset)
        await route.continue_()

    await anna.page.route("**/v1/uploads/**", line)
    await choose(anna, ("noise.png", "image/png", into.getvalue()))
    bar = anna.page.get_by_role("progressbar")
    await expect(bar).to_have_attribute("value", re.compile(r"0\.[3-9]"))
    assert offsets == [0]
    await anna.page.reload()  # even the page was closed
    cut = False
    await anna.open_chat()
    await expect(bar).to_have_count(0, timeout=3 * PATIENCE_MS)
    assert offsets == [0, 1024 * 1024]
    await ben.open_chat()
    await expect(photos(ben)).to_have_count(1, timeout=PATIENCE_MS)
    anna.said.clear()  # the torn lines


async def test_a_server_killed_in_the_middle_of_an_upload_gets_the_rest(
    arrive: Arrive, own_server: Server
) -> None:
    anna = await arrive(signed_up=True, server=own_server)
    ben = await arrive(signed_up=True, server=own_server)
    anna.may_lose_server = ben.may_lose_server = True
    await anna.write_to(ben.number)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait_at_done(route: Route) -> None:
        reached.set()
        await go_on.wait()
        await route.continue_()

    await anna.page.route("**/v1/uploads/*/done", wait_at_done)
    await choose(anna, ("film.png", "image/png", picture("PNG", (800, 600))))
    await reached.wait()
    kill(own_server)
    go_on.set()
    await anna.say("written meanwhile")
    await asyncio.to_thread(own_server.start)
    await anna.is_online()
    await anna.marked("written meanwhile", DELIVERED)
    await ben.is_online()
    await ben.open_chat()
    await expect(photos(ben)).to_have_count(1, timeout=3 * PATIENCE_MS)
    await ben.sees("written meanwhile")


async def test_a_file_that_is_not_taken_says_why_and_can_be_thrown_away(arrive: Arrive) -> None:
    anna, _ben = await two(arrive)
    await choose(anna, ("broken.jpg", "image/jpeg", picture("JPEG")[:200]))
    await expect(anna.page.locator(".why")).to_contain_text("it is damaged", timeout=PATIENCE_MS)
    await anna.page.locator(".bubble").click(button="right")
    await anna.page.get_by_role("menuitem", name="Delete on this device").click()
    await expect(anna.page.locator(".bubble")).to_have_count(0)
    anna.said.clear()  # the console tells of every answer that is not 2xx


async def test_a_file_on_its_way_can_be_stopped(arrive: Arrive) -> None:
    anna, ben = await two(arrive)
    hold = asyncio.Event()

    async def never(route: Route) -> None:
        await hold.wait()
        await route.abort()

    await anna.page.route("**/v1/uploads/*/done", never)
    await choose(anna, ("oops.png", "image/png", picture("PNG")))
    await anna.page.get_by_role("button", name="Do not send this file").click()
    await expect(anna.page.locator(".bubble")).to_have_count(0)
    hold.set()
    await anna.say("never mind")
    await anna.marked("never mind", DELIVERED)
    await ben.open_chat()
    await expect(ben.page.locator(".bubble")).to_have_count(1)


async def test_a_voice_is_recorded_sent_and_heard(arrive: Arrive) -> None:
    anna, ben = await two(arrive)
    await anna.context.grant_permissions(["microphone"])
    await anna.page.get_by_role("button", name="Record a voice message").click()
    await expect(anna.page.get_by_role("timer")).to_have_text("0:01", timeout=PATIENCE_MS)
    await anna.page.get_by_role("button", name="Send the voice message").click()
    await ben.open_chat()
    play = ben.page.get_by_role("button", name="Play", exact=True)
    await expect(play).to_be_visible(timeout=PATIENCE_MS)
    await play.click()
    await expect(play).to_be_visible(timeout=PATIENCE_MS)  # it has come to its end


async def test_pasted_and_dropped_files_are_sent_too(arrive: Arrive) -> None:
    anna, ben = await two(arrive)
    for event, carrier in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        await anna.page.evaluate(
            """([event, carrier, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
                const kind = event === "paste" ? ClipboardEvent : DragEvent;
                const target = document.querySelector(".conversation");
                const facts = {[carrier]: data, bubbles: true, cancelable: true};
                target.dispatchEvent(new kind(event, facts));
            }""",
            [event, carrier, list(picture("PNG", (200, 100)))],
        )
        await anna.page.get_by_role("button", name="Send", exact=True).last.click()
    await ben.open_chat()
    await expect(photos(ben)).to_have_count(2, timeout=PATIENCE_MS)
