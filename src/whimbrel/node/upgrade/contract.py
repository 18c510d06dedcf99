"""What staged code must offer before anything runs it: every message answered, the versions of
its states said and a way between them, every request of XMPP still answered.
"""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from whimbrel.domain.limits import Limits
from whimbrel.node.upgrade.staged import Broken, Staged
from whimbrel.runtime.behaviour import Behaviour

KINDS = ("whimbrel.logic.user", "whimbrel.logic.desk")  # in the order of node/assemble.py
FEATURES = "whimbrel.edge.xmpp.features"
# name -> how many arguments the runtime gives
FUNCTIONS = {
    "new": 1,
    "want": 2,
    "fill": 2,
    "attach": 3,
    "poison": 3,
    "busy": 2,
    "idle": 1,
    "migrate": 3,
}


def behaviours_of(staged: Staged) -> list[Behaviour]:
    """By kind. Raises Broken."""
    found = []
    for name in KINDS:
        try:
            found.append(Behaviour(staged[name]))
        except AttributeError as error:
            raise Broken(f"{name}: {error}") from None
    return found


def features_of(staged: Staged, limits: Limits) -> tuple[Any, ...]:
    return tuple(staged[FEATURES].features_for(limits))


def rules_refusals(staged: Staged, running: list[Behaviour]) -> Iterator[str]:
    """Each thing in which the rules do not keep the contract."""
    for name, old in zip(KINDS, running, strict=True):
        module = staged[name]
        yield from _functions(name, module)
        if not isinstance(getattr(module, "HANDLERS", None), dict):
            yield f"{name}: HANDLERS is not there"
            continue
        version = getattr(module, "STATE_VERSION", None)
        if type(version) is not int or version < 1:
            yield f"{name}: STATE_VERSION must say the version of the state, 1 or more"
            continue
        new = Behaviour(module)
        for missing in new.unanswered(old):
            yield f"{name}: {missing} is not answered"
        for kind, handler in new.handlers.items():
            if not takes(handler, 3):
                yield f"{name}: the handler of {kind.__name__} must take (state, message, turn)"
        if abs(new.version - old.version) > 1:
            yield (
                f"{name}: STATE_VERSION is {new.version} and {old.version} runs: one step at a time"
            )


def _functions(name: str, module: ModuleType) -> Iterator[str]:
    for function, count in FUNCTIONS.items():
        call = getattr(module, function, None)
        if not callable(call):
            yield f"{name}: {function}() is not there"
        elif not takes(call, count):
            yield f"{name}: {function}() must take {count} arguments"


def takes(call: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(call).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def features_refusals(staged: Staged, running: tuple[Any, ...], limits: Limits) -> Iterator[str]:
    """Requests and answers that the running features know and these do not."""
    module = staged[FEATURES]
    if not callable(getattr(module, "features_for", None)):
        yield f"{FEATURES}: features_for() is not there"
        return
    new = features_of(staged, limits)
    for feature in new:
        for call in [*feature.iqs.values(), *feature.nonzas.values(), *feature.answers.values()]:
            if not takes(call, 2):
                yield f"{feature.name}: {call.__name__}() must take (session, what came)"
    for table in ("iqs", "nonzas", "early", "answers"):
        before = {key for feature in running for key in getattr(feature, table)}
        after = {key for feature in new for key in getattr(feature, table)}
        for key in sorted(before - after, key=str):
            yield f"XMPP: {_key(key)} is not answered any more"


def _key(key: object) -> str:
    if isinstance(key, type):
        return key.__name__
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
