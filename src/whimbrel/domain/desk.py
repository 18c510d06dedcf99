"""The state of the sign-up desk: one actor that remembers who asked for a PIN. Types only.

The rules are in logic/desk.py. Everything here can be loaded again from its rows, and all of
it is forgotten after a day at the latest.
"""

import msgspec

from whimbrel.domain.rows import SignupRow
from whimbrel.domain.user import NEVER


class SignupLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of sign-up, from the configuration. A day is a day of UTC."""

    pin_digits: int = 5  # 4 to 8
    pin_s: int = 600  # how long a PIN is good for
    pin_tries: int = 5  # wrong tries, then a new PIN must be asked for
    # waits between two PINs; the last one repeats
    number_waits_s: tuple[int, ...] = (60, 120, 300, 900, 3_600)
    client_free: int = 5  # PINs a network address may ask for at once, before it waits
    client_waits_s: tuple[int, ...] = (10, 30, 60, 120, 300)
    # PINs sent in a day
    per_number: int = 10
    per_client: int = 100
    per_prefix: int = 10_000
    per_prefix_of: dict[str, int] = {}  # another cap for some countries: {"+49" = 50_000}
    in_all: int = 100_000
    not_sent_per_number: int = 10  # failed sendings that are not counted against a number
    # wrong tries in a day
    wrong_per_number: int = 20
    wrong_per_client: int = 50
    wrong_in_all: int = 10_000  # only tries against a PIN that was good: the real guesses
    rows_max: int = 200_000  # numbers and counters remembered, then `busy`

    def mistake(self) -> str:
        """What is wrong, beginning with the key; empty if all is well."""
        if not 4 <= self.pin_digits <= 8:
            return "pin_digits: write a number from 4 to 8"
        for name in ("number_waits_s", "client_waits_s"):
            waits = getattr(self, name)
            if not waits or min(waits) <= 0 or list(waits) != sorted(waits):
                return f"{name}: write growing numbers of seconds, like [60, 120, 300]"
        if any(cap < 0 for cap in self.per_prefix_of.values()):
            return "per_prefix_of: write a number of PINs for each prefix, 0 for none"
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int) and value <= 0:
                return f"{name}: write a number above 0"
        return ""


class Counter:
    """How often something happened on one day; for waits, the second at which they end."""

    __slots__ = ("day", "used")

    def __init__(self, day: int, used: int) -> None:
        self.day = day
        self.used = used


class Desk:
    """The one sign-up desk. `limits` is set by the node before the desk is filled."""

    __slots__ = ("alarm_us", "counters", "limits", "more", "signups")

    def __init__(self, limits: SignupLimits) -> None:
        self.limits = limits
        self.signups: dict[str, SignupRow] = {}
        self.counters: dict[str, Counter] = {}
        self.alarm_us = NEVER  # monotonic time at which the runtime wakes this actor
        self.more: dict[str, object] | None = None  # as in domain/user.py

    @property
    def full(self) -> bool:
        return len(self.signups) + len(self.counters) >= self.limits.rows_max

    @property
    def crowded(self) -> bool:
        """Half full: the other half is for people who ask for a PIN."""
        return len(self.signups) + len(self.counters) >= self.limits.rows_max // 2
