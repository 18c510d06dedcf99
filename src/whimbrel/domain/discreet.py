"""How values and errors show themselves: what may hold a body, a key or a PIN tells its size.

Every type that can hold one takes `discreet` as its `__repr__`, so that no log line, traceback or
debugger of a colleague shows what people wrote. Law: raw bytes are never shown, whatever their
field is called; text and tables are not shown in fields with a name of SECRET.
tests/security/test_repr.py finds the types by themselves.
"""

import dataclasses
import traceback
from typing import Any

import msgspec

SECRET = frozenset(
    {
        "admin_token", "auth_token", "body", "hash", "headers", "key", "options", "password", "pin",
        "sealed", "secret", "text", "token", "tokens",
    }
)  # fmt: skip
STACK_LINES = 6

_BYTES = (bytes, bytearray, memoryview, msgspec.Raw)


def discreet(value: Any) -> str:
    """A `__repr__` for structs, dataclasses and named tuples."""
    fields = ", ".join(f"{name}={_field(name, getattr(value, name))}" for name in _names(value))
    return f"{type(value).__name__}({fields})"


def _names(value: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value))
    names: tuple[str, ...] | None = getattr(value, "__struct_fields__", None)
    return names if names is not None else getattr(value, "_fields", ())


def _field(name: str, value: Any) -> str:
    if name in SECRET and isinstance(value, str | dict | list | tuple | set) and value:
        return f"<{len(value)}>"
    return _shown(value)


def _shown(value: Any) -> str:
    """Bytes by their size, also inside of lists and tables."""
    if isinstance(value, _BYTES):
        return f"<{len(bytes(value))} bytes>"
    if type(value) is dict:
        return "{" + ", ".join(f"{_shown(k)}: {_shown(v)}" for k, v in value.items()) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(_shown, value)) + "]"
    if type(value) is tuple:
        return "(" + "".join(f"{_shown(each)}, " for each in value) + ")"
    return repr(value)


def stack_of(error: BaseException) -> str:
    """Where it happened, for the log: our own lines, without the error's text and any value."""
    return "".join(traceback.format_tb(error.__traceback__)[-STACK_LINES:])
