"""The list of conversations: name, time, last message with its mark, unread count."""

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from whimbrel.cli.chat.look import mark, now_local, short_time
from whimbrel.cli.printable import printable
from whimbrel.client import Conversation
from whimbrel.client.words import read_content

WIDTH = 26  # of the list, with its border


class Sidebar(OptionList):
    """Shows the conversations it is given; says which one was chosen."""

    DEFAULT_CSS = f"""
    Sidebar {{
        width: {WIDTH}; height: 1fr; border: none; border-right: vkey $surface-lighten-2;
        background: $surface; padding: 0; scrollbar-size-vertical: 1;
    }}
    Sidebar:focus {{ border: none; border-right: vkey $primary; }}
    """

    class Chosen(Message):
        def __init__(self, peer: str) -> None:
            super().__init__()
            self.peer = peer

    def show(self, conversations: list[Conversation], open_peer: str, typing: set[str]) -> None:
        """Draw the list anew; the open conversation stays marked."""
        now = now_local()
        self.clear_options()
        for one in conversations:
            self.add_option(Option(_entry(one, one.peer in typing, now), id=one.peer))
        peers = [one.peer for one in conversations]
        if open_peer in peers:
            with self.prevent(OptionList.OptionHighlighted):
                self.highlighted = peers.index(open_peer)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id:
            self.post_message(self.Chosen(event.option.id))


def _entry(one: Conversation, typing: bool, now: object) -> Content:
    room = WIDTH - 4
    at = short_time(one.last.at_us, now) if one.last.at_us else ""  # type: ignore[arg-type]
    badge = f" {one.unread} " if one.unread else ""
    name = _cut(one.peer, room - len(at) - 1)
    first = Content.assemble(
        Content.styled(name, "bold" if one.unread else ""),
        " " * (room - len(name) - len(at)),
        Content.styled(at, "$faint"),
    )
    text = " ".join(printable(read_content(one.last.body).text).split())
    if typing:
        said = Content.styled("typing…", "italic $success")
    elif one.last.mine:
        shown = mark(one.last.state) if one.last.state != 4 else Content.styled("✗", "$text-error")
        said = Content.assemble(shown, " ", Content.styled(_cut(text, room - 4), "$faint"))
    else:
        said = Content.styled(_cut(text, room - len(badge) - 1), "$faint")
    space = " " * max(0, room - said.cell_length - len(badge))
    return Content.assemble(
        first, "\n", said, space, Content.styled(badge, "bold $text on $primary")
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
