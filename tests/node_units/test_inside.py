"""Who waits for an account that lives on another node now asks again, a few at a time."""

from collections.abc import Callable
from typing import Any

from whimbrel.domain.messages import TryAgain
from whimbrel.node.inside import AT_ONCE, Inside


class State:
    def __init__(self, *owing: int) -> None:
        self.owing = set(owing)


class Cell:
    def __init__(self, state: object) -> None:
        self.state = state


class EngineStub:
    def __init__(self) -> None:
        self.cells: dict[int, Cell] = {}
        self.posted: list[tuple[int, Any]] = []

    def post(self, key: int, message: Any) -> bool:
        self.posted.append((key, message))
        return True


class HostStub:
    def replied(self, number: int, answer: object) -> None: ...


def house() -> tuple[EngineStub, Inside, list[Callable[[], None]]]:
    later: list[Callable[[], None]] = []
    engine = EngineStub()
    inside = Inside(engine, HostStub(), lambda delay_us, call: later.append(call))  # type: ignore[arg-type]
    return engine, inside, later


def test_only_who_owes_something_to_such_an_account_is_told_and_which() -> None:
    engine, inside, _ = house()
    engine.cells = {
        1: Cell(State(10, 11, 12)),
        2: Cell(State(11)),
        3: Cell(State()),
        4: Cell(None),  # asleep: its waking is a try
        5: Cell(object()),  # an actor of another kind
    }
    inside.try_again(lambda account: account % 2 == 0)
    assert engine.posted == [(1, TryAgain((10, 12)))]


def test_many_of_them_have_their_turn_one_after_the_other() -> None:
    engine, inside, later = house()
    engine.cells = {n: Cell(State(7)) for n in range(2 * AT_ONCE + 1)}
    inside.try_again(lambda account: True)
    assert len(engine.posted) == AT_ONCE
    del engine.cells[2 * AT_ONCE]  # has gone to sleep, or to another node
    while later:
        later.pop()()
    assert [key for key, _ in engine.posted] == list(range(2 * AT_ONCE))
