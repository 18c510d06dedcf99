"""Tokens of FAST by their rules: they end, are replaced in time, and are bounded."""

from typing import Any

import pytest

from tests.world import World
from whimbrel.domain import im
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import ToActor
from whimbrel.domain.rows import DocumentRow
from whimbrel.logic.tokens import RENEWED_US, TOKENS_MAX

DAY_US = 86_400_000_000


class Listener:
    def __init__(self, world: World) -> None:
        self.heard: list[Any] = []
        self.account = 0
        self.world = world
        self.number = world.sessions.open(self)

    def deliver(self, answer: Any) -> None:
        self.heard.append(answer)

    def flush(self) -> None:
        """All was heard."""

    def ask(self, message: ToActor) -> im.TokenDone:
        self.heard.clear()
        self.world.engine.post(account_number("alice"), message)
        self.world.run()
        (answer,) = self.heard
        assert isinstance(answer, im.TokenDone)
        return answer

    def new(self, agent: str = "a") -> int:
        return self.ask(im.TokenNew(self.number, agent)).serial

    def use(self, serial: int, agent: str = "a") -> im.TokenDone:
        return self.ask(im.TokenUse(self.number, agent, serial, 0, False, False))


@pytest.fixture
def listener() -> Listener:
    world = World()
    world.register("alice")
    return Listener(world)


def test_a_token_ends_and_says_that_it_has_ended(listener: Listener) -> None:
    serial = listener.new()
    listener.world.clock.wall_us = serial + im.TOKEN_LIVES_US - 1
    assert listener.use(serial).code == ""
    listener.world.clock.wall_us += 1
    assert listener.use(serial).code == "expired"
    assert listener.use(serial + 1).code == "unknown"
    assert listener.use(serial, "another client").code == "unknown"


def test_a_token_is_replaced_when_it_is_used_at_an_age(listener: Listener) -> None:
    serial = listener.new()
    assert listener.use(serial).serial == 0
    listener.world.clock.wall_us = serial + RENEWED_US
    new = listener.use(serial).serial
    assert new > serial
    assert listener.use(serial).serial == new, "told again while the old one is used"
    assert listener.use(new) == im.TokenDone("", 0)
    assert listener.use(serial).code == "unknown"


def test_an_account_has_a_bounded_number_of_them(listener: Listener) -> None:
    first = listener.new("first")
    for n in range(TOKENS_MAX):
        listener.world.clock.wall_us += DAY_US // 100
        listener.new(f"client {n}")
    assert listener.use(first, "first").code == "unknown"


def test_nothing_is_kept_for_an_account_that_is_not_there() -> None:
    world = World()
    listener = Listener(world)
    assert listener.ask(im.TokenNew(listener.number, "a")).code == "unknown"
    documents = world.disk.tables.documents
    assert not any(isinstance(row, DocumentRow) for rows in documents.values() for row in rows)
