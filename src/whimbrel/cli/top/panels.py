"""The panels of `whimbrel top`: tables that are filled anew every second, and lines of figures.

A table keeps its cursor on the same row, its order and its filter over all this.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Static

from whimbrel.cli.printable import printable
from whimbrel.cli.top import look
from whimbrel.edge.http.shapes import History, Snapshot


class Column(NamedTuple):
    """title, a row's value for sorting, and how it is shown. key: None: the table's own order."""

    title: str
    value: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    right: bool = True


class Panel(Vertical):
    """A titled table. rows(snapshot) gives what it shows; `whom` the account that Enter opens."""

    class Opened(Message):
        def __init__(self, address: str) -> None:
            super().__init__()
            self.address = address

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "sort", "Sort")]

    def __init__(
        self,
        name: str,
        title: str,
        columns: Sequence[Column],
        rows: Callable[[Snapshot], Sequence[Any]],
        whom: Callable[[Any], str] = lambda row: "",
        nothing: str = "",
    ) -> None:
        super().__init__(id=name, classes="panel")
        self.title = title
        self.columns = columns
        self._rows_of = rows
        self._whom = whom
        self._nothing = nothing
        self._sort = -1  # the column, or -1: as the server gives it
        self._shown: list[Any] = []
        self._last: Snapshot | None = None
        self.filter = ""
        self._heading = Static("", classes="heading")
        self.table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=False)

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self.table

    def on_mount(self) -> None:
        for column in self.columns:
            label = Text(column.title, justify="right" if column.right else "left")
            self.table.add_column(label, key=column.title)
        self._say_heading()

    def _say_heading(self) -> None:
        order = f"  by {self.columns[self._sort].title}" if self._sort >= 0 else ""
        chosen = f"  /{self.filter}" if self.filter else ""
        self._heading.update(Text(f"{self.title}{order}{chosen}"))

    def show(self, snapshot: Snapshot) -> None:
        self._last = snapshot
        rows = list(self._rows_of(snapshot))
        if self.filter:
            wanted = self.filter.lower()
            rows = [row for row in rows if any(wanted in text.lower() for text in self._cells(row))]
        if self._sort >= 0:
            value = self.columns[self._sort].value
            numbers = bool(rows) and isinstance(value(rows[0]), int | float)
            rows.sort(key=value, reverse=numbers)
        table, at = self.table, self.table.cursor_row
        kept = self._whom(self._shown[at]) if 0 <= at < len(self._shown) else ""
        table.clear()
        for row in rows:
            cells = [
                Text(text, justify="right" if column.right else "left", no_wrap=True)
                for text, column in zip(self._cells(row), self.columns, strict=True)
            ]
            table.add_row(*cells)
        if not rows and self._nothing:
            table.add_row(Text(self._nothing, style="dim"), *[Text("")] * (len(self.columns) - 1))
        self._shown = rows
        places = [n for n, row in enumerate(rows) if kept and self._whom(row) == kept]
        table.move_cursor(row=places[0] if places else min(max(at, 0), max(len(rows) - 1, 0)))

    def _cells(self, row: Any) -> list[str]:
        return [printable(column.show(column.value(row))) for column in self.columns]

    def narrow(self, text: str) -> None:
        self.filter = text
        self._say_heading()
        if self._last is not None:
            self.show(self._last)

    def action_sort(self) -> None:
        """The next column; after the last one the server's own order."""
        self._sort = -1 if self._sort + 1 >= len(self.columns) else self._sort + 1
        self._say_heading()
        if self._last is not None:
            self.show(self._last)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.cursor_row < len(self._shown):
            address = self._whom(self._shown[event.cursor_row])
            if address:
                self.post_message(self.Opened(address))


class Head(Static):
    """One line: is it ready, who is here, what it costs."""

    def tell(self, now: Snapshot, offline: str = "", paused: bool = False) -> None:
        line = Text(no_wrap=True, overflow="ellipsis")
        if offline:
            line.append(" OFFLINE ", "reverse bold red")
            line.append(f" {offline}", "red")
            self.update(line)
            return
        state = " READY " if now.ready else " NOT READY "
        line.append(state, "reverse bold green" if now.ready else "reverse bold red")
        line.append(f" {printable(now.domain)}", "bold")
        parts = [
            f"up {look.seconds(now.uptime_s)}",
            f"{look.count(now.sessions)} here",
            f"{look.count(now.actors)} actors",
            f"cpu {now.machine.cpu_percent:.0f}%",
            look.mebibytes(now.machine.memory_mib),
            f"disk {look.mebibytes(now.machine.disk_free_mib)}",
        ]
        line.append("  " + "  ".join(parts), "dim")
        if now.reason:
            line.append(f"  {printable(now.reason)}", "red")
        if now.upgrade:
            line.append(f"  upgrade: {printable(now.upgrade)}", "yellow")
        if paused:
            line.append("  paused", "yellow")
        self.update(line)


class Charts(Static):
    """Four figures with their last minutes."""

    def tell(self, history: History) -> None:
        if not history.accepted_per_s:
            return
        rows: list[tuple[str, list[float], Callable[[float], str], str]] = [
            ("accepted/s", history.accepted_per_s, look.count, "green"),
            ("delivered/s", history.delivered_per_s, look.count, "green"),
            ("turn p99", history.turn_p99_ms, look.milliseconds, "cyan"),
            ("commit p99", history.commit_p99_ms, look.milliseconds, "cyan"),
        ]
        wide = self.size.width >= 110  # two columns of two
        width = (self.size.width // (2 if wide else 1)) - 34
        lines = []
        for name, values, show, colour in rows:
            line = Text(no_wrap=True)
            line.append(f" {name:<12}")
            line.append(f"{show(values[-1]):>9} ", "bold")
            line.append(f"{look.spark(values[-300:], width):>{max(width, 1)}}", colour)
            line.append(f" {show(max(values)):>8} ", "dim")
            lines.append(line)
        if wide:
            lines = [Text.assemble(lines[0], lines[2]), Text.assemble(lines[1], lines[3])]
        self.update(Text("\n").join(lines))


class AlertLines(Static):
    """Active alerts, or one quiet line."""

    def tell(self, now: Snapshot) -> None:
        if not now.alerts:
            findings = now.audit.unexplained
            audit = f", audit: {findings} unexplained" if now.audit.at_us else ""
            self.update(Text(f" ✓ no alerts{audit}", "green" if not findings else "red"))
            return
        lines = []
        for alert in now.alerts:
            colour = "red" if alert.severity == "critical" else "yellow"
            what = f" ! {printable(alert.owner)}: {printable(alert.text)}"
            lines.append(Text(what, f"bold {colour}"))
            lines.append(Text(f"   {printable(alert.cause)}", colour))
        self.update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))


def panels() -> list[Panel]:
    """In the order of their keys 1 to 5."""
    text, per_s, ms = str, look.count, look.milliseconds
    return [
        Panel(
            "queues",
            "Queues",
            (
                Column("queue", lambda q: q.name, text, False),
                Column("longest", lambda q: q.length, look.count),
                Column("all", lambda q: q.total, look.count),
                Column("head", lambda q: q.age_ms, ms),
                Column("in/s", lambda q: q.arrived_per_s, per_s),
                Column("out/s", lambda q: q.served_per_s, per_s),
                Column("of", lambda q: f"{q.owner} {q.state}".strip(), text, False),
            ),
            lambda now: now.queues,
            lambda q: q.owner if q.name in ("mailbox", "retries", "inboxes", "windows") else "",
        ),
        Panel(
            "actors",
            "Busiest actors",
            (
                Column("account", lambda a: a.address, text, False),
                Column("messages/s", lambda a: a.per_s, per_s),
                Column("waiting", lambda a: a.waiting, look.count),
                Column("state", lambda a: a.state, text, False),
            ),
            lambda now: now.busiest,
            lambda a: str(a.address),
            "nobody is busy",
        ),
        Panel(
            "inboxes",
            "Longest inboxes",
            (
                Column("account", lambda i: i.address, text, False),
                Column("waiting", lambda i: i.waiting, look.count),
            ),
            lambda now: now.inboxes,
            lambda i: str(i.address),
            "nothing waits",
        ),
        Panel(
            "readers",
            "Slow readers",
            (
                Column("who", lambda r: r.who, text, False),
                Column("unsent", lambda r: r.unsent_bytes, look.size),
                Column("by", lambda r: r.front, text, False),
            ),
            lambda now: now.readers,
            lambda r: str(r.who),
            "all have read",
        ),
        Panel(
            "fronts",
            "Connections",
            (
                Column("by", lambda f: f.front, text, False),
                Column("open", lambda f: f.connections, look.count),
                Column("logged in", lambda f: f.logged_in, look.count),
            ),
            lambda now: now.fronts,
        ),
    ]
