"""One conversation on the screen: bubbles, days between them, older ones on demand."""

from collections.abc import Iterable

from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget

from whimbrel.cli.chat.bubble import Bubble, Day
from whimbrel.cli.chat.look import day, now_local
from whimbrel.client import Line
from whimbrel.client.words import DELIVERED, FAILED, QUEUED, READ

PAGE = 60  # lines read from the history at once


class ConversationView(VerticalScroll):
    """Knows the bubbles by their local key. Never reads the store itself."""

    DEFAULT_CSS = """
    ConversationView { height: 1fr; padding: 0; scrollbar-size-vertical: 1; }
    """
    can_focus = False

    class WantsOlder(Message):
        """The reader scrolled to the top."""

    def __init__(self) -> None:
        super().__init__()
        self._bubbles: dict[int, Bubble] = {}
        self._last_day = ""
        self._last_mine = False
        self._complete = False  # no older lines exist

    async def show(self, lines: list[Line]) -> None:
        """Another conversation: everything anew, at its end."""
        self._bubbles.clear()
        self._last_day = ""
        self._complete = len(lines) < PAGE
        async with self.batch():
            await self.remove_children()
            await self.mount_all(self._widgets(lines))
        self.scroll_end(animate=False)

    def _widgets(self, lines: Iterable[Line]) -> list[Widget]:
        now = now_local()
        widgets: list[Widget] = []
        for line in lines:
            title = day(line.at_us, now)
            if title != self._last_day:
                self._last_day = title
                widgets.append(Day(title))
                self._last_mine = line.mine  # the day's title is space enough
            bubble = Bubble(line)
            bubble.set_class(line.mine != self._last_mine, "turn")  # the other one speaks
            self._last_mine = line.mine
            self._bubbles[line.key] = bubble
            widgets.append(bubble)
        return widgets

    async def add(self, line: Line) -> None:
        """A new line at the end; seen at once if the end was in sight, or if it is ours."""
        if line.key in self._bubbles:
            return
        at_end = self.max_scroll_y - self.scroll_y <= 2
        await self.mount_all(self._widgets([line]))
        if at_end or line.mine:
            self.scroll_end(animate=False)

    async def add_older(self, lines: list[Line]) -> None:
        """A page before the first one; what was in sight stays in sight."""
        self._complete = len(lines) < PAGE
        fresh = [line for line in lines if line.key not in self._bubbles]
        if not fresh:
            return
        end = self._last_day, self._last_mine
        self._last_day = ""
        widgets = self._widgets(fresh)
        joined = self._last_day
        self._last_day, self._last_mine = end
        height = self.max_scroll_y
        first = self.children[0] if self.children else None
        async with self.batch():
            if isinstance(first, Day) and first.title == joined:
                await first.remove()  # the same day goes on
            await self.mount_all(widgets, before=0 if self.children else None)
        self.call_after_refresh(lambda: self._keep_place(height))

    def _keep_place(self, height: float) -> None:
        self.scroll_to(y=self.scroll_y + self.max_scroll_y - height, animate=False)

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        if new <= 0 < old and not self._complete:
            self.post_message(self.WantsOlder())

    @property
    def oldest_key(self) -> int:
        return min(self._bubbles, default=0)

    @property
    def newest_incoming_id(self) -> int:
        """For the read mark."""
        return max((b.line.id for b in self._bubbles.values() if not b.line.mine), default=0)

    def bubble(self, key: int) -> Bubble | None:
        return self._bubbles.get(key)

    # ---- marks --------------------------------------------------------------------------

    def mark(self, key: int, state: int, id: int, code: str) -> None:
        bubble = self._bubbles.get(key)
        if bubble is not None:
            bubble.mark(state, id, code)

    def mark_upto(self, delivered: int, read: int) -> None:
        """Watermarks: also for what this account's other devices sent."""
        for bubble in self._bubbles.values():
            line = bubble.line
            if not line.mine or not line.id or line.state in (QUEUED, FAILED):
                continue
            state = READ if line.id <= read else DELIVERED if line.id <= delivered else 0
            if state > line.state:
                bubble.mark(state, line.id, "")

    def fail(self, first: int, last: int, code: str) -> None:
        for bubble in self._bubbles.values():
            line = bubble.line
            if line.mine and first <= line.id <= last and line.state < DELIVERED:
                bubble.mark(FAILED, line.id, code)
