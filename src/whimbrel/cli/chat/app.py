"""The chat application: one client, a list of conversations, one of them open.

The client (whimbrel.client) tells what happens through its two iterators; this file turns
that into calls of the widgets. Law: a message is confirmed after it stands on the screen
(and in the local file).
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Footer, Input, Static

from whimbrel.cli.chat.conversation import PAGE, ConversationView
from whimbrel.cli.chat.dialogs import Help, NewChat
from whimbrel.cli.chat.look import last_seen, now_local
from whimbrel.cli.chat.sidebar import Sidebar
from whimbrel.cli.home import Home, compact
from whimbrel.cli.spoken import run, spoken
from whimbrel.client import (
    Client,
    ClientError,
    Closed,
    Conversation,
    Ended,
    Incoming,
    Line,
    SentMessage,
    Undelivered,
)
from whimbrel.client import words as happened
from whimbrel.client.words import encode_content
from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import parse_address

TYPING_EVERY_S = 3.0  # how often "is typing" is repeated
TYPING_SHOWN_S = 6.0  # how long it is believed
NARROW = 64  # columns below which only one half is shown


class ChatApp(App[None]):
    TITLE = "Whimbrel"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #title { height: 1; padding: 0 1; background: $panel; text-style: bold; }
    #empty { height: 1fr; content-align: center middle; color: $faint; }
    #status { height: 1; padding: 0 1; color: $faint; text-wrap: nowrap; text-overflow: ellipsis; }
    #input { border: tall $surface-lighten-2; height: 3; }
    #input:focus { border: tall $primary; }
    .narrow Sidebar { display: none; }
    .narrow.nobody Sidebar { display: block; width: 1fr; }
    .narrow.nobody #right { display: none; }
    .nobody ConversationView, .nobody #input { display: none; }
    .somebody #empty { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "new_chat", "New chat", priority=True),
        Binding("ctrl+up", "step(-1)", "Previous", priority=True, key_display="^↑"),
        Binding("ctrl+down", "step(1)", "Next", priority=True, key_display="^↓"),
        Binding("pageup", "scroll(-1)", "Scroll", show=False, priority=True),
        Binding("pagedown", "scroll(1)", "Scroll", show=False, priority=True),
        Binding("ctrl+b", "block", "Block", priority=True),
        Binding("ctrl+t", "light", "Light", priority=True),
        Binding("f1", "help", "Help", priority=True),
        Binding("ctrl+q", "quit", "Quit", priority=True),
    ]

    def __init__(self, client: Client, peer: str = "", light: bool = False) -> None:
        super().__init__()
        self.client = client
        self.peer = ""  # of the open conversation
        self._first_peer = peer
        self._first_light = light
        self._sidebar = Sidebar()
        self._view = ConversationView()
        self._input = Input(placeholder="Message", id="input")
        self._title_line = Static("", id="title")
        self._status_line = Static("", id="status")
        self._conversations: list[Conversation] = []
        self._typing: dict[str, Timer] = {}
        self._presence: dict[str, happened.Presence] = {}
        self._blocked: set[str] = set()
        self._told_typing_at = 0.0
        self._view_lock = asyncio.Lock()  # one change of what is open at a time
        self._send_lock = asyncio.Lock()  # messages leave in the order they were typed
        self._refresh_timer: Timer | None = None

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Two colours of our own; read must differ from delivered in both themes."""
        if self.current_theme.dark:
            return {"read": "#58b7ff", "faint": "#93a59c"}
        return {"read": "#0b57d0", "faint": "#5d6b64"}

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._sidebar
            with Vertical(id="right"):
                yield self._title_line
                yield Static("Write to somebody: Ctrl+N", id="empty")
                yield self._view
                yield self._input
        yield self._status_line
        yield Footer()

    async def on_mount(self) -> None:
        if self._first_light:
            self.theme = "textual-light"
        self.screen_stack[0].add_class("nobody")
        self._status("○ connecting…")
        await self._refresh()
        wanted = self._first_peer or (self._conversations[0].peer if self._conversations else "")
        if wanted:
            await self.open(wanted)
        self.watch(self, "app_focus", self._on_focus_changed, init=False)
        self.run_worker(self._events(), exit_on_error=True)
        self.run_worker(self._receive(), exit_on_error=True)

    def on_resize(self) -> None:
        self.screen_stack[0].set_class(self.size.width < NARROW, "narrow")

    # ---- what arrives -------------------------------------------------------------------

    async def _receive(self) -> None:
        try:
            async for message in self.client.messages():
                await self._on_incoming(message)
        except Ended:
            pass  # the event Connection("ended") has said it

    async def _on_incoming(self, message: Incoming) -> None:
        line = Line(
            message.key, message.sender, False, message.id, message.id, message.body, 0, "",
            message.c, message.device,
        )  # fmt: skip
        self._stop_typing(message.sender)
        async with self._view_lock:
            if message.sender == self.peer:
                await self._view.add(line)
                self._mark_read()
                if message.sender not in self._presence:
                    self.client.watch(message.sender)  # shown only to those who were written to
            else:
                self.bell()
        if not self.peer:
            await self.open(message.sender)  # nothing else is on the screen
        self._refresh_soon()

    async def _events(self) -> None:
        if self.client.is_online:
            self._on_connection(happened.Connection("online"))
        async for event in self.client.events():
            handle = _ON.get(type(event))
            if handle is not None:
                handle(self, event)

    def _on_connection(self, event: happened.Connection) -> None:
        if event.state == "online":
            self._status(f"● online as {self.client.account}", "$text-success")
        elif event.state == "ended":
            self._status(f"■ {event.reason}", "$text-error")
            self._input.disabled = True
            if not isinstance(self.client.ended, Closed):
                self.notify(event.reason, severity="error", timeout=60)
        elif event.state == "offline" and event.retry_s:
            self._status(f"○ offline, trying again: {event.reason}", "$text-warning")

    def _on_marked(self, event: happened.Marked) -> None:
        message = event.message
        if message.to == self.peer:
            self._view.mark(message.key, message.state, message.id, message.code)
        if message.state == happened.FAILED:
            self.notify(str(Undelivered(message.code)), title=message.to, severity="error")
        self._refresh_soon()

    def _on_watermarks(self, event: happened.Watermarks) -> None:
        if event.peer == self.peer:
            self._view.mark_upto(event.delivered, event.read)
        self._refresh_soon()

    def _on_failed(self, event: happened.Failed) -> None:
        if event.peer == self.peer:
            self._view.fail(event.first, event.last, event.code)
        self._refresh_soon()

    def _on_copied(self, event: happened.Copied) -> None:
        self._refresh_soon()
        if event.peer == self.peer:
            self.run_worker(self._reload())

    async def _reload(self) -> None:
        async with self._view_lock:
            await self._view.show(await self.client.store.history(self.peer, limit=PAGE))

    def _on_typing(self, event: happened.Typing) -> None:
        self._stop_typing(event.peer)
        if event.on:
            self._typing[event.peer] = self.set_timer(
                TYPING_SHOWN_S, lambda: self._stop_typing(event.peer)
            )
        self._title()
        self._refresh_soon()

    def _stop_typing(self, peer: str) -> None:
        timer = self._typing.pop(peer, None)
        if timer is not None:
            timer.stop()
            self._title()
            self._refresh_soon()

    def _on_presence(self, event: happened.Presence) -> None:
        self._presence[event.peer] = event
        self._title()

    def _on_trimmed(self, event: happened.Trimmed) -> None:
        why = "waited too long" if event.code == "expired" else "were too many"
        self.notify(f"Some older messages were removed on the server: they {why}.", timeout=20)

    def _on_delayed(self, event: happened.Delayed) -> None:
        if event.retry_s >= 2:
            self.notify(f"The server takes no message for {event.retry_s:.0f} s ({event.code}).")

    # ---- what the person does -----------------------------------------------------------

    async def open(self, peer: str) -> None:
        """Show this conversation."""
        async with self._view_lock:
            if self.peer and self.peer != peer:
                self.client.unwatch(self.peer)
            self.peer = peer
            self.screen_stack[0].remove_class("nobody")
            self.screen_stack[0].add_class("somebody")
            await self._view.show(await self.client.store.history(peer, limit=PAGE))
        self.client.watch(peer)
        self._title()
        self._mark_read()
        await self._refresh()
        self._input.focus()

    async def on_sidebar_chosen(self, event: Sidebar.Chosen) -> None:
        await self.open(event.peer)

    async def on_conversation_view_wants_older(self) -> None:
        async with self._view_lock:
            before = self._view.oldest_key
            if before:
                older = await self.client.store.history(self.peer, before=before, limit=PAGE)
                await self._view.add_older(older)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if event.input.id != "input" or not text or not self.peer:
            return
        event.input.clear()
        self._tell_typing(False)
        self.run_worker(self._send(self.peer, text))

    async def _send(self, peer: str, text: str) -> None:
        async with self._send_lock:
            try:
                message = await self.client.send(peer, text)
            except ClientError as error:
                self.notify(str(error), severity="error")
                return
            async with self._view_lock:
                if peer == self.peer:
                    await self._view.add(_line_of(message))
            self._refresh_soon()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "input" and self.peer:
            self._tell_typing(bool(event.value))

    def _tell_typing(self, on: bool) -> None:
        now = asyncio.get_running_loop().time()
        if on and now - self._told_typing_at >= TYPING_EVERY_S:
            self._told_typing_at = now
            self.client.typing(self.peer, True)
        elif not on and self._told_typing_at:
            self._told_typing_at = 0.0
            self.client.typing(self.peer, False)

    def _mark_read(self) -> None:
        """Only what stands on a screen that somebody looks at is read."""
        newest = self._view.newest_incoming_id
        if self.peer and newest and self.app_focus:
            self.client.read(self.peer, newest)
            self._refresh_soon()

    def _on_focus_changed(self, focus: bool) -> None:
        if focus and self.peer:
            self._mark_read()

    def action_new_chat(self) -> None:
        def opened(peer: str | None) -> None:
            if peer:
                self.run_worker(self.open(peer))

        self.push_screen(NewChat(), opened)

    def action_help(self) -> None:
        self.push_screen(Help())

    async def action_step(self, by: int) -> None:
        peers = [one.peer for one in self._conversations]
        if peers:
            at = peers.index(self.peer) if self.peer in peers else 0
            await self.open(peers[(at + by) % len(peers)])

    def action_scroll(self, by: int) -> None:
        self._view.scroll_relative(y=by * max(1, self._view.size.height - 2), animate=False)

    def action_light(self) -> None:
        self.theme = "textual-dark" if self.theme == "textual-light" else "textual-light"

    def action_block(self) -> None:
        if self.peer:
            self.run_worker(self._block(self.peer, self.peer not in self._blocked))

    async def _block(self, peer: str, on: bool) -> None:
        try:
            await self.client.block(peer, on)
        except ClientError as error:
            self.notify(str(error), severity="error")
            return
        if on:
            self._blocked.add(peer)
            self.notify(f"{peer} cannot reach you any more. Ctrl+B again: accept.")
        else:
            self._blocked.discard(peer)
            self.notify(f"Messages from {peer} are accepted again.")
        self._title()

    # ---- what is shown ------------------------------------------------------------------

    def _title(self) -> None:
        if not self.peer:
            return
        presence = self._presence.get(self.peer)
        if self.peer in self._blocked:
            state = Content.styled("blocked", "$text-error")
        elif self.peer in self._typing:
            state = Content.styled("typing…", "italic $text-success")
        elif presence is None:
            state = Content("")
        elif presence.online:
            state = Content.styled("● online", "$text-success")
        else:
            state = Content.styled(last_seen(presence.last_seen, now_local()), "$faint")
        self._title_line.update(Content.assemble(self.peer, "  ", state))

    def _status(self, text: str, style: str = "$faint") -> None:
        self._status_line.update(Content.styled(text, style))

    def _refresh_soon(self) -> None:
        """Many changes, one new list."""
        if self._refresh_timer is None:
            self._refresh_timer = self.set_timer(0.05, self._start_refresh)

    def _start_refresh(self) -> None:
        self._refresh_timer = None
        self.run_worker(self._refresh())

    async def _refresh(self) -> None:
        if not self.is_running:
            return
        found = await self.client.store.conversations()
        if self.peer and self.peer not in [one.peer for one in found]:
            empty = Line(0, self.peer, False, 0, 0, encode_content({}))
            found.insert(0, Conversation(self.peer, 0, empty))
        self._conversations = found
        self._sidebar.show(found, self.peer, set(self._typing))
        unread = sum(one.unread for one in found)
        self.title = f"Whimbrel ({unread})" if unread else "Whimbrel"


def _line_of(message: SentMessage) -> Line:
    at_us = message.id or message.queued_us
    return Line(
        message.key, message.to, True, message.id, at_us, message.body, message.state,
        message.code, message.c, message.device,
    )  # fmt: skip


_ON: dict[type, Callable[[ChatApp, Any], None]] = {
    happened.Connection: ChatApp._on_connection,
    happened.Marked: ChatApp._on_marked,
    happened.Watermarks: ChatApp._on_watermarks,
    happened.Failed: ChatApp._on_failed,
    happened.Copied: ChatApp._on_copied,
    happened.Typing: ChatApp._on_typing,
    happened.Presence: ChatApp._on_presence,
    happened.Trimmed: ChatApp._on_trimmed,
    happened.Delayed: ChatApp._on_delayed,
}


@spoken
def run_chat(peer: str | None, account: str | None, light: bool) -> None:
    """Open the chat; an error that ended the connection for good is said once more at the end."""
    wanted = ""
    if peer:
        try:
            wanted = parse_address(compact(peer))
        except BadAddress as error:
            raise ClientError(str(error)) from None
    home = Home()
    run(_chat(home.client(home.pick(account)), wanted, light))


async def _chat(client: Client, peer: str, light: bool) -> None:
    async with client:
        await ChatApp(client, peer, light).run_async()
        ended = client.ended
    if ended is not None:
        raise ended
