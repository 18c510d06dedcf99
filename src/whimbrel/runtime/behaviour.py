"""The reload-safe table: which functions answer which messages of which kind of actor.

Actors hold state only; every call goes through this table, looked up at the moment of the
call. So rules can be replaced between two turns, all at once, and put back as fast; an actor
takes the new ones at its next message (engine.py). While a version is on trial (trial.py) the
table answers by the actor's key.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol


class State(Protocol):
    """What the runtime needs of an actor's state."""

    alarm_us: int  # monotonic time at which it wants to be woken


class Unfit(Exception):
    """A state of this version cannot be brought to that one."""


def stays(state: Any, came: int, goes: int) -> Any:
    """The `migrate` of rules that have none."""
    raise Unfit(f"no way from version {came} of the state to version {goes}")


class Behaviour:
    """The functions of one kind of actor, taken from a module of rules.

    The module offers HANDLERS {message type: f(state, message, turn) -> effects} and
    new(key), want(key, message), fill(state, rows), attach(state, want, answer),
    poison(state, message, turn), busy(key, message), idle(state).

    STATE_VERSION numbers the shape of its states (1 if it is not said). Where it differs
    between two modules, migrate(state, came, goes) of the one with the higher number brings a
    state from the one to the other, in both directions, and gives it back.
    """

    __slots__ = (
        "__weakref__",
        "attach",
        "busy",
        "fill",
        "handlers",
        "idle",
        "migrate",
        "name",
        "new",
        "poison",
        "trusted",
        "version",
        "want",
    )

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
        self.trusted = True  # False: it was found bad; what it left in memory is not kept
        self.version: int = getattr(module, "STATE_VERSION", 1)
        self.migrate: Callable[[Any, int, int], Any] = getattr(module, "migrate", stays)

    def like(self) -> "Behaviour":
        """The same functions in an object of its own."""
        twin = object.__new__(type(self))
        for name in Behaviour.__slots__:
            if name != "__weakref__":
                setattr(twin, name, getattr(self, name))
        twin.handlers = dict(self.handlers)
        return twin

    def unanswered(self, other: "Behaviour") -> list[str]:
        """The names of the messages that the other one answers and this one does not."""
        missing = other.handlers.keys() - self.handlers.keys()
        return sorted(kind.__name__ for kind in missing)


class OnTrial(Protocol):
    """Two versions at once (trial.py)."""

    def pick(self, kind: int, key: int) -> Behaviour: ...
    def failed(self, behaviour: Behaviour, key: int, message: Any, error: Exception) -> bool: ...


class Behaviours:
    """Kinds of actors by number; `kind_of` tells the kind of a key.

    `current` by kind is what every actor should have; None while that depends on its key.
    """

    __slots__ = ("_by_kind", "current", "kind_of", "trial")

    def __init__(self, modules: Sequence[ModuleType], kind_of: Callable[[int], int]) -> None:
        self._by_kind = [Behaviour(module) for module in modules]
        self.current: list[Behaviour | None] = list(self._by_kind)
        self.kind_of = kind_of
        self.trial: OnTrial | None = None

    def __getitem__(self, kind: int) -> Behaviour:
        return self._by_kind[kind]

    def pick(self, kind: int, key: int) -> Behaviour:
        """What this actor should have now."""
        trial = self.trial
        return self._by_kind[kind] if trial is None else trial.pick(kind, key)

    @property
    def all(self) -> list[Behaviour]:
        """By kind."""
        return list(self._by_kind)

    def use(self, behaviours: Sequence[Behaviour]) -> None:
        """From the next message on, for everybody; ends a trial."""
        assert len(behaviours) == len(self._by_kind)
        self.trial = None
        self._by_kind[:] = behaviours
        self.current[:] = behaviours

    def try_out(self, trial: OnTrial) -> None:
        """From the next message on, who has which version depends on the trial."""
        self.trial = trial
        self.current[:] = [None] * len(self._by_kind)

    def replace(self, kind: int, module: ModuleType) -> Behaviour:
        """Put another version in place; the old one comes back, so that it can be restored."""
        fresh = Behaviour(module)
        missing = fresh.unanswered(self._by_kind[kind])
        if missing:
            raise ValueError(f"the new rules do not answer {', '.join(missing)}")
        old = self._by_kind[kind]
        self.restore(kind, fresh)
        return old

    def restore(self, kind: int, old: Behaviour) -> None:
        self._by_kind[kind] = old
        self.current[kind] = old
