"""PIN guessing at scale: no attack gets more guesses than the limits say, nor more luck."""

from math import sqrt

import pytest

from tests.attack.guessing import against_one_number, from_addresses
from whimbrel.domain.desk import SignupLimits

DAYS = 30


def test_one_number_under_attack_for_a_month_costs_the_attacker_all_that_the_limits_allow() -> None:
    limits = SignupLimits(pin_digits=8)  # so that no luck ends it early
    booty = against_one_number(limits, 1, DAYS)
    assert booty.guesses == DAYS * limits.wrong_per_number, "the attacker is not as good as he can"
    assert booty.texts >= booty.guesses / limits.pin_tries, "each warns the owner"


def test_the_chance_against_one_number_is_the_one_of_the_limits() -> None:
    """With few digits, so that there is something to measure: within four deviations."""
    limits, attacks = SignupLimits(pin_digits=3), 120
    theory = 1 - (1 - limits.pin_tries / 1_000) ** (DAYS * limits.wrong_per_number / 5)
    won = sum(against_one_number(limits, seed, DAYS).accounts for seed in range(attacks))
    assert abs(won / attacks - theory) < 4 * sqrt(theory * (1 - theory) / attacks)


@pytest.mark.parametrize(
    ("addresses", "per_day"), [(1, 50), (10, 500), (40, 1_000)], ids=["one", "ten", "a cap for all"]
)
def test_addresses_against_all_numbers_get_their_own_guesses_and_never_more_than_all(
    addresses: int, per_day: int
) -> None:
    limits = SignupLimits(pin_digits=8, wrong_in_all=1_000)
    booty = from_addresses(addresses, limits, 1, 3)
    assert booty.guesses == 3 * per_day


def test_without_its_limit_a_number_would_be_lost() -> None:
    """The measure above can tell: the same attack on a desk that counts nothing succeeds."""
    careless = SignupLimits(
        pin_digits=3, wrong_per_number=10**9, per_number=10**9, number_waits_s=(1,)
    )
    assert all(against_one_number(careless, seed, 1).accounts for seed in range(5))
