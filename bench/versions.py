"""Versions to upgrade to: copies of this tree with a small edit each, good ones and bad ones.

Used by the tests of live upgrades and by bench/upgrades.py. An edit names a text that must
stand in its file exactly once, so that a plant never drifts away from what it was made for.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TABLE = "STATE_VERSION = 1  # of the shape of the state: what its fields hold and mean\n"
NO_WAY = '    raise ValueError(f"no way from version {came} of the state to version {goes}")\n'
ACCEPTS = "    now = turn.now_us\n    id = next_id(now, user.last_id)\n"
USER, SUBMIT = "logic/user.py", "logic/submit.py"


class Edit(NamedTuple):
    file: str  # below src/whimbrel
    old: str  # "": at the end of the file
    new: str


class OutOfDate(Exception):
    """The code has changed: the plant has to be made anew."""


def _accepting(condition: str, deed: str) -> tuple[Edit, ...]:
    """Something happens when a message is accepted. "+49": only people of bench/accounts.py, so
    that no check before the canary meets it.
    """
    return (Edit(SUBMIT, ACCEPTS, f"    if {condition}:\n        {deed}\n{ACCEPTS}"),)


RAISES = "raise KeyError('planted')"
BUSY = "sum(range(5_000))"  # some 20 times what a submit takes
REAL = 'user.address.startswith("+49")'

GOOD: tuple[Edit, ...] = (
    # People see it: who types is said the other way round, and the server has another name.
    Edit(
        "logic/presence.py",
        "TypingShown(m.address, m.on)",
        "TypingShown(m.address, not m.on)",
    ),
    Edit(
        "edge/xmpp/features/disco.py",
        'Element(ns, "name", {}, "Whimbrel")',
        'Element(ns, "name", {}, "Whimbrel, renewed")',
    ),
)
COUNTS: tuple[Edit, ...] = (
    # A new shape of the state, with a way there and back: how many messages were sent.
    Edit(USER, TABLE, "STATE_VERSION = 2\n"),
    Edit(
        USER,
        NO_WAY,
        "    user.more = {'sent': 0} if goes == 2 else None\n    return user\n",
    ),
    Edit(
        USER,
        "    account = rows.account\n",
        "    user.more = {'sent': 0}\n    account = rows.account\n",
    ),
    *_accepting("user.more is not None", "user.more['sent'] += 1"),
)
BAD: dict[str, tuple[Edit, ...]] = {
    "syntax error": (Edit(SUBMIT, "", "\ndef on_submit(:\n"),),
    "imports time": (Edit(SUBMIT, "", "\nimport time\n"),),
    "reads a file": (
        Edit(USER, "", "\ndef peek() -> str:\n    return open('/etc/passwd').read()\n"),
    ),
    "a type among the rules": (Edit(SUBMIT, "", "\n\nclass Muted:\n    until_us = 0\n"),),
    "a name that is not there": (
        Edit(SUBMIT, "", "\nfrom whimbrel.domain.user import Muted  # noqa\n"),
    ),
    "an error while loading": (Edit(SUBMIT, "", "\nWINDOW = 1 // 0\n"),),
    "forgets a handler": (Edit(USER, "    PushRefused: on_push_refused,\n", ""),),
    "forgets an iq": (
        Edit("edge/xmpp/features/disco.py", '(names.PING, "ping", ACCOUNT): on_ping,', ""),
    ),
    "changes a domain type": (
        Edit(
            "domain/user.py",
            "        self.wrote = False\n",
            "        self.wrote = False\n        self.muted = False\n",
        ),
        Edit("domain/user.py", '        "kept_id",\n', '        "kept_id",\n        "muted",\n'),
    ),
    "breaks the shape of the state": (
        Edit(USER, "= account.contacts_used\n", "= float(account.contacts_used)\n"),
    ),
    "a new version without migrate": (Edit(USER, TABLE, "STATE_VERSION = 2\n"),),
    "a migrate that raises": (
        Edit(USER, TABLE, "STATE_VERSION = 2\n"),
        Edit(USER, NO_WAY, "    raise KeyError(user.address)\n"),
    ),
    "a migrate that leaves half": (
        Edit(USER, TABLE, "STATE_VERSION = 2\n"),
        Edit(USER, NO_WAY, "    user.owing = sorted(user.owing)\n    return user\n"),
    ),
    "raises on one message in fifty": _accepting("m.c % 50 == 7", RAISES),
    "never marks as delivered": (
        Edit("logic/stream.py", "def on_confirm(user", "def on_confirm_(user"),
        Edit(
            "logic/stream.py",
            "",
            "\n\ndef on_confirm(user: User, m: Confirm, turn: Turn) -> list[Effect]:\n"
            "    return []\n",
        ),
    ),
}
# These pass every check, because only real traffic meets them: the canary has to notice.
SLY: dict[str, tuple[Edit, ...]] = {
    "raises on one message in fifty": _accepting(f"{REAL} and m.c % 50 == 7", RAISES),
    "20 times slower": _accepting(REAL, BUSY),
    "breaks the shape of the state": _accepting(REAL, "user.tail = float(user.tail)"),
    "an effect that is none": _accepting(f"{REAL} and m.c % 50 == 7", "effects.append('done')"),
}


def tree(into: Path, edits: Sequence[Edit] = ()) -> Path:
    """A checkout with these edits; into must not exist."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "web", "_sim")
    shutil.copytree(ROOT / "src", into / "src", ignore=ignored)
    if (ROOT / "sim").is_dir():
        shutil.copytree(ROOT / "sim", into / "sim", ignore=ignored)
    edit(into, edits)
    return into


def edit(place: Path, edits: Sequence[Edit]) -> None:
    """In a checkout. Raises OutOfDate."""
    for each in edits:
        path = place / "src" / "whimbrel" / each.file
        text = path.read_text()
        if not each.old:
            path.write_text(text + each.new)
            continue
        if text.count(each.old) != 1:
            raise OutOfDate(f"{each.file}: {each.old!r} x {text.count(each.old)}")
        path.write_text(text.replace(each.old, each.new))
