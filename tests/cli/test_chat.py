"""The chat on an 80x24 screen, driven by textual's pilot against the scripted server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.client.fake_server import FakeServer, Peer, text_body
from whimbrel.cli.chat.app import ChatApp
from whimbrel.cli.chat.bubble import Bubble, Day
from whimbrel.cli.chat.conversation import ConversationView
from whimbrel.cli.chat.sidebar import Sidebar
from whimbrel.client import Backoff, Client, MemoryClientStore, Plain
from whimbrel.protocol import wire

SIZE = (80, 24)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    server = FakeServer()
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def chat(
    server: FakeServer, peer: str = "", store: MemoryClientStore | None = None
) -> AsyncIterator[tuple[ChatApp, Pilot[None], Peer]]:
    client = Client(
        "alice", 1, "key", server.host, server.port,
        trust=Plain(), store=store or MemoryClientStore(), backoff=Backoff(0.001, 0.01),
    )  # fmt: skip
    async with client:
        app = ChatApp(client, peer)
        async with app.run_test(size=SIZE) as pilot:
            said = await server.accept()
            said.welcome()
            yield app, pilot, said


async def eventually(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Bounded; each step lets the application finish what it has to do."""
    async with asyncio.timeout(5):
        while not true():
            await pilot.pause(0.01)


def bubbles(app: ChatApp) -> list[str]:
    return [bubble.shown for bubble in app.query(Bubble)]


def said(app: ChatApp, selector: str) -> str:
    return str(app.query_one(selector, Static).render())


def listed(app: ChatApp) -> list[str]:
    sidebar = app.query_one(Sidebar)
    return [str(option.prompt) for option in sidebar.options]


async def kind(peer: Peer, wanted: type[wire.Wire]) -> wire.Wire:
    """The next frame of this kind; others (watch, typing, confirm) are left out."""
    while not isinstance(message := await peer.read(), wanted):
        pass
    return message


async def test_a_check_mark_changes_in_place(server: FakeServer) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        await pilot.press(*"hello", "enter")
        submit = await kind(peer, wire.Submit)
        assert isinstance(submit, wire.Submit)
        await eventually(pilot, lambda: len(app.query(Bubble)) == 1)
        bubble = app.query_one(Bubble)
        assert bubble.shown.startswith("hello")
        assert bubble.shown.endswith(" …")
        peer.say(wire.Stored(submit.c, 5_000))
        await eventually(pilot, lambda: bubble.shown.endswith(" ✓"))
        peer.say(wire.Receipt(0, 1, "bob", 5_000, 0))
        await eventually(pilot, lambda: bubble.shown.endswith(" ✓✓"))
        assert not bubble.has_class("read")
        peer.say(wire.Receipt(1, 2, "bob", 5_000, 5_000))
        await eventually(pilot, lambda: bubble.has_class("read"))
        assert app.query_one(Bubble) is bubble


async def test_a_message_in_the_open_conversation_is_shown_confirmed_and_read(
    server: FakeServer,
) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        peer.say(wire.Message(0, 1, "bob", 7_000, 1, 1, text_body("look out!")))
        await eventually(pilot, lambda: len(bubbles(app)) == 1)
        assert bubbles(app)[0].startswith("look out!")
        frames = [await kind(peer, wire.Read | wire.Confirm) for _ in range(2)]  # type: ignore[arg-type]
        assert wire.Read("bob", 7_000) in frames
        assert wire.Confirm(1) in frames
        assert len(app.query(Day)) == 1


async def test_others_are_counted_as_unread_until_they_are_opened(server: FakeServer) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        peer.say(
            wire.Message(0, 1, "carol", 7_000, 1, 1, text_body("one")),
            wire.Message(1, 2, "carol", 7_001, 1, 2, text_body("two")),
        )
        await eventually(pilot, lambda: any("carol" in one and " 2 " in one for one in listed(app)))
        assert bubbles(app) == []
        assert any("two" in one for one in listed(app))
        await app.open("carol")
        assert await kind(peer, wire.Read) == wire.Read("carol", 7_001)
        await eventually(pilot, lambda: not any(" 2 " in one for one in listed(app)))
        assert len(bubbles(app)) == 2


async def test_typing_and_presence_stand_in_the_title(server: FakeServer) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        assert await kind(peer, wire.Watch) == wire.Watch("bob")
        peer.say(wire.Presence("bob", True, 0))
        await eventually(pilot, lambda: "online" in said(app, "#title"))
        peer.say(wire.Typing("bob", True))
        await eventually(pilot, lambda: "typing" in said(app, "#title"))
        await eventually(pilot, lambda: any("typing" in one for one in listed(app)))
        peer.say(wire.Message(0, 1, "bob", 7_000, 1, 1, text_body("done")))
        await eventually(pilot, lambda: "online" in said(app, "#title"))


async def test_own_typing_is_told_once_and_taken_back(server: FakeServer) -> None:
    async with chat(server, "bob") as (_, pilot, peer):
        await kind(peer, wire.Watch)
        await pilot.press(*"abc")
        assert await kind(peer, wire.Typing) == wire.Typing("bob", True)
        await pilot.press("backspace", "backspace", "backspace")
        assert await kind(peer, wire.Typing) == wire.Typing("bob", False)


async def test_a_new_chat_is_opened_by_number(server: FakeServer) -> None:
    async with chat(server) as (app, pilot, _):
        await pilot.press("ctrl+n")
        await pilot.press(*"nonsense !", "enter")
        assert "address" in str(app.screen.query_one(".error", Static).render())
        app.screen.query_one(Input).value = "+49 151 23456789"
        await pilot.press("enter")
        await eventually(pilot, lambda: app.peer == "+4915123456789")
        assert "+4915123456789" in said(app, "#title")


async def test_the_first_message_opens_its_conversation_if_none_is_open(
    server: FakeServer,
) -> None:
    async with chat(server) as (app, pilot, peer):
        peer.say(wire.Message(0, 1, "bob", 7_000, 1, 1, text_body("hello")))
        await eventually(pilot, lambda: app.peer == "bob" and len(bubbles(app)) == 1)
        assert await kind(peer, wire.Read) == wire.Read("bob", 7_000)


async def test_history_is_shown_at_once_also_without_a_connection(server: FakeServer) -> None:
    store = MemoryClientStore()
    async with chat(server, "bob", store) as (app, pilot, peer):
        peer.say(wire.Message(0, 1, "bob", 7_000, 1, 1, text_body("kept")))
        await eventually(pilot, lambda: len(bubbles(app)) == 1)
    await server.stop()
    client = Client("alice", 1, "key", server.host, server.port, trust=Plain(), store=store)
    async with client:
        app = ChatApp(client)
        async with app.run_test(size=SIZE) as pilot:
            await eventually(pilot, lambda: len(bubbles(app)) == 1)
            await eventually(pilot, lambda: "offline" in said(app, "#status"))


async def test_being_replaced_is_said_and_stops_the_input(server: FakeServer) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        await eventually(pilot, lambda: "online" in said(app, "#status"))
        peer.say(wire.Replaced())
        await eventually(pilot, lambda: "another device" in said(app, "#status"))
        assert app.query_one("#input", Input).disabled


async def test_a_failure_stands_at_the_message(server: FakeServer) -> None:
    async with chat(server, "nobody") as (app, pilot, peer):
        await pilot.press(*"hi", "enter")
        await kind(peer, wire.Submit)
        peer.say(wire.Refused(1, "unknown-recipient"))
        await eventually(pilot, lambda: any("nobody has this address" in b for b in bubbles(app)))


async def test_older_messages_are_loaded_at_the_top(server: FakeServer) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        peer.say(
            *(
                wire.Message(q - 1, q, "bob", 7_000 + q, 1, q, text_body(f"number {q}"))
                for q in range(1, 101)
            )
        )
        await eventually(pilot, lambda: len(bubbles(app)) == 100)
        await app.open("carol")
        await app.open("bob")
        assert len(bubbles(app)) == 60
        view = app.query_one(ConversationView)
        await eventually(pilot, lambda: view.max_scroll_y > 0 and view.scroll_y > 0)
        view.scroll_to(y=0, animate=False)
        await eventually(pilot, lambda: len(bubbles(app)) == 100)
        assert [one.split("  ")[0] for one in bubbles(app)] == [
            f"number {q}" for q in range(1, 101)
        ]
        assert len(app.query(Day)) == 1


async def test_control_characters_of_strangers_do_not_reach_the_terminal(
    server: FakeServer,
) -> None:
    async with chat(server, "bob") as (app, pilot, peer):
        peer.say(wire.Message(0, 1, "bob", 7_000, 1, 1, text_body("a\x1b[2Jb [bold]c[/bold]")))
        await eventually(pilot, lambda: len(bubbles(app)) == 1)
        assert bubbles(app)[0].startswith("a\ufffd[2Jb [bold]c[/bold]")
