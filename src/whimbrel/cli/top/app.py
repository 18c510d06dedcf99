"""`whimbrel top` on the screen: figures with their last minutes, queues, and one more panel.

In 80x24 one panel shows beside the queues and the keys 1 to 5 change it; on a large terminal all of
them are there. feed.py hears the server; nothing here asks it anything but about one account.
"""

from collections.abc import Callable
from typing import ClassVar

import msgspec
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from whimbrel.cli.top.feed import Feed, Offline
from whimbrel.cli.top.panels import AlertLines, Charts, Head, Panel, panels
from whimbrel.cli.top.user import UserScreen
from whimbrel.edge.http.shapes import History, Snapshot

LARGE = (120, 38)
HISTORY_S = 300
HELP = """\
[b]whimbrel top[/b]

  1 … 5    queues, busiest actors, longest inboxes, slow readers, connections
  Tab      the next panel
  ↑ ↓      choose a row; Enter opens the account's actor
  s        sort by the next column, in the end as the server does
  /        show only rows with this text; Escape takes it back
  u        open any account by its address
  p        hold the picture; the figures go on meanwhile
  l        light or dark
  q        leave

Rates are of the last second; charts of the last five minutes, with the
largest figure at their end. Of queues that there are many of, the longest
is shown, and whose it is.
"""


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "app.pop_screen", "Back")
    ]

    def compose(self) -> ComposeResult:
        yield Static(HELP, id="help")


class Ask(ModalScreen[str]):
    """One line of text; Escape gives nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    def __init__(self, label: str, value: str = "") -> None:
        super().__init__()
        self._label = label
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static(self._label)
            yield Input(value=self._value)

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        self.dismiss("")


class TopApp(App[None]):
    TITLE = "whimbrel top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #head { height: 1; background: $panel; }
    #charts { height: 4; }
    #alerts { height: auto; max-height: 4; }
    #panels { height: 1fr; grid-size: 1; grid-rows: 10 1fr; }
    .panel { height: 100%; }
    .panel .heading { height: 1; color: $text-muted; padding: 0 1; text-style: bold; }
    .panel:focus-within .heading { color: $accent; }
    .panel DataTable { height: 1fr; background: $background; scrollbar-size: 1 1; }
    .panel DataTable > .datatable--header { background: $background; color: $text-muted; }
    .panel DataTable > .datatable--cursor { background: $boost; color: $text; }
    .panel DataTable:focus > .datatable--cursor { background: $primary-muted; color: $text; }
    .hidden { display: none; }
    .large #charts { height: 2; }
    .large #panels { grid-size: 2 3; grid-rows: 1fr 1fr 1fr; grid-gutter: 1 2; }
    .large #queues { column-span: 2; }
    .large #alerts { max-height: 8; }
    #help, #ask { width: 76; height: auto; padding: 1 2; background: $panel; }
    HelpScreen, Ask { align: center middle; }
    #user-title { height: 1; background: $panel; }
    #user-facts, #user-devices, #user-sends { height: auto; margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help", key_display="?"),
        Binding("1", "panel(0)", "Queues", show=False),
        Binding("2", "panel(1)", "Actors"),
        Binding("3", "panel(2)", "Inboxes"),
        Binding("4", "panel(3)", "Readers"),
        Binding("5", "panel(4)", "Connections"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("u", "user", "User"),
        Binding("p", "pause", "Hold", show=False),
        Binding("l", "light", "Light", show=False),
        Binding("q", "quit", "Leave"),
    ]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._head, self._charts = Head("", id="head"), Charts("", id="charts")
        self._alerts = AlertLines("", id="alerts")
        self.panels: list[Panel] = panels()
        self._second = 1  # the panel beside the queues
        self._paused = False
        self.snapshot: Snapshot | None = None
        self.history: History | None = None
        self.offline = "connecting"

    @property
    def now_us(self) -> int:
        return self.snapshot.at_us if self.snapshot is not None else 0

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._charts
        yield self._alerts
        with Grid(id="panels"):
            yield from self.panels
        yield Footer()

    def on_mount(self) -> None:
        self._lay_out()
        self.panels[1].table.focus()
        self._head.tell(EMPTY, self.offline)
        self.run_worker(self._follow(), exit_on_error=True)

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out(event.size)
        if self.history is not None:
            self.call_after_refresh(self._charts.tell, self.history)

    def _lay_out(self, size: Size | None = None) -> None:
        size = size or self.size
        large = size.width >= LARGE[0] and size.height >= LARGE[1]
        self.screen_stack[0].set_class(large, "large")
        for number, panel in enumerate(self.panels):
            panel.set_class(not large and number not in (0, self._second), "hidden")

    async def _follow(self) -> None:
        async for event in self._feed.follow():
            if isinstance(event, Offline):
                self.offline = event.reason
                self._head.tell(EMPTY, self.offline)
            elif isinstance(event, History):
                self.history = event
                self._charts.tell(event)
            else:
                self.offline = ""
                self._take(event)

    def _take(self, now: Snapshot) -> None:
        known = self.snapshot
        self.snapshot = now
        if self.history is not None and (known is None or now.at_us > self.history.at_us):
            self.history = grown(self.history, now)
        self._draw()

    def _draw(self) -> None:
        now = self.snapshot
        if now is None:
            return
        self._head.tell(now, self.offline, self._paused)
        if self._paused:
            return
        if self.history is not None:
            self._charts.tell(self.history)
        self._alerts.tell(now)
        for panel in self.panels:
            panel.show(now)

    # ---- keys ----------------------------------------------------------------------------

    def action_panel(self, number: int) -> None:
        if number:
            self._second = number
        self._lay_out()
        self.panels[number].table.focus()

    def action_pause(self) -> None:
        self._paused = not self._paused
        self._draw()

    def action_light(self) -> None:
        self.theme = "textual-dark" if not self.current_theme.dark else "textual-light"

    def action_help(self) -> None:
        self.push_screen(HelpScreen())

    def action_filter(self) -> None:
        def narrow(text: str | None) -> None:
            for panel in self.panels[1:]:
                panel.narrow(text or "")

        self.push_screen(Ask("Show only rows with this text:", self.panels[1].filter), narrow)

    def action_user(self) -> None:
        self.push_screen(Ask("Whose actor? An address, like +4915112345678:"), self._open)

    def _open(self, address: str | None) -> None:
        if address:
            self.push_screen(UserScreen(self._feed, address))

    @on(Panel.Opened)
    def _opened(self, event: Panel.Opened) -> None:
        self._open(event.address)


def grown(history: History, now: Snapshot) -> History:
    """With one second more."""
    turns = next((queue.length for queue in now.queues if queue.name == "turns"), 0)
    news: dict[str, float] = {
        "accepted_per_s": now.traffic.accepted_per_s,
        "delivered_per_s": now.traffic.delivered_per_s,
        "turn_p99_ms": now.turn.p99_ms,
        "commit_p99_ms": now.commit.p99_ms,
        "lag_max_ms": now.lag.max_ms,
        "queue_length": turns,
        "cpu_percent": now.machine.cpu_percent,
        "sessions": now.sessions,
    }
    columns = {name: [*getattr(history, name), value][-HISTORY_S:] for name, value in news.items()}
    return msgspec.structs.replace(history, at_us=now.at_us, **columns)


def _empty() -> Snapshot:
    spread = {"p50_ms": 0, "p99_ms": 0, "max_ms": 0, "per_s": 0}
    traffic = dict.fromkeys(
        ("accepted", "delivered", "retried", "handled", "commits", "rows", "logins"), 0
    )
    machine = dict.fromkeys(
        ("cpu_percent", "memory_mib", "descriptors_percent", "disk_free_mib", "certificate_days"), 0
    )
    return msgspec.convert(
        {
            "at_us": 0, "version": "", "domain": "", "uptime_s": 0, "ready": False, "reason": "",
            "actors": 0, "sessions": 0, "turn": spread, "commit": spread, "lag": spread,
            "traffic": {f"{name}_per_s": 0 for name in traffic}, "queues": [], "fronts": [],
            "readers": [], "busiest": [], "inboxes": [], "machine": machine,
            "audit": {"at_us": 0, "messages": 0, "unexplained": 0}, "alerts": [],
        },
        Snapshot,
    )  # fmt: skip


EMPTY = _empty()
Show = Callable[[Snapshot], None]
