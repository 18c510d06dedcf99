"""One message on the screen. Its check mark changes in place."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from whimbrel.cli.chat.look import clock, mark
from whimbrel.cli.printable import printable
from whimbrel.client import Line
from whimbrel.client.words import FAILED, READ, read_content


class Bubble(Horizontal):
    """`line` is this widget's own copy; show() draws it anew."""

    DEFAULT_CSS = """
    Bubble { height: auto; width: 1fr; }
    Bubble.turn { margin-top: 1; }
    Bubble.mine { align-horizontal: right; }
    Bubble > Static {
        width: auto; max-width: 82%; height: auto; padding: 0 1; margin: 0 1;
        background: $surface-lighten-1; color: $text;
    }
    Bubble.mine > Static { background: $success-muted; }
    Bubble.failed > Static { background: $error-muted; }
    """

    def __init__(self, line: Line) -> None:
        super().__init__(classes="mine" if line.mine else "")
        self.line = line
        self._text = printable(read_content(line.body).text) or "(no text)"
        self._static = Static(self._drawn())

    def compose(self) -> ComposeResult:
        yield self._static

    def _drawn(self) -> Content:
        parts: list[Content] = [
            Content(self._text),
            Content.styled(f"  {clock(self.line.at_us)}", "$faint"),
        ]
        if self.line.mine:
            parts += [Content(" "), mark(self.line.state, self.line.code)]
        return Content.assemble(*parts)

    @property
    def shown(self) -> str:
        """What stands on the screen, without colours."""
        return self._drawn().plain

    def mark(self, state: int, id: int, code: str) -> None:
        line = self.line
        if (line.state, line.id, line.code) == (state, id, code):
            return
        line.state, line.id, line.code = state, id, code
        self.set_class(state == FAILED, "failed")
        self.set_class(state == READ, "read")
        self._static.update(self._drawn())


class Day(Static):
    """The line between two days."""

    DEFAULT_CSS = """
    Day { width: 1fr; text-align: center; color: $faint; margin: 1 0 0 0; }
    """

    def __init__(self, title: str) -> None:
        super().__init__(f"── {title} ──", markup=False)
        self.title = title
