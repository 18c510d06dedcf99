"""The shape of a state: which types stand in which field, as it was seen while worlds played.

Two versions with one STATE_VERSION must have one shape; what the new rules put where the
running ones never did would be met by them after a rollback.
"""

from collections import defaultdict
from typing import Any

import msgspec

Shape = dict[str, set[str]]  # "User.owing{}" -> {"int"}
NOTHING = "NoneType"
DEEP = 6
SAMPLES = 8  # entries looked at of one container


class Shapes:
    """Gathered from many states."""

    def __init__(self) -> None:
        self.seen: Shape = defaultdict(set)

    def look(self, state: object) -> None:
        self._look(type(state).__name__, state, 0)

    def _look(self, path: str, value: Any, depth: int) -> None:
        if depth > DEEP:
            return
        for name in _fields(value):
            inner = getattr(value, name, None)
            self._value(f"{type(value).__name__}.{name}", inner, depth)

    def _value(self, path: str, value: Any, depth: int) -> None:
        kind = type(value)
        self.seen[path].add(kind.__name__)
        if kind is dict:
            for key, inner in list(value.items())[:SAMPLES]:
                self.seen[f"{path} keys"].add(type(key).__name__)
                self._value(f"{path} values", inner, depth + 1)
        elif kind in (list, tuple, set, frozenset):
            for inner in list(value)[:SAMPLES]:
                self._value(f"{path} items", inner, depth + 1)
        elif _fields(value):
            self._look(path, value, depth + 1)


def _fields(value: Any) -> tuple[str, ...]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if type(value).__module__.startswith("whimbrel.domain"):
        return tuple(getattr(type(value), "__slots__", ()))
    return ()


def strangers(old: Shape, new: Shape) -> list[str]:
    """What the new rules put where the old ones never did. Nothing at all is no difference."""
    found = []
    for path, kinds in sorted(new.items()):
        known = old.get(path)
        if path.endswith((".loaded", ".loaded keys", ".loaded values")) or known is None:
            continue  # facts on their way; containers that the old worlds left empty
        odd = kinds - known - {NOTHING}
        if odd and known - {NOTHING}:
            found.append(f"{path} is {' or '.join(sorted(odd))}, was {' or '.join(sorted(known))}")
        elif odd and path.endswith(".more"):
            found.append(f"{path} is used")
    return found
