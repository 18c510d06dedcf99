"""What a change of shared code means for rules that are loaded over the running one."""

import ast
import textwrap

import pytest

from whimbrel.node.upgrade.surface import compare, used_by

DOMAIN, EDGE = "whimbrel.domain.words", "whimbrel.edge.xmpp.session"
OLD = '''
    """Words."""
    LIMIT = 3
    class Pair:
        """Two."""
        __slots__ = ("a", "b")
        def __init__(self, a: int) -> None:
            self.a = a
            self.b: dict[int, str] = {}
        def sum(self, n: int) -> int:
            return self.a + n
    class Open(Struct, frozen=True):
        id: int
        body: bytes = b""
        def _inner(self) -> None: ...
    def next_id(now: int) -> int:
        return now + 1
    Any = Pair | Open
'''
RULES = (
    "from whimbrel.domain.words import Pair, next_id\nfrom whimbrel.edge.xmpp.session import *\n"
)


def compared(
    module: str, changes: dict[str, str], rules: str = RULES
) -> tuple[list[str], list[str]]:
    new = OLD
    for old, text in changes.items():
        assert new.count(old) == 1, old
        new = new.replace(old, text)
    before, after = ({module: ast.parse(textwrap.dedent(text))} for text in (OLD, new))
    grave, notes = compare(before, after, used_by([ast.parse(rules)]))
    return [str(each) for each in grave], notes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('("a", "b")', '("b", "a")', ""),
        ('"""Two."""', '"""Three."""', ""),
        ("return self.a + n", "return n + self.a", ""),
        ("self.a = a", "self.a = a\n            self.c = 0", "Pair: attribute c is new"),
        ("dict[int, str]", "dict[str, str]", "Pair: attribute b differs"),
        ("            self.b: dict[int, str] = {}\n", "", "Pair: attribute b is gone"),
        ("def sum(self, n: int)", "def sum(self, n: int, m: int = 0)", "method sum differs"),
        ('body: bytes = b""', 'body: bytes = b"x"', "Open: field body differs"),
        ("id: int", "id: int\n        to: int = 0", "Open: field to is new"),
        ("frozen=True", "frozen=False", "Open: bases differs"),
        ("Any = Pair | Open", "Any = Pair", "Any: value differs"),
        ("LIMIT = 3", "LIMIT = 4", "LIMIT: value differs"),
        ("def next_id(now: int)", "def next_id(now: float)", "next_id: parameters differs"),
    ],
)
def test_a_change_of_the_domain(old: str, new: str, said: str) -> None:
    grave, _ = compared(DOMAIN, {old: new})
    assert len(grave) == bool(said)
    assert said in "".join(grave)
    if grave:
        assert grave[0].startswith(f"{DOMAIN}.")


def test_another_body_is_noted_and_the_running_one_stays() -> None:
    grave, notes = compared(DOMAIN, {"return now + 1": "return now + 2"})
    assert not grave
    assert notes == [f"{DOMAIN}: next_id differs; the running code stays"]


def test_a_new_name_matters_only_to_who_imports_it() -> None:
    new = {"LIMIT = 3": "LIMIT = 3\n    class Muted: ..."}
    assert compared(DOMAIN, new) == ([], [])
    grave, _ = compared(DOMAIN, new, "from whimbrel.domain.words import Muted")
    assert grave == [f"{DOMAIN}.Muted: the running server has no such name"]


def test_of_other_parts_only_what_is_used_matters() -> None:
    """The edge's private life is its own; a method that features call is not."""
    more = {"def sum(self, n: int)": "def sum(self, n: int, m: int)"}
    assert compared(EDGE, more, "x.total()")[0] == []
    grave, notes = compared(EDGE, more, "from whimbrel.edge.xmpp.session import Pair\nx.total()")
    assert grave == []
    assert "Pair: method sum differs" in notes[0]
    grave, _ = compared(EDGE, more, "from whimbrel.edge.xmpp.session import Pair\nx.sum(1)")
    assert len(grave) == 1


def test_constants_of_an_imported_module_count_when_they_are_touched() -> None:
    more = {"LIMIT = 3": "LIMIT = 4"}
    assert compared(EDGE, more, "from whimbrel.edge.xmpp import session\nsession.OTHER")[0] == []
    grave, _ = compared(EDGE, more, "from whimbrel.edge.xmpp import session\nsession.LIMIT")
    assert grave == [f"{EDGE}.LIMIT: value differs (3 -> 4)"]
