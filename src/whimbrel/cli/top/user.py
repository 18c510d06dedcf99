"""One account, as its actor is now: devices and sessions, open sends, what it waits for."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from whimbrel.cli.printable import printable
from whimbrel.cli.top import look
from whimbrel.cli.top.feed import Feed, NoSuchUser
from whimbrel.edge.http.shapes import ActorState, UserDetails

EVERY_S = 2.0
WAITS = {
    "ready": "its next message",
    "asleep": "a message; it is not in memory",
    "loading": "a read from the database",
    "waiting": "a commit, before it may read",
    "paused": "the end of its pause: it crashed too often",
}


class UserScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace", "app.pop_screen", "Back"),
        Binding("r", "again", "Again"),
    ]

    def __init__(self, feed: Feed, address: str) -> None:
        super().__init__()
        self._feed = feed
        self.address = address
        self._title = Static("", id="user-title")
        self._facts = Static("", id="user-facts")
        self._devices = Static("", id="user-devices")
        self._sends = Static("", id="user-sends")

    def compose(self) -> ComposeResult:
        yield self._title
        with VerticalScroll():
            yield self._facts
            yield self._devices
            yield self._sends
        yield Footer()

    def on_mount(self) -> None:
        self._title.update(Text(f" {printable(self.address)}", "bold"))
        self._facts.update(Text(" asking …", "dim"))
        self.set_interval(EVERY_S, self.action_again)
        self.action_again()

    def action_again(self) -> None:
        self.run_worker(self._ask(), exclusive=True)

    async def _ask(self) -> None:
        try:
            found = await self._feed.user(self.address)
        except NoSuchUser as error:
            self._facts.update(Text(f" {printable(str(error))}", "red"))
            self._devices.update("")
            self._sends.update("")
            return
        now_us = self._now_us()
        self._facts.update(facts(found, now_us))
        self._devices.update(devices(found, now_us))
        self._sends.update(sends(found, now_us))

    def _now_us(self) -> int:
        now: int = getattr(self.app, "now_us", 0)  # the server's clock, not ours
        return now


def facts(found: UserDetails, now_us: int) -> Table:
    table = Table.grid(padding=(0, 2))
    waits = waits_for(found.actor)
    rows = [
        ("created", look.ago(found.created_us, now_us)),
        ("last seen", "here now" if is_here(found) else look.ago(found.last_seen_us, now_us)),
        ("inbox", f"{found.waiting:,} waiting, last number {found.tail:,}"),
        ("open sends", f"{found.open:,}, receipts owed to {found.owed:,}"),
        ("actor", f"{found.actor.status if found.actor else 'asleep'}; waits for {waits}"),
    ]
    if found.actor is not None:
        mailbox = f"{found.actor.mailbox:,} messages"
        if found.actor.alarm_in_s >= 0:
            mailbox += f"; looks at its retries in {look.seconds(found.actor.alarm_in_s)}"
        rows.append(("mailbox", mailbox))
    for name, value in rows:
        table.add_row(Text(f" {name}", "dim"), Text(value))
    return table


def is_here(found: UserDetails) -> bool:
    return any(d.session is not None and not d.session.waiting for d in found.devices)


def waits_for(actor: ActorState | None) -> str:
    if actor is None:
        return WAITS["asleep"]
    if actor.needs:
        return f"{WAITS[actor.status]} ({actor.needs} in a row)"
    return WAITS.get(actor.status, actor.status)


def devices(found: UserDetails, now_us: int) -> Table:
    table = Table(
        "device", "name", "confirmed", "by", "from", "program", "unsent", "for",
        box=None, pad_edge=True, header_style="bold", title="Devices", title_justify="left",
    )  # fmt: skip
    for device in found.devices:
        session = device.session
        name = printable(device.name) + ("" if device.kind == "own" else f" ({device.kind})")
        confirmed = f"{device.confirmed:,}" if device.confirmed >= 0 else "–"
        if session is None:
            seen = look.ago(device.last_seen_us, now_us)
            rest = ["", "", "", "", f"seen {seen}"]
        elif session.waiting:
            rest = [session.front, "", "", "", "its line is lost"]
        else:
            agent, whence = printable(session.agent), printable(session.address)
            unsent = look.size(session.unsent_bytes)
            rest = [session.front, whence, agent, unsent, look.seconds(session.connected_s)]
        cells = (str(device.device), name, f"{confirmed}/{found.tail:,}", *rest)
        table.add_row(*map(Text, cells))
    return table


def sends(found: UserDetails, now_us: int) -> Table | Text:
    if not found.sends:
        return Text("")
    table = Table(
        "message", "to", "tries", "next", "accepted",
        box=None, pad_edge=True, header_style="bold", title="Open sends", title_justify="left",
    )  # fmt: skip
    for send in found.sends:
        cells = (
            str(send.id),
            printable(send.peer),
            str(send.attempts),
            f"in {look.seconds(send.retry_in_s)}" if send.retry_in_s else "queued",
            look.ago(send.accepted_us, now_us),
        )
        table.add_row(*map(Text, cells))
    return table
