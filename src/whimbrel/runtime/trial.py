"""A trial: two versions of the rules at once. A share of the actors, chosen by their keys, runs
the new one; both are measured, so that somebody can compare (node/upgrade/judge.py).

Where the new version fails, its actor gets the old one back and the message runs there. Only
what fails on the new version and passes on the old one counts against it. Knows no clock: the
CPU time is an argument. Neighbours: engine.py asks pick() and failed().
"""

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heapreplace
from typing import Any

from whimbrel.domain.wants import NotLoaded
from whimbrel.runtime.behaviour import Behaviour

MIX = 0x9E3779B97F4A7C15  # spreads keys that lie together
FAILURES_KEPT = 20
SLOWEST = 5  # calls that are left out of a mean: garbage is collected in somebody's time


class WrongEffects(Exception):
    """The rules returned what nobody can perform."""


class Tally:
    """What one version did with one type of message."""

    __slots__ = ("_slowest", "calls", "cpu_ns", "effects")

    def __init__(self) -> None:
        self.calls = 0
        self.cpu_ns = 0
        self.effects: Counter[type] = Counter()
        self._slowest = [0] * SLOWEST  # a heap

    def add(self, ns: int) -> None:
        self.calls += 1
        self.cpu_ns += ns
        if ns > self._slowest[0]:
            heapreplace(self._slowest, ns)

    @property
    def mean_us(self) -> float:
        """Of all calls but the slowest, if there are enough; 0 if there is none."""
        if self.calls <= 10 * SLOWEST:
            return self.cpu_ns / 1_000 / max(1, self.calls)
        return (self.cpu_ns - sum(self._slowest)) / 1_000 / (self.calls - SLOWEST)


class Trial:
    """old, new: behaviours by kind. share: from 0 to 1; it may be raised at any time.

    check: what is wrong with these effects ("" if nothing). worse: called when a message
    failed on the new version only.
    """

    def __init__(
        self,
        old: Sequence[Behaviour],
        new: Sequence[Behaviour],
        share: float,
        salt: int,
        cpu_ns: Callable[[], int],
        check: Callable[[list[Any]], str],
        worse: Callable[[], None],
    ) -> None:
        self.share = share
        self.salt = salt
        self.of_old: dict[type, Tally] = {}
        self.of_new: dict[type, Tally] = {}
        self.failed_new = 0  # messages that failed on the new version only
        self.failed_both = 0
        self.failures: list[str] = []  # "Submit: KeyError", the first ones
        self.affected = 0  # messages that had to be run again on the old version
        self._pinned: set[int] = set()  # actors that have the old version for the whole trial
        self._suspects: dict[int, tuple[Any, str]] = {}  # by id(): failed on the new version
        self._cpu_ns = cpu_ns
        self._check = check
        self._worse = worse
        self.old = [self._measured(each, self.of_old, False) for each in old]
        self.new = [self._measured(each, self.of_new, True) for each in new]
        self._is_new = frozenset(map(id, self.new))

    def takes_part(self, key: int) -> bool:
        return ((key ^ self.salt) * MIX >> 24) & 0xFFFFFF < self.share * 0x1000000

    def pick(self, kind: int, key: int) -> Behaviour:
        if key in self._pinned or not self.takes_part(key):
            return self.old[kind]
        return self.new[kind]

    def failed(self, behaviour: Behaviour, key: int, message: Any, error: Exception) -> bool:
        """True: it was the new version; from now on this actor has the old one.

        message None: it could not be loaded or migrated.
        """
        if id(behaviour) not in self._is_new:
            return False
        self._pinned.add(key)
        self.affected += 1
        if message is None:  # nobody else has to answer for that
            self.against(f"the state: {type(error).__name__}")
        else:
            text = f"{type(message).__name__}: {type(error).__name__}"
            if isinstance(error, WrongEffects):
                text += f" ({error})"  # kinds and fields, never values
            self._suspects[id(message)] = (message, text)
        return True

    def against(self, text: str) -> None:
        """Something failed on the new version that the old one can do."""
        self.failed_new += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(text)
        self._worse()

    def distrust(self) -> None:
        """The new version was found bad: nothing that it left in memory is kept."""
        for behaviour in self.new:
            behaviour.trusted = False

    def _measured(self, behaviour: Behaviour, tallies: dict[type, Tally], new: bool) -> Behaviour:
        twin = behaviour.like()
        for kind, handle in behaviour.handlers.items():
            tally = tallies.setdefault(kind, Tally())
            timed = self._timed(handle, tally, new)
            twin.handlers[kind] = timed if new else self._acquitting(timed)
        return twin

    def _timed(self, handle: Callable[..., Any], tally: Tally, new: bool) -> Callable[..., Any]:
        cpu_ns, check = self._cpu_ns, self._check

        def run(state: Any, message: Any, turn: Any) -> Any:
            began_ns = cpu_ns()
            effects = handle(state, message, turn)
            tally.add(cpu_ns() - began_ns)
            for effect in effects:
                tally.effects[type(effect)] += 1
            if new and (wrong := check(effects)):
                raise WrongEffects(wrong)
            return effects

        return run

    def _acquitting(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """On the old version: what failed on the new one is judged by what it does here."""
        suspects = self._suspects

        def judged(state: Any, message: Any, turn: Any) -> Any:
            if not suspects or id(message) not in suspects:
                return run(state, message, turn)
            try:
                effects = run(state, message, turn)
            except NotLoaded:
                raise
            except Exception:
                del suspects[id(message)]
                self.failed_both += 1
                raise
            _, text = suspects.pop(id(message))
            self.against(text)
            return effects

        return judged
