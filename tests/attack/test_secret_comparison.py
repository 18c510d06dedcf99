"""Keys, PINs and tokens are compared by constant-time functions only: read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import whimbrel

SOURCE = Path(whimbrel.__file__).parent
SECRET = {"key", "key_hash", "pin", "pin_hash", "token", "admin_token", "secret", "hashed"}
# Not secret: "" and b"" (is there one at all?), and digests that are no passwords.
LENGTH_ONLY = ("", b"")


def names(node: ast.expr) -> set[str]:
    """What a side of a comparison is called."""
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    if isinstance(node, ast.Call):  # key_hash(x) == ..., x.encode() == ...
        inner = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        return names(inner) | (names(node.func) if isinstance(node.func, ast.Name) else set())
    return set()


def careless(tree: ast.AST) -> Iterator[int]:
    """Lines on which a secret is compared byte by byte."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) and side.value in LENGTH_ONLY for side in sides):
            continue
        equality = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
        if equality and any(names(side) & SECRET for side in sides):
            yield node.lineno


def test_no_secret_of_the_server_is_compared_byte_by_byte() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {path.read_text().splitlines()[line - 1].strip()}"
        for folder in ("domain", "logic", "edge", "node", "services")
        for path in sorted((SOURCE / folder).rglob("*.py"))
        for line in careless(ast.parse(path.read_text()))
    ]
    assert [each for each in found if not any(known in each for known in NO_SECRETS)] == []


# The word "key" also means the number of an actor, a name in a table, or a column.
NO_SECRETS = (
    "key == ACTOR_DESK",
    "key not in types",
    "key in old and key in new",
    "key in cells",
    "self._mailbox[0] == found.key",
    "hot.key == found.key",
)


def test_a_careless_comparison_would_be_seen() -> None:
    code = """
device.key_hash == m.key_hash
hashed != row.pin_hash
token in tokens
key_hash(given) == expected
row.pin_hash != b""
number == other
"""
    assert list(careless(ast.parse(code))) == [2, 3, 4, 5]


def test_the_places_that_judge_secrets_use_compare_digest() -> None:
    for name in ("logic/desk.py", "logic/devices.py", "edge/http/keys.py"):
        assert "compare_digest(" in (SOURCE / name).read_text()
