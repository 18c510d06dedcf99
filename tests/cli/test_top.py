"""`whimbrel top` in 80x24 and on a large screen, by textual's pilot against a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.node.administering import Admin, serving
from tests.node.test_office import person
from whimbrel.cli.top.app import HelpScreen, TopApp
from whimbrel.cli.top.feed import Feed, NoSuchUser, Offline
from whimbrel.cli.top.user import UserScreen
from whimbrel.cli.users import Admin as Where
from whimbrel.edge.http.shapes import History, Snapshot

SMALL, LARGE = (80, 24), (160, 50)
PATIENCE_S = 20.0


def where(admin: Admin) -> Where:
    return Where(admin.url("").rstrip("/"), admin.token)


@asynccontextmanager
async def watching(
    admin: Admin, size: tuple[int, int] = SMALL
) -> AsyncIterator[tuple[TopApp, Pilot[None]]]:
    app = TopApp(Feed(lambda: where(admin), pause_s=0.05))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.snapshot is not None)
        yield app, pilot


async def until(pilot: Pilot[None], holds: Callable[[], object]) -> None:
    """Bounded; each step lets the application finish what it has to do."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await pilot.pause(0.02)
    await pilot.pause()


async def second(admin: Admin, app: TopApp, pilot: Pilot[None]) -> None:
    """One more second of the server, as the application has it on its screen."""
    before = app.now_us
    admin.node.monitor.look()
    await until(pilot, lambda: app.now_us > before)


def said(app: TopApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).render())


def rows(app: TopApp, panel: int) -> list[list[str]]:
    table = app.panels[panel].table
    return [[str(cell) for cell in table.get_row_at(n)] for n in range(table.row_count)]


def shown(app: TopApp) -> set[str]:
    return {str(panel.id) for panel in app.panels if not panel.has_class("hidden")}


async def test_the_screen_shows_the_server_with_a_token_that_may_only_read(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as root:
        eyes = await root.with_token("eyes", "read")
        async with await person(root, "alice") as alice, watching(eyes) as (app, pilot):
            await alice.online()
            carl = await person(root, "carl")
            assert carl.account == "carl"
            for n in range(40):
                await (await alice.send("carl", f"number {n}")).stored
            await second(root, app, pilot)
            assert "READY" in said(app, "#head")
            assert "1 here" in said(app, "#head")
            assert "accepted/s" in said(app, "#charts")
            assert "no alerts" in said(app, "#alerts")
            names = [row[0] for row in rows(app, 0)]
            assert names[:2] == ["turns", "writer"]
            assert ["carl", "40"] in rows(app, 2)
            assert any(row[0] == "alice" for row in rows(app, 1))
            assert ["native", "1", "1"] in rows(app, 4)


async def test_in_80x24_two_panels_are_shown_and_keys_change_the_second(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root, watching(root) as (app, pilot):
        assert shown(app) == {"queues", "actors"}
        await pilot.press("3")
        assert shown(app) == {"queues", "inboxes"}
        await pilot.press("5")
        assert shown(app) == {"queues", "fronts"}
        assert app.focused is app.panels[4].table
        await pilot.resize_terminal(*LARGE)
        everything = {"queues", "actors", "inboxes", "readers", "fronts"}
        await until(pilot, lambda: shown(app) == everything)


async def test_nothing_of_it_is_cut_off_in_80x24(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root, watching(root) as (app, pilot):
        await second(root, app, pilot)
        table = app.panels[0].table
        assert table.virtual_size.width <= 80, "columns of the queues"
        assert table.virtual_size.height <= table.size.height, "rows of the queues"
        assert app.panels[1].table.size.height >= 3


async def test_an_account_is_opened_from_its_row_and_shows_what_it_waits_for(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path / "data") as root,
        await person(root, "alice") as alice,
        watching(root) as (app, pilot),
    ):
        await alice.online()
        carl = await person(root, "carl")
        assert carl.account == "carl"
        await (await alice.send("carl", "hello")).stored
        await second(root, app, pilot)
        await pilot.press("3", "enter")
        await until(pilot, lambda: isinstance(app.screen, UserScreen))
        await until(pilot, lambda: "waiting" in text_of(app, "#user-facts"))
        facts = text_of(app, "#user-facts")
        assert "1 waiting, last number 1" in facts
        assert "waits for its next message" in facts
        assert "carl" in said(app, "#user-title")
        await pilot.press("escape")
        await pilot.press("u")
        await pilot.press(*"alice", "enter")
        await until(pilot, lambda: "a tester" in text_of(app, "#user-devices"))
        assert "native" in text_of(app, "#user-devices")
        await pilot.press("escape")
        await pilot.press("u", *"nobody", "enter")
        await until(pilot, lambda: "no such account" in text_of(app, "#user-facts"))


def text_of(app: TopApp, selector: str) -> str:
    """A table as its letters."""
    if not isinstance(app.screen, UserScreen):
        return ""
    lines = app.screen.query_one(selector, Static).render_lines(
        app.screen.query_one(selector, Static).size.region
    )
    return "\n".join("".join(part.text for part in line) for line in lines)


async def test_rows_are_sorted_and_filtered_and_the_cursor_stays(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data") as root,
        await person(root, "alice") as alice,
        watching(root) as (app, pilot),
    ):
        await alice.online()
        for name, waiting in (("bert", 1), ("carl", 3), ("dora", 2)):
            await person(root, name)
            for n in range(waiting):
                await (await alice.send(name, f"number {n}")).stored
        await second(root, app, pilot)
        await pilot.press("3")
        assert [row[0] for row in rows(app, 2)] == ["carl", "dora", "bert"]
        await pilot.press("down")
        await pilot.press("s")
        assert [row[0] for row in rows(app, 2)] == ["bert", "carl", "dora"]
        assert app.panels[2].table.cursor_row == 2, "still on dora"
        await pilot.press("slash", *"ar", "enter")
        assert [row[0] for row in rows(app, 2)] == ["carl"]
        await second(root, app, pilot)
        assert [row[0] for row in rows(app, 2)] == ["carl"]
        await pilot.press("slash")
        app.screen.query_one(Input).value = ""
        await pilot.press("enter")
        assert len(rows(app, 2)) == 3


async def test_hold_keeps_the_picture(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data") as root,
        await person(root, "alice") as alice,
        watching(root) as (app, pilot),
    ):
        await alice.online()
        await pilot.press("p")
        await person(root, "carl")
        await (await alice.send("carl", "hello")).stored
        await second(root, app, pilot)
        assert "paused" in said(app, "#head")
        assert rows(app, 2) == [["nothing waits", ""]]
        await pilot.press("p")
        assert rows(app, 2) == [["carl", "1"]]


async def test_help_is_there_and_goes(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root, watching(root) as (app, pilot):
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)


async def test_it_comes_back_when_the_server_does_on_another_port(tmp_path: Path) -> None:
    places: list[Where] = []
    app = TopApp(Feed(lambda: places[-1] if places else None, pause_s=0.02))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "no server runs here" in said(app, "#head"))
        async with serving(tmp_path / "data") as root:
            places.append(where(root))
            await until(pilot, lambda: "READY" in said(app, "#head"))
        await until(pilot, lambda: "OFFLINE" in said(app, "#head"))
        async with serving(tmp_path / "data") as root:
            places.append(where(root))
            await until(pilot, lambda: "READY" in said(app, "#head"))


@pytest.mark.parametrize("token", ["wrong", ""])
async def test_a_wrong_token_is_said(tmp_path: Path, token: str) -> None:
    async with serving(tmp_path / "data") as root:
        feed = Feed(lambda: Where(root.url("").rstrip("/"), token or "x"), pause_s=0.01)
        async for event in feed.follow():
            assert event == Offline("the token is wrong, expired or revoked")
            break


async def test_the_feed_gives_the_history_then_every_second(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        kinds = []
        async for event in Feed(lambda: where(root)).follow():
            kinds.append(type(event))
            root.node.monitor.look()
            if len(kinds) == 3:
                break
        assert kinds == [History, Snapshot, Snapshot]
        with pytest.raises(NoSuchUser, match="no such account"):
            await Feed(lambda: where(root)).user("nobody")
        with pytest.raises(NoSuchUser, match="no server runs"):
            await Feed(lambda: None).user("nobody")


async def test_what_strangers_are_called_does_not_steer_the_terminal(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root, watching(root) as (app, pilot):
        root.node.listener._readers = [(5_000, "\x1b]0;owned\x07[bold]x", "native")]
        root.node.monitor.look()
        await until(pilot, lambda: rows(app, 3)[0][0] != "all have read")
        ((who, unsent, _),) = rows(app, 3)
        assert "\x1b" not in who
        assert who.endswith("[bold]x")
        assert unsent == "4.9 KiB"
