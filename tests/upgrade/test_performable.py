"""Effects of a version on trial are looked at before they are performed."""

from typing import Any

import pytest

from tests.world import World
from whimbrel.domain.answers import Stored
from whimbrel.domain.effects import Note, Push, Reply, Tell
from whimbrel.domain.messages import Alarm
from whimbrel.domain.rows import SentForget
from whimbrel.node.upgrade.performable import KINDS, wrong


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([], ""),
        ([Note("pin-sent"), Tell(1, Alarm())], ""),
        ((), "a tuple and no list"),
        (None, "a NoneType and no list"),
        (["done"], "str is no effect"),
        ([Alarm()], "Alarm is no effect"),
        ([Tell("1", Alarm())], "Tell.to is str"),  # type: ignore[arg-type]
        ([Push(1, Stored(1.0, 2))], "Stored.c is float"),  # type: ignore[arg-type]
        ([SentForget(1, "never")], "SentForget.before_us is str"),  # type: ignore[arg-type]
    ],
)
def test_effects(effects: Any, said: str) -> None:
    assert said in wrong(effects)
    assert bool(wrong(effects)) == bool(said)


def test_what_our_own_rules_say_can_be_performed() -> None:
    """Every effect of a small talk passes; a check that refuses good ones would end every trial."""
    world = World()
    seen: set[type] = set()
    perform = world.host.perform

    def watched(key: int, effects: list[Any], batch: Any, releases: list[Any]) -> None:
        assert wrong(effects) == ""
        seen.update(map(type, effects))
        perform(key, effects, batch, releases)

    world.host.perform = watched  # type: ignore[method-assign]
    alice, bob = world.register("alice"), world.register("bob")
    for device in (alice, bob):
        device.connect()
    alice.say("bob", "hello")
    world.later(5)
    assert {Tell, Push, Reply} <= seen
    assert seen <= KINDS
