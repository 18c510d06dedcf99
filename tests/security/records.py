"""Every type of the source that can hold a body, a key or a PIN, found by its fields.

Walks all modules; what a record can hold is read from its annotations: bytes anywhere, text and
tables in fields with a telling name, and whatever holds such a record. Builds an instance of
each with a mark in all these places.
"""

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

import whimbrel

MARK = "qzxmarkwvy"
TELLING = re.compile(
    r"(^|_)(body|key|pin|text|sealed|secret|token|password|hash|content|headers|options)(s|ed)?$"
)
BYTES = (bytes, bytearray, memoryview, msgspec.Raw)


def modules() -> Iterator[types.ModuleType]:
    for found in pkgutil.walk_packages(whimbrel.__path__, "whimbrel."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def classes() -> list[type]:
    """Every class, in the module that defines it."""
    return [
        each
        for module in modules()
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__
    ]


def is_record(kind: object) -> typing.TypeGuard[type]:
    return isinstance(kind, type) and (
        issubclass(kind, msgspec.Struct)
        or dataclasses.is_dataclass(kind)
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def fields(kind: type) -> dict[str, Any]:
    """Name and type of each field."""
    hints = typing.get_type_hints(kind)
    names: tuple[str, ...] = getattr(kind, "__struct_fields__", ()) or getattr(kind, "_fields", ())
    if not names and dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
    return {name: hints[name] for name in names}


def holds_secret(kind: type, seen: tuple[type, ...] = ()) -> bool:
    return kind not in seen and any(
        _holds(hint, name, (*seen, kind)) for name, hint in fields(kind).items()
    )


def _holds(hint: Any, name: str, seen: tuple[type, ...]) -> bool:
    if isinstance(hint, type) and issubclass(hint, BYTES):
        return True
    if hint in (str, Any, object):
        return bool(TELLING.search(name))
    if is_record(hint):
        return holds_secret(hint, seen)
    return any(_holds(each, name, seen) for each in typing.get_args(hint))


def marked(kind: type) -> Any:
    """An instance with MARK wherever it can hold a secret."""
    values = {name: _value(hint, name) for name, hint in fields(kind).items()}
    return kind(**values)


def _value(hint: Any, name: str) -> Any:
    parts = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        best = [each for each in parts if _holds(each, name, ())]
        return _value((best or list(parts))[0], name)
    if origin is typing.Annotated:
        return _value(parts[0], name)
    if isinstance(origin, type) and issubclass(origin, Collection) and parts:
        return _collection(origin, parts, name)
    if hint is msgspec.Raw:
        return msgspec.Raw(MARK.encode())
    if isinstance(hint, type) and issubclass(hint, BYTES):
        return hint(MARK.encode())
    if hint in (str, Any, object):
        return MARK if TELLING.search(name) else "plain"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return next(iter(hint))
    if hint in (int, float, bool):
        return 7
    return marked(hint) if is_record(hint) else None


def _collection(origin: type, parts: tuple[Any, ...], name: str) -> Any:
    if issubclass(origin, tuple) and parts[-1] is not Ellipsis:
        return tuple(_value(each, name) for each in parts)
    if issubclass(origin, dict):
        return {_value(parts[0], ""): _value(parts[-1], name)}
    values = [_value(parts[0], name)]
    return tuple(values) if issubclass(origin, tuple) else values
