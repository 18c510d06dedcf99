"""docs/security.md is true: its tests exist, its keys exist and have the values it says."""

import re
from pathlib import Path

import pytest

from whimbrel.node.config import Config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/security.md").read_text()
TESTS = sorted(set(re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", TEXT)))
KEYS = sorted(set(re.findall(r"`((?:limits|signup|listen|tls|sms)\.\w+)", TEXT)))
SAID = r"`((?:limits|signup)\.\w+)`,?\s\(?([\d,]*\d)(?: (MiB|days|minutes|s)\b)?"
VALUES = sorted(set(re.findall(SAID, TEXT)))
UNITS = {"": 1, "MiB": 1_048_576, "days": 86_400, "minutes": 60, "s": 1}


def value(key: str) -> object:
    table, _, name = key.partition(".")
    return getattr(getattr(Config(), table), name)


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[name for _, name in TESTS])
def test_every_claim_points_at_a_test_that_exists(file: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_there_are_many_and_no_claim_ends_in_a_broken_name() -> None:
    assert len(TESTS) > 30
    assert len(re.findall(r"`tests/", TEXT)) == len(re.findall(r"`tests/[\w/.]+\.py::\w+`", TEXT))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_exists(key: str) -> None:
    value(key)


@pytest.mark.parametrize(("key", "number", "unit"), VALUES)
def test_every_number_is_the_default(key: str, number: str, unit: str) -> None:
    assert value(key) == int(number.replace(",", "")) * UNITS[unit]


def test_the_numbers_are_found() -> None:
    assert len(VALUES) > 25
    assert {unit for _, _, unit in VALUES} == set(UNITS)
