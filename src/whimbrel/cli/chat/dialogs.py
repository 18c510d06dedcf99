"""The two small windows: whom to write to, and the help."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from whimbrel.cli.home import compact
from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import parse_address

HELP = """\
Enter          send
Ctrl+N         new chat by number or name
Ctrl+↑ Ctrl+↓  previous, next chat (or Tab, ↑ ↓, Enter)
PgUp PgDn      scroll; at the top older messages are loaded
Ctrl+B         block or unblock this person
Ctrl+T         light or dark
Ctrl+Q         quit

…   waits on this computer       ✓   the server has it on disk
✓✓  the other device has it      ✓✓  in blue: it was read\
"""


class NewChat(ModalScreen[str | None]):
    """Gives an address, or None."""

    DEFAULT_CSS = """
    NewChat { align: center middle; }
    NewChat > Vertical {
        width: 62; max-width: 95%; height: auto; padding: 1 2; background: $panel;
        border: round $primary;
    }
    NewChat .error { color: $text-error; height: auto; }
    """
    BINDINGS = [Binding("escape", "cancel", "Cancel")]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("Write to whom? A number with +country code, or a name.")
            yield Input(placeholder="+49151… or alice", id="address")
            yield Static("", classes="error")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self.dismiss(parse_address(compact(event.value)))
        except BadAddress as error:
            self.query_one(".error", Static).update(str(error))

    def action_cancel(self) -> None:
        self.dismiss(None)


class Help(ModalScreen[None]):
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > Static {
        width: auto; height: auto; padding: 1 2; background: $panel; border: round $primary;
    }
    """
    BINDINGS = [Binding("escape,f1,enter,q", "dismiss", "Close")]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        yield Static(HELP, markup=False)
