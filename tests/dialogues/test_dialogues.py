"""Every dialogue of the folder, on every transport; and the player itself notices what is wrong."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.dialogues.play import Mismatch, differs, play
from tests.xmpp.house import House
from tests.xmpp.talk import TRANSPORTS

FILES = sorted((Path(__file__).parent / "xmpp").glob("*.txt"))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_dialogue(home: House, path: Path, transport: str) -> None:
    await play(home, path, transport)


@pytest.mark.parametrize(
    "line",
    [
        "bob/b < <message><body>other</body></message>",
        "bob/b < <message from='carl@localhost/c'/>",
        "bob/b < <message><x xmlns='urn:x'/></message>",
        "bob/b listens",
    ],
)
async def test_what_is_otherwise_is_noticed(home: House, tmp_path: Path, line: str) -> None:
    path = tmp_path / "one.txt"
    start = "alice/a arrives\nbob/b arrives\n"
    say = "alice/a > <message to='bob@localhost' type='chat'>\n  <body>x</body></message>\n"
    path.write_text(f"{start}{say}{line}\n")
    with pytest.raises(Mismatch):
        await play(home, path, "tls")


async def test_what_comes_unexpectedly_is_noticed(home: House, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    say = "alice/a > <message to='bob@localhost' type='chat'><body>x</body></message>\n"
    path.write_text(
        f"alice/a arrives\nbob/b arrives\n{say * 3}"
        "bob/b < <message/>\nbob/b < <message/>\nbob/b hears no more\n"
    )
    with pytest.raises(Mismatch, match="hears more"):
        await play(home, path, "tls")


def test_more_than_expected_is_no_difference() -> None:
    got = ElementTree.fromstring("<a x='1' y='2'><b/><c>t</c></a>")
    for wanted in ("<a/>", "<a x='*'/>", "<a><c>t</c></a>", "<a y='2'><b/></a>"):
        assert differs(ElementTree.fromstring(wanted), got) == ""
    for wanted in ("<b/>", "<a z='*'/>", "<a x='2'/>", "<a><c>u</c></a>", "<a><d/></a>"):
        assert differs(ElementTree.fromstring(wanted), got)
