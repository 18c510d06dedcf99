"""Packs: whole, cut and in parts; and between two versions of the program."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest

from tests.cluster.shapes import FILE, shapes
from whimbrel.cluster import packs
from whimbrel.cluster.packs import Packer, Unpacker
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m

DELIVER = m.Deliver(5, "alice", 9, 8, 7, 99, 1, 2, b"hello")


def opened(*data: bytes, unpacker: Unpacker | None = None) -> list[packs.Entry]:
    unpacker = unpacker or Unpacker()
    return [entry for pack in data for entry in unpacker.entries(unpacker.open(pack))]


def packed(*entries: bytes, bytes_max: int = 1_000_000) -> list[bytes]:
    packer = Packer(3, 17, 1)
    full = [pack for entry in entries for pack in packer.add(entry, bytes_max)]
    return [*full, packer.take()] if packer else full


def test_what_is_told_and_pushed_comes_out_in_order() -> None:
    one = packs.entry_of(packs.TELL, 42, DELIVER)
    two = packs.entry_of(packs.PUSH, 77, a.Stored(1, 2))
    three = packs.entry_of(packs.REPLY, 78, None)
    (pack,) = packed(one, two, three)
    head = Unpacker().open(pack)
    assert (head.version, head.node, head.incarnation, head.era) == (packs.VERSION, 3, 17, 1)
    told, pushed, replied = opened(pack)
    assert (told.kind, told.target, told.hops) == (packs.TELL, 42, 0)
    assert packs.message_of(told) == DELIVER
    assert (pushed.kind, pushed.target) == (packs.PUSH, 77)
    assert packs.answer_of(pushed) == a.Stored(1, 2)
    assert packs.answer_of(replied) is None


def test_an_entry_that_is_passed_on_says_so() -> None:
    (entry,) = opened(*packed(packs.entry_of(packs.TELL, 42, DELIVER)))
    (again,) = opened(*packed(packs.passed_on(entry)))
    assert again.hops == 1
    assert packs.message_of(again) == DELIVER


@pytest.mark.parametrize("bytes_max", [200, 300, 1_000, 65_536])
def test_no_pack_is_larger_than_the_bus_takes_and_nothing_is_lost(bytes_max: int) -> None:
    sizes = [0, 1, 50, 140, 199, 1_000, 30_000, 3, 128_000, 7]
    sent = [a.Item(0, n, 1, "a", 1, 1, 1, 0, "", b"x" * n) for n in sizes]
    entries = [packs.entry_of(packs.PUSH, n, item) for n, item in enumerate(sent)]
    cut = packed(*entries, bytes_max=bytes_max)
    assert max(map(len, cut)) <= bytes_max
    assert [packs.answer_of(entry) for entry in opened(*cut)] == sent


def test_small_entries_share_a_pack() -> None:
    entries = [packs.entry_of(packs.PUSH, n, a.Stored(n, n)) for n in range(1_000)]
    assert len(packed(*entries)) == 1


def test_parts_that_came_twice_or_late_are_put_together_once() -> None:
    big = packs.entry_of(packs.TELL, 1, m.Submit(1, 2, 3, "bob", 4, 5, b"y" * 5_000))
    cut = packed(big, bytes_max=600)
    assert len(cut) > 5
    shuffled = [*reversed(cut[1:]), *cut[1:], cut[0]]
    unpacker = Unpacker()
    (entry,) = opened(*shuffled, unpacker=unpacker)
    message = packs.message_of(entry)
    assert isinstance(message, m.Submit)
    assert message.body == b"y" * 5_000


def test_pieces_of_what_never_becomes_whole_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PARTS_BYTES_MAX", 10_000)
    unpacker = Unpacker()
    for number in range(100):
        packer = Packer(3, number, 1)
        entry = packs.entry_of(packs.TELL, 1, m.Submit(1, 2, 3, "bob", 4, 5, b"y" * 2_000))
        opened(*packer.add(entry, 600)[:3], unpacker=unpacker)
    assert unpacker.given_up >= 90
    assert unpacker._bytes <= 10_000
    assert sum(len(p) for ps in unpacker._parts.values() for p in ps if p) == unpacker._bytes


@pytest.mark.parametrize("data", [b"", b"\xc1", b"hello", b"\x95\x01\x02", b"\x80"])
def test_strange_bytes_are_no_pack(data: bytes) -> None:
    with pytest.raises(packs.NotAPack):
        Unpacker().open(data)


# ---- two versions of the program --------------------------------------------------------


def test_a_newer_node_may_send_more_fields_than_we_know() -> None:
    newer = msgspec.defstruct(
        "Stored", [("c", int), ("id", int), ("speed", int, 0)], array_like=True, frozen=True
    )
    (entry,) = opened(*packed(packs.entry_of(packs.PUSH, 1, newer(1, 2, 3))))
    assert packs.answer_of(entry) == a.Stored(1, 2)


def test_an_older_node_may_send_fewer_fields_than_we_know() -> None:
    older = msgspec.defstruct("SubmitRefused", [("c", int), ("code", str)], array_like=True)
    (entry,) = opened(*packed(packs.entry_of(packs.PUSH, 1, older(7, "busy"))))
    assert packs.answer_of(entry) == a.SubmitRefused(7, "busy", 0, 0)


def test_what_only_a_newer_node_knows_is_left_out_and_the_rest_is_read() -> None:
    stranger = msgspec.defstruct("Telepathy", [("thought", str)], array_like=True)
    bent = msgspec.defstruct("Stored", [("c", str)], array_like=True)
    entries = [
        packs.entry_of(packs.TELL, 1, stranger("hm")),
        packs.entry_of(99, 1, a.Stored(1, 2)),
        packs.entry_of(packs.PUSH, 1, bent("no number")),
        msgspec.msgpack.encode("no entry at all"),
        packs.entry_of(packs.PUSH, 1, a.Stored(3, 4)),
    ]
    told, unknown, broken, nothing, pushed = opened(*packed(*entries))
    assert packs.message_of(told) is None
    assert unknown.kind == 99
    assert packs.answer_of(broken) is None
    assert nothing.kind == 0
    assert packs.answer_of(pushed) == a.Stored(3, 4)


def test_a_head_may_grow_as_well() -> None:
    data = msgspec.msgpack.encode(
        [2, 3, 17, 1, [msgspec.Raw(packs.entry_of(packs.PUSH, 1, a.Stored(3, 4)))], "more"]
    )
    (entry,) = opened(data)
    assert packs.answer_of(entry) == a.Stored(3, 4)


def test_what_stays_on_its_node_cannot_be_sent() -> None:
    assert m.Alarm.__name__ not in packs.MESSAGES
    assert {"Submit", "Deliver", "PeerRelay", "VerifyPin", "Bind"} <= packs.MESSAGES.keys()
    assert {"Item", "Welcome", "Registered", "Bound", "ArchiveGot"} <= packs.ANSWERS.keys()


def test_types_only_gain_optional_fields_at_their_end() -> None:
    """tests/cluster/shapes.json is what nodes in the field may speak. A field that was moved,
    removed or made without a default would make two versions misunderstand each other.
    """
    known = json.loads(Path(FILE).read_text())
    now = shapes()
    for name, fields in known.items():
        assert name in now, f"{name} is still spoken by older nodes"
        then = [field for field, _ in fields]
        assert [field for field, _ in now[name]][: len(then)] == then, f"{name}: fields moved"
        more = now[name][len(then) :]
        assert all(optional for _, optional in more), f"{name}: {more} need a default"
        for (field, was_optional), (_, optional) in zip(fields, now[name], strict=False):
            assert optional or not was_optional, f"{name}.{field} was optional"
    assert now == known, "something is new: python -m tests.cluster.shapes writes it down"


SPOKEN = [*packs.MESSAGES.items(), *packs.ANSWERS.items()]


@pytest.mark.parametrize(("name", "kind"), SPOKEN, ids=[name for name, _ in SPOKEN])
def test_every_type_arrives_as_it_left(name: str, kind: type) -> None:
    chance = Random(name)
    read = packs.message_of if name in packs.MESSAGES else packs.answer_of
    for _ in range(5):
        value = any_of(kind, chance)
        (entry,) = opened(*packed(packs.entry_of(packs.TELL, 1, value)))
        assert read(entry) == value


def any_of(kind: Any, chance: Random) -> Any:
    """Some value of this type; numbers are of 64 bits, as all of ours are."""
    simple: dict[Any, Callable[[], Any]] = {
        int: lambda: chance.choice((0, 1, -1, 2**63 - 1, -(2**63), chance.getrandbits(62))),
        str: lambda: chance.choice(("", "alice", "ü\n", "x" * 300)),
        bytes: lambda: chance.randbytes(chance.choice((0, 1, 300))),
        bool: lambda: chance.random() < 0.5,
        NoneType: lambda: None,
    }
    if kind in simple:
        return simple[kind]()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(*(any_of(field.type, chance) for field in msgspec.structs.fields(kind)))
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        if parts[-1] is ...:
            return tuple(any_of(parts[0], chance) for _ in range(chance.randrange(4)))
        return tuple(any_of(part, chance) for part in parts)
    assert get_origin(kind) in (Union, UnionType), kind
    return any_of(chance.choice(parts), chance)
