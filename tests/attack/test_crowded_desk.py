"""Guesses in the dark, from thousands of networks, must not close sign-up for everybody."""

import pytest

from tests.logic.desk_world import DeskWorld
from whimbrel.domain.desk import SignupLimits


@pytest.mark.parametrize("rows", [400, 1_000])
def test_tries_for_numbers_without_a_pin_fill_half_of_the_memory_at_most(rows: int) -> None:
    world = DeskWorld(SignupLimits(rows_max=rows))
    for n in range(2 * rows):
        said = world.verify("00000", f"+49151{n:08}", client=f"2001:db8:0:{n:x}::/64")
        assert said == "pin-wrong"
    assert len(world.counters) <= rows // 2 + 1
    assert world.request().code == "", "an honest person hears busy"
    assert world.verify("12345") == ""


def test_real_guesses_are_counted_however_crowded_it_is() -> None:
    limits = SignupLimits(rows_max=100)
    world = DeskWorld(limits)
    for n in range(100):
        world.verify("00000", f"+49151{n:08}", client=f"2001:db8:0:{n:x}::/64")
    said: list[str] = []
    while "rate-limited" not in said:
        wait = world.request(client=f"198.51.100.{len(said)}")
        if wait.code:
            world.later(wait.retry_after_s)
            continue
        for n in range(limits.pin_tries):
            said.append(world.verify(f"0000{n}", client=f"203.0.113.{len(said)}"))
    assert said.count("pin-wrong") == limits.wrong_per_number
