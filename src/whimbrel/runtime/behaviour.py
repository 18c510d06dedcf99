"""The reload-safe table: which functions answer which messages of which kind of actor.

Actors hold state only; every call goes through this table, looked up at the moment of the
call. So rules can be replaced between two turns, all at once, and put back as fast.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol


class State(Protocol):
    """What the runtime needs of an actor's state."""

    alarm_us: int  # monotonic time at which it wants to be woken


class Behaviour:
    """The functions of one kind of actor, taken from a module of rules.

    The module offers HANDLERS {message type: f(state, message, turn) -> effects} and
    new(key), want(key, message), fill(state, rows), attach(state, want, answer),
    poison(state, message, turn), busy(key, message), idle(state).
    """

    __slots__ = ("attach", "busy", "fill", "handlers", "idle", "name", "new", "poison", "want")

    def __init__(self, module: ModuleType) -> None:
        self.name = module.__name__.rpartition(".")[2]
        handlers: Mapping[type, Callable[[Any, Any, Any], list[Any]]] = module.HANDLERS
        self.handlers = dict(handlers)
        self.new: Callable[[int], Any] = module.new
        self.want: Callable[[int, Any], Any] = module.want
        self.fill: Callable[[Any, Any], None] = module.fill
        self.attach: Callable[[Any, Any, Any], None] = module.attach
        self.poison: Callable[[Any, Any, Any], list[Any]] = module.poison
        self.busy: Callable[[int, Any], list[Any]] = module.busy
        self.idle: Callable[[Any], bool] = module.idle


class Behaviours:
    """Kinds of actors by number; `kind_of` tells the kind of a key."""

    __slots__ = ("_by_kind", "kind_of")

    def __init__(self, modules: list[ModuleType], kind_of: Callable[[int], int]) -> None:
        self._by_kind = [Behaviour(module) for module in modules]
        self.kind_of = kind_of

    def __getitem__(self, kind: int) -> Behaviour:
        return self._by_kind[kind]

    def replace(self, kind: int, module: ModuleType) -> Behaviour:
        """Put another version in place; the old one comes back, so that it can be restored."""
        fresh = Behaviour(module)
        missing = self._by_kind[kind].handlers.keys() - fresh.handlers.keys()
        if missing:
            names = ", ".join(sorted(kind.__name__ for kind in missing))
            raise ValueError(f"the new rules do not answer {names}")
        old, self._by_kind[kind] = self._by_kind[kind], fresh
        return old

    def restore(self, kind: int, old: Behaviour) -> None:
        self._by_kind[kind] = old
