"""docs/protocol.md is what the code would write now, and speaks of everything there is."""

import inspect
import typing
from pathlib import Path

import pytest

from whimbrel.domain import errors
from whimbrel.protocol import document, examples, wire
from whimbrel.protocol.codes import CODES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "protocol.md").read_text() == document.document()


def test_the_schema_is_up_to_date() -> None:
    assert (DOCS / "protocol.schema.json").read_text() == document.schema()


@pytest.mark.parametrize(
    ("union", "those"),
    [(wire.FromDevice, examples.FROM_DEVICE), (wire.ToDevice, examples.TO_DEVICE)],
)
def test_every_message_has_an_example(union: object, those: tuple[wire.Wire, ...]) -> None:
    assert {type(example) for example in those} == set(typing.get_args(union))


def test_every_code_is_explained() -> None:
    words = {
        value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str)
    }
    classes = {
        kind.code
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.Refused)
    }
    assert (words | classes) - CODES.keys() == set()


def test_what_the_table_says_of_fatal_codes_is_what_the_errors_say() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.Refused)
    ]
    assert [kind.code for kind in kinds if CODES[kind.code].fatal != kind.fatal] == []


def test_a_typical_message_has_at_most_60_bytes_of_overhead() -> None:
    sizes = examples.typical_sizes()
    assert sizes["submit_overhead"] <= 60
    assert sizes["message_overhead"] <= 60
