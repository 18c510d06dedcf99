"""What reloaded code may not do, by name and line; and that our own code does none of it."""

import ast
from pathlib import Path

import pytest

from whimbrel.node.upgrade.allowed import refusals

SRC = Path(__file__).parents[2] / "src"
RULES, FEATURES = "whimbrel.logic.submit", "whimbrel.edge.xmpp.features.disco"


def said(module: str, text: str) -> str:
    return "; ".join(refusals(module, ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import time",
        "from random import Random",
        "import asyncio",
        "import os.path",
        "import apsw",
        "from whimbrel.node.config import Config",
        "from whimbrel.edge.session import Session",
        "from whimbrel.storage.sqlite import SqliteStore",
        "from .pairs import pair_of",
        "from whimbrel.logic.pairs import *",
        "import whimbrel.logic.pairs",
        "def f():\n    from whimbrel.logic.pairs import pair_of",
        "class Muted: ...",
        "open('/etc/passwd')",
        "__import__('time')",
        "eval('1')",
    ],
)
def test_rules_are_refused(text: str) -> None:
    assert RULES in said(RULES, text)
    assert "line" in said(RULES, text)


@pytest.mark.parametrize(
    "text",
    [
        "from hmac import compare_digest",
        "import msgspec",
        "from whimbrel.domain.user import User",
        "from whimbrel.logic.pairs import pair_of",
        "from whimbrel.logic import pairs",
        "sorted([1])",
    ],
)
def test_rules_are_let_through(text: str) -> None:
    assert said(RULES, text) == ""


def test_features_may_do_what_the_edge_may() -> None:
    for text in ("import secrets", "import asyncio", "class Command: ...", "import base64"):
        assert said(FEATURES, text) == ""
    for text in (
        "from whimbrel.logic.user import want",
        "import subprocess",
        "from whimbrel.storage.memory import MemoryStore",
        "exec('1')",
    ):
        assert said(FEATURES, text)


def test_our_own_rules_and_features_may_be_loaded() -> None:
    seen = 0
    for folder in ("whimbrel/logic", "whimbrel/edge/xmpp/features"):
        for path in (SRC / folder).glob("*.py"):
            module = ".".join(path.relative_to(SRC).with_suffix("").parts)
            assert said(module.removesuffix(".__init__"), path.read_text()) == ""
            seen += 1
    assert seen > 30
