"""What is refused is named, never quoted: no error's text holds a value of the input.

Marked values are put into every place of every message, in every shape that is wrong there.
"""

import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.security.records import MARK, classes, fields
from whimbrel.client import errors as client_errors
from whimbrel.client.words import read_content
from whimbrel.domain.errors import Refused
from whimbrel.domain.ids import parse_address
from whimbrel.edge.http.dispatch import decode
from whimbrel.edge.http.numbers import parse_number
from whimbrel.edge.http.problems import response_for
from whimbrel.edge.http.routes import ROUTES
from whimbrel.node.config import ConfigError, load_config
from whimbrel.protocol import wire
from whimbrel.protocol.body import body_from_json, check_body
from whimbrel.protocol.native import JsonCodec, MsgpackCodec
from whimbrel.services.sms.choose import SmsConfigError
from whimbrel.services.sms.choose import make_sender as choose_sender

LIMIT = 2_000
ROUNDS = 1_000
WIRES = [each for each in classes() if issubclass(each, wire.Wire)]
pack, to_json = msgspec.msgpack.encode, msgspec.json.encode


def quotes(error: BaseException) -> bool:
    """Does anything that a log or a terminal could show of it hold the mark?"""
    chain = "".join(traceback.format_exception(error))
    return any(MARK in text for text in (str(error), repr(error), chain))


def strange(chance: random.Random, depth: int = 3) -> Any:
    """A value of any shape, with the mark somewhere in it."""
    kinds = ["text", "bytes", "list", "map", "long", "number", "key"]
    kind = chance.choice(kinds if depth else kinds[:2])
    if kind == "text":
        return MARK * chance.choice((1, 3, 40))
    if kind == "bytes":
        return (MARK * chance.choice((1, 40))).encode()
    if kind == "long":
        return MARK * 400
    if kind == "list":
        return [strange(chance, depth - 1) for _ in range(chance.randint(1, 3))]
    if kind == "map":
        return {"text": strange(chance, depth - 1), "sealed": strange(chance, depth - 1)}
    if kind == "key":
        return {MARK: strange(chance, depth - 1), f"{MARK}2": 2**63}
    return chance.choice((2**60, -1, float("inf"), None, True))


def refusals(rounds: int, play: Callable[[random.Random], object]) -> Iterator[BaseException]:
    for seed in range(rounds):
        try:
            play(random.Random(seed))
        except Exception as error:
            yield error


def check(rounds: int, play: Callable[[random.Random], object]) -> None:
    """Many are refused, all by name, none quotes."""
    found = list(refusals(rounds, play))
    assert len(found) > rounds // 4, "most of these should have been refused"
    assert [error for error in found if not isinstance(error, Refused)] == []
    assert [error for error in found if quotes(error)] == []


def message(chance: random.Random) -> list[Any]:
    """A wire message with one or more fields of the wrong shape."""
    kind = chance.choice(WIRES)
    values: list[Any] = [chance.randint(0, 50) for _ in fields(kind)]
    for index in range(len(values)):
        if chance.random() < 0.7:
            values[index] = strange(chance)
    tag = chance.choice((getattr(kind, "__struct_config__").tag, MARK, 77, None))  # noqa: B009
    return [tag, *values]


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_frames_with_wrong_shapes_are_not_quoted(client: bool) -> None:
    packed, text = MsgpackCodec(client), JsonCodec(client)
    check(ROUNDS, lambda chance: packed.decode(pack(message(chance))))
    check(ROUNDS, lambda chance: text.decode(to_json(message(chance), enc_hook=str)))


def test_broken_frames_are_not_quoted() -> None:
    def broken(chance: random.Random) -> bytes:
        data = bytearray(pack([2, 1, "bob", {"text": MARK * 3, MARK: [MARK]}]))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data[: chance.randint(len(data) // 2, len(data))])

    check(ROUNDS, lambda chance: MsgpackCodec().decode(broken(chance)))
    check(ROUNDS, lambda chance: JsonCodec().decode(broken(chance)))


def test_bodies_that_are_refused_are_not_quoted() -> None:
    check(ROUNDS, lambda chance: check_body(pack(strange(chance)), LIMIT))
    check(ROUNDS, lambda chance: body_from_json(to_json(strange(chance)), LIMIT))
    for seed in range(100):  # a client that cannot read a body says nothing of it
        assert "\n" not in repr(read_content(pack(strange(random.Random(seed)))))


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.takes], ids=lambda each: f"{each.path}"
)
def test_requests_that_are_refused_are_not_quoted(route: Any) -> None:
    decoder = msgspec.json.Decoder(route.takes)

    def play(chance: random.Random) -> object:
        names = (*fields(route.takes), "more")
        data = to_json({name: strange(chance) for name in names if chance.random() < 0.9})
        if chance.random() < 0.3:
            data = data[: chance.randrange(len(data))]
        return decode(data, decoder, 32)

    check(500, play)
    for error in refusals(500, play):
        assert MARK.encode() not in bytes(response_for(error).body or b"")  # type: ignore[arg-type]


def test_addresses_and_numbers_that_are_refused_are_not_quoted() -> None:
    for text in (f"{MARK} {MARK}", f"+{MARK}", MARK * 40, f"{MARK}\udcff", f"+49{MARK}", "+49 1"):
        for parse in (parse_address, parse_number):
            with pytest.raises(Refused) as caught:
                parse(text)
            assert not quotes(caught.value)


@pytest.mark.parametrize(
    ("sender", "options"),
    [
        ("twilio", {"account_sid": "AC1", "auth_token": [MARK], "from": "+15550001111"}),
        ("twilio", {"account_sid": f"{MARK}-", "auth_token": MARK, "from": "+15550001111"}),
        ("twilio", {"account_sid": "AC1", "auth_token": MARK, "from": MARK}),
        ("webhook", {"url": MARK, "headers": {"Authorization": MARK}}),
        ("webhook", {"url": "https://x.example", "headers": {"Authorization": [MARK]}}),
        ("webhook", {"url": "https://x.example", "body": f"{MARK}", "text": MARK}),
        ("webhook", {"url": "https://x.example", "headers": MARK, "method": MARK}),
        ("file", {"path": ""}),
    ],
)
def test_a_mistake_in_the_configuration_names_its_key_and_not_the_token(
    sender: str, options: dict[str, Any]
) -> None:
    class Chosen:
        pass

    chosen: Any = Chosen()
    chosen.sender, chosen.options = sender, options
    with pytest.raises(SmsConfigError, match=r"^sms\.options") as caught:
        choose_sender(chosen)
    assert not quotes(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f'[sms]\noptions = "{MARK}"',
        f"[sms.options]\nauth_token = {MARK}",
        f'[sms.options]\nauth_token = "{MARK}',
        f'[sms.options]\nauth_token = "{MARK}"\n[limits]\nframe_bytes_max = "{MARK}"',
        f'[tls]\nkey = ["{MARK}"]',
        f'[log]\nlevel = "{MARK}"',
    ],
)
def test_a_broken_configuration_file_is_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert not quotes(caught.value)


def test_errors_of_the_source_keep_no_argument_but_their_text() -> None:
    """A new kind of error that keeps what it was about would be seen here."""
    for kind in classes():
        if issubclass(kind, Refused | client_errors.ClientError):
            own = set(vars(kind)) - {"__module__", "__doc__", "code", "fatal", "__init__"}
            assert {name for name in own if not name.startswith("__")} == set(), kind


def convert(with_cause: bool) -> None:
    try:
        int(MARK)
    except ValueError as cause:
        raise Refused("no number") from (cause if with_cause else None)


def test_a_quotation_would_be_seen() -> None:
    with pytest.raises(Refused) as bare:
        convert(with_cause=False)
    assert not quotes(bare.value)
    with pytest.raises(Refused) as caused:
        convert(with_cause=True)
    assert quotes(caused.value), "a traceback shows the cause"
    assert quotes(Refused(f"not {MARK}"))
