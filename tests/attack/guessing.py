"""Guessers of PINs against the real sign-up desk, on a clock that is moved by hand.

`python -m tests.attack.guessing` prints the chance of success that was measured beside the one
that follows from the limits (docs/attacks.md). The attackers know the rules, never make a
mistake, never try a PIN twice and may have as many network addresses as the row says. The desk
is that of production; time passes only when it tells the attacker to wait.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from tests.logic.desk_world import DAY_S, MORNING_US, DeskWorld
from whimbrel.domain.desk import SignupLimits

US = 1_000_000


@dataclass
class Booty:
    """What one attack came to."""

    days: int
    accounts: int = 0  # taken over
    guesses: int = 0  # against a PIN that was good
    texts: int = 0  # text messages that warned somebody

    def expected(self, limits: SignupLimits) -> float:
        """Accounts by the guesses that were made: each is right once in 10**digits."""
        return self.guesses / float(10**limits.pin_digits)


class Attacker:
    def __init__(self, limits: SignupLimits, seed: int, days: int) -> None:
        self.world = DeskWorld(limits)
        self.world.now_us = MORNING_US - 3_600 * US  # a day of UTC begins
        self.limits = limits
        self.random = Random(seed)
        self.booty = Booty(days)
        self._end_us = self.world.now_us + days * DAY_S * US

    @property
    def over(self) -> bool:
        return self.world.now_us >= self._end_us

    def text(self) -> str:
        """A PIN: as many digits as the server draws."""
        digits = self.limits.pin_digits
        return f"{self.random.randrange(10**digits):0{digits}}"

    def ask(self, number: str, client: str) -> int:
        """0 when a text message has left, else the seconds to wait."""
        answer = self.world.request(number, self.text(), client)
        if answer.code:
            return answer.retry_after_s
        self.booty.texts += 1
        return 0

    def guess(self, number: str, clients: Iterator[str]) -> str:
        """All tries that this PIN allows; what was said last."""
        said = ""
        digits = self.limits.pin_digits
        for n in self.random.sample(range(10**digits), self.limits.pin_tries):
            said = self.world.verify(f"{n:0{digits}}", number, next(clients))
            self.booty.guesses += said != "rate-limited"
            self.booty.accounts += said == ""
            if said != "pin-wrong":
                break
        return said

    def sleep(self, seconds: int) -> None:
        self.world.later(max(1, seconds))
        if self.world.desk.alarm_us <= self.world.now_us - MORNING_US:
            self.world.alarm()

    def tomorrow(self) -> None:
        self.sleep(DAY_S - self.world.now_us // US % DAY_S)


def fresh_addresses() -> Iterator[str]:
    return (f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::/64" for n in count())


def against_one_number(limits: SignupLimits, seed: int, days: int) -> Booty:
    """Every request comes from another network address; the number is the only bound."""
    attacker, clients = Attacker(limits, seed, days), fresh_addresses()
    number = "+4915112345678"
    while not attacker.over and not attacker.booty.accounts:
        wait_s = attacker.ask(number, next(clients))
        if wait_s:
            attacker.sleep(wait_s)
        elif attacker.guess(number, clients) == "rate-limited":
            attacker.tomorrow()
    return attacker.booty


def from_addresses(addresses: int, limits: SignupLimits, seed: int, days: int) -> Booty:
    """So many addresses against as many numbers as they like; each number is left after one PIN."""
    attacker, numbers = Attacker(limits, seed, days), count(4915200000000)
    while not attacker.over:
        spent: set[str] = set()
        ready = [(attacker.world.now_us, f"198.51.{n >> 8}.{n & 255}") for n in range(addresses)]
        day = attacker.world.now_us // US // DAY_S
        while ready and attacker.world.now_us // US // DAY_S == day:
            ready.sort()
            at_us, client = ready.pop(0)
            if at_us > attacker.world.now_us:
                attacker.sleep((at_us - attacker.world.now_us) // US + 1)
            number = f"+{next(numbers)}"
            wait_s = attacker.ask(number, client)
            if wait_s:
                ready.append((attacker.world.now_us + wait_s * US, client))
            elif attacker.guess(number, iter([client] * 99)) == "rate-limited":
                spent.add(client)
            else:
                ready.append((attacker.world.now_us, client))
        attacker.tomorrow()
    return attacker.booty


# ---- the table --------------------------------------------------------------------------


def one_number_row(limits: SignupLimits, attacks: int, days: int) -> str:
    booties = [against_one_number(limits, seed, days) for seed in range(attacks)]
    won = sum(booty.accounts for booty in booties)
    rounds = days * limits.wrong_per_number / limits.pin_tries
    theory = 1 - (1 - limits.pin_tries / 10**limits.pin_digits) ** rounds
    texts = sum(booty.texts for booty in booties) / attacks
    return (
        f"| one number, any number of addresses, {limits.pin_digits} digits | {attacks:,} attacks "
        f"of {days} days | {won / attacks:.2%} succeed ({won}) | {theory:.2%} | {texts:,.0f} |"
    )


def addresses_row(limits: SignupLimits, addresses: int, days: int, attacks: int) -> str:
    booties = [from_addresses(addresses, limits, seed, days) for seed in range(attacks)]
    accounts = sum(booty.accounts for booty in booties) / attacks
    guesses = min(addresses * limits.wrong_per_client, limits.wrong_in_all) * days
    texts = sum(booty.texts for booty in booties) / attacks
    return (
        f"| any numbers, {addresses:,} address{'es' * (addresses > 1)}, {limits.pin_digits} digits "
        f"| {attacks:,} attack{'s' * (attacks > 1)} of {days} days | {accounts:.3g} accounts each "
        f"| at most {guesses / 10**limits.pin_digits:.3g} | {texts:,.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attack.guessing", description=__doc__)
    parser.add_argument("--attacks", type=int, default=2_000, help="against one number")
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    start_s = time.monotonic()
    print("| attack | tried | measured | by the limits | text messages |\n|---|---|---|---|---|")
    five, six = SignupLimits(), SignupLimits(pin_digits=6)
    print(one_number_row(SignupLimits(pin_digits=4), options.attacks // 4, options.days))
    print(one_number_row(five, options.attacks, options.days))
    print(one_number_row(six, options.attacks, options.days), flush=True)
    print(addresses_row(five, 1, options.days, options.attacks // 20), flush=True)
    print(addresses_row(five, 1_000, options.days, 2), flush=True)
    print(f"\n{time.monotonic() - start_s:.0f} s")


if __name__ == "__main__":
    main()
