"""Packs: what one node says to another in one go, as bytes.

A pack is the MessagePack array [version, node, incarnation, era, entries]; an entry is
[kind, target, name, hops, value], where the value is the array of a message's fields and `name`
its type's. Several versions of the program talk to each other while a cluster is upgraded: types
only gain optional fields at their end, and what a node does not know it counts and leaves out.

The types are those of domain/messages.py, domain/answers.py and domain/im.py; there is no other
table. What is lost, doubled or late is repaired by the actors and sessions themselves.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from types import ModuleType

import msgspec

from whimbrel.domain import answers, im, messages
from whimbrel.domain.answers import ToSession
from whimbrel.domain.discreet import discreet
from whimbrel.domain.messages import ToActor

VERSION = 1
TELL, PUSH, REPLY, OWNERS, PART, FORGOT = 1, 2, 3, 4, 5, 6
MODULES = (messages, answers, im)
# From the runtime to its own actors: they never leave their node.
STAY = (
    messages.Alarm,
    messages.ExpireInbox,
    messages.InboxRead,
    messages.TryAgain,
)
ENVELOPE_BYTES = 64  # room for everything of a pack but its entries
PARTS_BYTES_MAX = 67_108_864  # of messages that came in parts and are not whole yet
PARTS_MAX = 256  # such messages at a time
PARTS_EACH_MAX = 4_096


def _types(base: type, modules: Iterable[ModuleType]) -> dict[str, type]:
    found = {
        kind.__name__: kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    }
    return {name: kind for name, kind in sorted(found.items()) if kind not in STAY}


MESSAGES = _types(ToActor, MODULES)
ANSWERS = _types(ToSession, MODULES)


class Owners(msgspec.Struct, array_like=True, frozen=True):
    """Who owns these shards now: hints for maps, from whoever knows better."""

    owner: int
    shards: tuple[tuple[int, int], ...]  # (shard, epoch)


class Part(msgspec.Struct, array_like=True, frozen=True):
    """A piece of an entry that is too big for one pack. `number` is new for each entry."""

    number: int
    index: int
    count: int
    data: bytes
    __repr__ = discreet


class Entry(msgspec.Struct, array_like=True):
    kind: int
    target: int  # an account, a session or a reply
    name: str = ""  # of the value's type
    hops: int = 0  # how often it was passed on by a node that is not the owner
    value: msgspec.Raw = msgspec.Raw(b"\xc0")


class Head(msgspec.Struct, array_like=True):
    version: int
    node: int
    incarnation: int
    era: int
    entries: list[msgspec.Raw] = []


class NotAPack(Exception):
    """Bytes on our subject that no node has sent."""


_encode = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(Head).decode
_entry = msgspec.msgpack.Decoder(Entry).decode
_owners = msgspec.msgpack.Decoder(Owners).decode
_part = msgspec.msgpack.Decoder(Part).decode
_messages: dict[str, Callable[[msgspec.Raw], ToActor]] = {
    name: msgspec.msgpack.Decoder(kind).decode for name, kind in MESSAGES.items()
}
_answers: dict[str, Callable[[msgspec.Raw], ToSession]] = {
    name: msgspec.msgpack.Decoder(kind).decode for name, kind in ANSWERS.items()
}


def entry_of(kind: int, target: int, value: msgspec.Struct | None, hops: int = 0) -> bytes:
    """The bytes of one entry."""
    return _encode((kind, target, type(value).__name__ if value is not None else "", hops, value))


def passed_on(entry: Entry) -> bytes:
    """The same entry, for the node that owns it."""
    return _encode((entry.kind, entry.target, entry.name, entry.hops + 1, entry.value))


def message_of(entry: Entry) -> ToActor | None:
    """None: a newer node sent something that this version does not know."""
    decode = _messages.get(entry.name)
    if decode is None:
        return None
    try:
        return decode(entry.value)
    except msgspec.DecodeError:
        return None


def answer_of(entry: Entry) -> ToSession | None:
    decode = _answers.get(entry.name)
    if decode is None:
        return None
    try:
        return decode(entry.value)
    except msgspec.DecodeError:
        return None


def owners_of(entry: Entry) -> Owners | None:
    try:
        return _owners(entry.value)
    except msgspec.DecodeError:
        return None


class Packer:
    """Entries for one node, cut into packs of at most `bytes_max`."""

    __slots__ = ("_bytes", "_entries", "_head", "_numbers")

    def __init__(self, node: int, incarnation: int, era: int) -> None:
        self._head = (VERSION, node, incarnation, era)
        self._entries: list[msgspec.Raw] = []
        self._bytes = 0
        self._numbers = 0

    def add(self, entry: bytes, bytes_max: int) -> list[bytes]:
        """Put it in; gives the packs that are full. An entry above `bytes_max` goes in parts."""
        room = bytes_max - ENVELOPE_BYTES
        full: list[bytes] = []
        if len(entry) > room:
            self._numbers += 1
            size = room - ENVELOPE_BYTES
            count = -(-len(entry) // size)
            for index in range(count):
                data = entry[index * size : (index + 1) * size]
                piece = _encode((PART, 0, "", 0, Part(self._numbers, index, count, data)))
                full += self._put(piece, room)
            return full
        return self._put(entry, room)

    def _put(self, entry: bytes, room: int) -> list[bytes]:
        full = [self.take()] if self._entries and self._bytes + len(entry) > room else []
        self._entries.append(msgspec.Raw(entry))
        self._bytes += len(entry)
        return full

    def __bool__(self) -> bool:
        return bool(self._entries)

    def take(self) -> bytes:
        """The pack that is open, as bytes."""
        pack = _encode((*self._head, self._entries))
        self._entries = []
        self._bytes = 0
        return pack


class Unpacker:
    """Packs of all nodes in, entries out. Holds pieces of what is not whole yet, bounded."""

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[int, int, int], list[bytes | None]] = OrderedDict()
        self._bytes = 0
        self.given_up = 0  # messages of which not all parts came

    def open(self, data: bytes) -> Head:
        """Raises NotAPack."""
        try:
            return _head(data)
        except msgspec.DecodeError:
            raise NotAPack("no pack of a node") from None

    def entries(self, head: Head) -> Iterable[Entry]:
        """In order; an entry that this version cannot read is one of kind 0."""
        for raw in head.entries:
            try:
                entry = _entry(raw)
                whole = _entry(self._join(head, entry)) if entry.kind == PART else entry
            except msgspec.DecodeError:
                yield Entry(0, 0)
                continue
            except _Missing:
                continue
            yield whole

    def _join(self, head: Head, entry: Entry) -> bytes:
        """All parts together. Raises _Missing as long as one is."""
        part = _part(entry.value)
        if not 0 <= part.index < part.count <= PARTS_EACH_MAX:
            raise _Missing
        key = (head.node, head.incarnation, part.number)
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = [None] * part.count
        if len(parts) != part.count or parts[part.index] is not None:
            raise _Missing
        parts[part.index] = part.data
        self._bytes += len(part.data)
        if None not in parts:
            self._forget(key)
            return b"".join(piece for piece in parts if piece is not None)
        while self._bytes > PARTS_BYTES_MAX or len(self._parts) > PARTS_MAX:
            self._forget(next(iter(self._parts)))
            self.given_up += 1
        raise _Missing

    def _forget(self, key: tuple[int, int, int]) -> None:
        self._bytes -= sum(len(piece) for piece in self._parts.pop(key) if piece is not None)


class _Missing(Exception):
    """There is nothing whole to hand on yet."""
