"""The browser client's files: these and no others, from memory, under a policy without holes."""

import re
from pathlib import Path

import pytest

from tests.edge.http.sign_up_world import SignUpWorld, running
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.web import KINDS, administration, client
from whimbrel.services.sms.console import ConsoleSender

FOLDER = Path("src/whimbrel/web")
SIZE_MAX = 150 * 1024


def test_all_of_it_is_small_and_every_file_is_served() -> None:
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    assert {name: file.content for name, file in client().items()} == files
    assert sum(map(len, files.values())) < SIZE_MAX
    assert {name.rpartition(".")[2] for name in files} <= set(KINDS)


async def test_the_page_and_its_files_come_with_their_types_and_tags(world: SignUpWorld) -> None:
    status, page = await world.get("/")
    assert status == 200
    assert world.headers["Content-Type"] == "text/html; charset=utf-8"
    wanted = re.findall(r'(?:src|href)="(/app/[^"]+)"', page)
    assert {"/app/app.js", "/app/app.css", "/app/bird.svg"} <= set(wanted)
    for path in [*wanted, *(f"/app/{name}" for name in client())]:
        status, _ = await world.get(path)
        assert status == 200, path
        tag = world.headers["ETag"]
        status, body = await world.get(path, headers={"If-None-Match": tag})
        assert (status, body) == (304, ""), path


async def test_nothing_else_is_there(world: SignUpWorld) -> None:
    for path in ("/app/", "/app/nothing.js", "/app/..%2fhealth", "/app/%2e%2e/%2e%2e/etc/passwd"):
        status, _ = await world.get(path)
        assert status == 404, path


async def test_the_policy_lets_no_inline_code_in_and_nothing_from_elsewhere(
    world: SignUpWorld,
) -> None:
    await world.get("/")
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in world.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in world.headers["Content-Security-Policy"]
    assert "*" not in world.headers["Content-Security-Policy"]
    assert world.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_no_text_becomes_markup(path: Path) -> None:
    """Text goes in as text nodes: there is no way in for a script in a name or a message."""
    code = path.read_text()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ):
        assert way not in code, way
    for source in re.findall(r'from "([^"]+)"', code):
        assert source.startswith("./"), "nothing is fetched from elsewhere"


def test_the_page_has_no_inline_code_or_style() -> None:
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r"<style|style=|\son\w+=", page)


async def test_the_pin_is_shown_to_this_machine_only_and_only_by_the_console_sender() -> None:
    lines: list[str] = []
    sender = ConsoleSender(lines.append, now=lambda: 0.0)
    async with running(sender) as world:
        assert (await world.get("/pins.json"))[1] == {"pins": []}
        await sender.send("+4915112345678", "12345")
        status, answer = await world.get("/pins.json")
        assert status == 200
        assert answer == {"pins": [{"number": "+4915112345678", "pin": "12345"}]}
        far = {"Host": "attacker.example"}
        assert (await world.get("/pins.json", headers=far))[0] == 404


async def test_visits_do_not_use_up_what_sign_up_may_ask() -> None:
    limits = HttpLimits(requests_burst=2, files_burst=150)
    async with running(http=limits) as world:
        for _ in range(6):
            for name in client():
                assert (await world.get(f"/app/{name}"))[0] == 200
        assert (await world.get("/health"))[0] == 200
        assert (await world.get("/health"))[0] == 200
        assert (await world.get("/health"))[0] == 429
        while (await world.get("/"))[0] == 200:  # these too have a bound
            world.now_s += 0.0001


# ---- the administrators' page ------------------------------------------------------------


async def test_the_page_for_administrators_may_run_its_own_files_and_nothing_else(
    world: SignUpWorld,
) -> None:
    status, page = await world.get("/admin/")
    assert status == 200
    policy = world.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'" in policy
    for hole in ("unsafe", "blob:", "data:", "http:", "https:", "*"):
        assert hole not in policy
    assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)
    for name, file in administration().items():
        status, _ = await world.get(f"/admin/page/{name}")
        assert status == 200, name
        code = file.content.decode()
        assert not re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", code
        )
    assert (await world.get("/admin/page/app.js"))[0] == 404
    assert (await world.get("/app/admin.js"))[0] == 404
