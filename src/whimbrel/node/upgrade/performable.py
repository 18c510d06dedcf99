"""Can these effects be performed? Asked of a version on trial, before anybody acts on them.

The interpreter trusts rules: an effect of no known kind, or a row with a text where a number
belongs, would end the whole batch. So a canary's effects are looked at, kind and fields.
"""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from whimbrel.domain.batch import ADD
from whimbrel.domain.effects import Note, Push, ReadInbox, Reply, SendPin, Tell

KINDS = frozenset({*ADD, Tell, Push, Reply, ReadInbox, SendPin, Note})
Kinds = tuple[type, ...]
_KNOWN: dict[type, tuple[tuple[str, Kinds], ...]] = {}


def wrong(effects: list[Any]) -> str:
    """What is wrong with them, "" if nothing. Never a value: bodies are values."""
    if type(effects) is not list:
        return f"a {type(effects).__name__} and no list of effects"
    for effect in effects:
        if type(effect) not in KINDS:
            return f"{type(effect).__name__} is no effect"
        if found := _inside(effect):
            return found
    return ""


def _inside(value: Any) -> str:
    """Its fields, and those of the message, answer or row that it carries."""
    kind = type(value)
    for name, kinds in _fields(kind):
        inner = getattr(value, name)
        if kinds and not isinstance(inner, kinds):
            return f"{kind.__name__}.{name} is {type(inner).__name__}"
        if isinstance(inner, Struct) and (found := _inside(inner)):
            return found
    return ""


def _fields(kind: type[Any]) -> tuple[tuple[str, Kinds], ...]:
    """All fields, with the classes that may stand there; (): that is not known."""
    known = _KNOWN.get(kind)
    if known is None:
        known = _KNOWN[kind] = tuple(_of(kind))
    return known


def _of(kind: type[Any]) -> Iterator[tuple[str, Kinds]]:
    for name, hint in get_type_hints(kind).items():
        if name in getattr(kind, "__struct_fields__", ()):
            yield name, _classes(hint)


def _classes(hint: Any) -> Kinds:
    """(): anything may stand there."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        parts = [_classes(part) for part in get_args(hint)]
        return tuple(kind for part in parts for kind in part) if all(parts) else ()
    if origin is Literal:
        return tuple({type(value) for value in get_args(hint)})
    if origin is not None:
        return _classes(origin)
    if hint is None or hint is NoneType:
        return (NoneType,)
    if hint is float:
        return (int, float)
    if hint is bool:
        return (int,)  # a database gives 0 and 1
    if hint is bytes:
        return (bytes, bytearray, memoryview)
    return (hint,) if isinstance(hint, type) and hint is not object else ()
