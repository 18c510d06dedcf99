"""repr and str of every type of the source: no body, no key, no PIN. Core dumps of the mind.

A new type is covered as soon as it stands in a module: records.py finds it by its fields.
"""

import msgspec
import pytest

from tests.security.records import MARK, classes, holds_secret, is_record, marked
from whimbrel.cli.home import Account
from whimbrel.client.words import Copied
from whimbrel.domain import effects, messages, rows
from whimbrel.domain.discreet import discreet
from whimbrel.edge.http import inside, shapes
from whimbrel.node import config, offline
from whimbrel.protocol import wire

ALL = classes()
HOLDERS = [kind for kind in ALL if is_record(kind) and holds_secret(kind)]
SHOWS_CONTENT = (str, bytes, bytearray, list, dict, set, frozenset, tuple)


def shown(value: object) -> str:
    return f"{value!r} {value!s} {value} {[value]} { ({'x': value}) }"


@pytest.mark.parametrize("kind", HOLDERS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_value_shows_the_body_the_key_or_the_pin_that_it_holds(kind: type) -> None:
    text = shown(marked(kind))
    assert kind.__name__ in text
    assert MARK not in text


def test_what_holds_secrets_is_found() -> None:
    expected = {
        wire.Hello, wire.Submit, wire.Message, wire.Copy, wire.Linked, wire.Content,
        messages.Hello, messages.Submit, messages.Deliver, messages.InboxRead,
        messages.RequestPin, messages.VerifyPin, messages.Register,
        rows.DeviceRow, rows.SentRow, rows.InboxRow, rows.SignupRow,
        effects.SendPin,
        shapes.Verification, shapes.SignedUp, shapes.NewKey, inside.Inside,
        config.Config, config.Sms, offline.NewKey, Account, Copied,
    }  # fmt: skip
    assert expected - set(HOLDERS) == set()
    assert len(HOLDERS) > 40


def test_whoever_carries_a_message_shows_it_as_discreetly() -> None:
    """Effects name only the base of what they carry."""
    for kind in HOLDERS:
        if issubclass(kind, messages.ToActor):
            assert MARK not in shown(effects.Tell(1, marked(kind)))


def test_other_classes_leave_their_repr_to_python() -> None:
    """A plain class shows its name and place; one that tells more has to be a record here."""
    others = [kind for kind in ALL if not is_record(kind)]
    assert [kind for kind in others if {"__repr__", "__str__"} & set(vars(kind))] == []
    assert [kind for kind in others if issubclass(kind, SHOWS_CONTENT)] == []


def test_a_careless_type_would_be_found_and_seen() -> None:
    class Careless(msgspec.Struct):
        body: bytes

    class Deep(msgspec.Struct):
        found: list[tuple[int, Careless | None]]
        name: str

    class Telling(msgspec.Struct):
        new_key: str

    for kind in (Careless, Deep, Telling):
        globals()[kind.__name__] = kind  # where their annotations are looked up
        assert holds_secret(kind)
        assert MARK in shown(marked(kind))


def test_what_is_left_to_read_is_enough_to_find_a_mistake() -> None:
    submit = messages.Submit(1, 2, 3, "bob", 4, 5, b"secret")
    assert repr(submit) == (
        "Submit(device=1, session=2, c=3, to='bob', peer=4, hash=5, body=<6 bytes>, refused='',"
        " ref='')"
    )
    assert repr(submit) == discreet(submit)


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL if is_record(kind)], ids=lambda k: k.__name__
)
def test_every_record_has_a_repr_also_one_without_fields(kind: type) -> None:
    assert kind.__name__ in repr(marked(kind))
