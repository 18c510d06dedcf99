"""The table of stream errors: complete, what the code sends, and each provoked by a test."""

import ast
from pathlib import Path

import pytest

from whimbrel.edge.xmpp.stream_errors import NOT_SENT, SENT
from whimbrel.protocol.xmpp.errors import STREAM_CONDITIONS

ROOT = Path(__file__).parents[2]
SAYS = {"StreamError", "session_over", "end"}  # calls whose argument is such a condition


def sent_by_the_code() -> set[str]:
    found = set()
    for folder in ("edge/xmpp", "protocol/xmpp"):
        for file in (ROOT / "src/whimbrel" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in SAYS and node.args:
                    found |= {
                        each.value
                        for each in ast.walk(node.args[0])
                        if isinstance(each, ast.Constant) and each.value in STREAM_CONDITIONS
                    }
    return found


def test_every_error_is_sent_or_named_with_the_reason_why_not() -> None:
    assert set(SENT) | set(NOT_SENT) == STREAM_CONDITIONS
    assert not set(SENT) & set(NOT_SENT)
    assert sent_by_the_code() == set(SENT)


@pytest.mark.parametrize("name", SENT)
def test_each_is_provoked_by_the_test_that_is_named(name: str) -> None:
    """Its name stands in the test or in the cases that the test is given."""
    sent = SENT[name]
    tree = ast.parse((ROOT / "tests/xmpp" / sent.file).read_text())
    cases = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    (test,) = [
        node
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == sent.test
    ]
    used = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    looked_at: list[ast.AST] = [test, *(cases[each] for each in used if each in cases)]
    texts = {
        node.value
        for each in looked_at
        for node in ast.walk(each)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert texts & {name, f"}}{name}"}
