"""A conversation of 5,000 messages: quick to open, smooth to scroll, bounded in the page."""

import pytest
from playwright.async_api import expect

from tests.web.person import Arrive

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]

COUNT = 5_000
PEER = "+4915277777777"
ROWS_MAX = 700
FILL = """async ([count, peer]) => {
    const opened = indexedDB.open("whimbrel");
    const db = await new Promise((done) => { opened.onsuccess = () => done(opened.result); });
    const work = db.transaction(["line", "chat"], "readwrite");
    const start = 1_790_000_000_000_000;
    for (let n = 1; n <= count; n++) {
        const at = start + n * 600_000_000;
        work.objectStore("line").put({ key: n, peer, mine: n % 3 === 0, device: 1,
            c: 0, id: at, at, body: { text: `message ${n} ` + "word ".repeat(n % 40) },
            state: n % 3 === 0 ? 3 : 0, code: "" });
    }
    const at = start + count * 600_000_000;
    work.objectStore("chat").put({ peer, unread: 0, at, last: `message ${count}`,
        lastMine: false, lastState: 0, lastKey: count, draft: "", delivered: at, read: at,
        seen: at, told: at, blocked: false });
    await new Promise((done) => { work.oncomplete = done; });
    db.close();
}"""
SCROLL_TO_TOP = """async () => {
    const scroller = document.querySelector(".scroller");
    const frame = () => new Promise(requestAnimationFrame);
    let rows = 0, jumps = 0, longest = 0, still = 0;
    while (still < 40) {
        const before = scroller.querySelector(".line:not(:empty)");
        const from = performance.now();
        const was = scroller.scrollTop;
        scroller.scrollTop -= 900;
        await frame();
        longest = Math.max(longest, performance.now() - from);
        rows = Math.max(rows, scroller.querySelectorAll(".line").length);
        still = scroller.scrollTop === 0 && was === 0 ? still + 1 : 0;
    }
    return { rows, longest };
}"""


async def test_five_thousand_messages_scroll_with_a_bounded_page(arrive: Arrive) -> None:
    anna = await arrive(signed_up=True)
    await anna.page.evaluate(FILL, [COUNT, PEER])
    await anna.page.reload()
    await anna.open_chat()
    await anna.sees(f"message {COUNT} ")
    found = await anna.page.evaluate(SCROLL_TO_TOP)
    print("rows at most", found["rows"], "longest frame ms", round(found["longest"]))
    await expect(anna.page.locator(".line").first).to_contain_text("message 1 ")
    assert found["rows"] <= ROWS_MAX
    await anna.page.get_by_role("button", name="To the newest message").click()
    await anna.sees(f"message {COUNT} ")
    await expect(anna.page.locator(".line").last).to_be_in_viewport()
