"""Versions of the rules in a world: they come and go on every node while people write.

At random moments a node tries the next version on a share of its actors, takes it for all, or
goes back; what is on trial may fail and give way by itself. A node that boots has whatever
was in use. What may not happen is the same as ever: sim/laws.py judges from outside.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from sim.time import MS, SECOND
from whimbrel.runtime.behaviour import Behaviour
from whimbrel.runtime.trial import Trial, WrongEffects

if TYPE_CHECKING:
    from sim.node import SimNode

FIRST_US, LAST_US = 50 * MS, 3 * SECOND  # between two changes of a node


class Versions:
    """The first one is in use when the world begins. `look` sees states between turns."""

    def __init__(
        self,
        versions: Sequence[Behaviour],
        seed: int,
        look: Callable[[object], None] = lambda state: None,
        check: Callable[[list[Any]], str] = lambda effects: "",
    ) -> None:
        self.versions = list(versions)
        self.chance = Random(seed ^ 0xC0DE)
        self.look = look
        self.check = check
        self.used = 0  # by a node that boots
        self.changes = 0
        self.failed_new = 0  # messages that failed on a version on trial only
        self.crashes: Counter[str] = Counter()  # "Submit: KeyError", without planted ones

    def may_be_used(self, number: int) -> bool:
        """By all actors, or only on trial?"""
        return True

    def booted(self, node: "SimNode") -> None:
        node.engine.behaviours.use([self.versions[self.used]])
        self._listen(node)
        self._again(node)

    def _listen(self, node: "SimNode") -> None:
        host = node.host
        told = host.crashed

        def crashed(key: int, message: Any, error: BaseException) -> None:
            if not type(message).__name__.startswith("_"):  # the simulator's own stumbling block
                what = f"{type(message).__name__}: {type(error).__name__}"
                self.crashes[f"{what} ({error})" if isinstance(error, WrongEffects) else what] += 1
            told(key, message, error)

        host.crashed = crashed  # type: ignore[method-assign]

    def _again(self, node: "SimNode") -> None:
        node.after(self.chance.randrange(FIRST_US, LAST_US), lambda: self._change(node))

    def _change(self, node: "SimNode") -> None:
        self._again(node)
        for cell in list(node.engine.cells.values())[:50]:
            if cell.state is not None:
                self.look(cell.state)
        if len(self.versions) < 2:
            return
        self.changes += 1
        behaviours = node.engine.behaviours
        trial = behaviours.trial
        if trial is not None:
            assert isinstance(trial, Trial)
            self.failed_new += trial.failed_new
        next_one = self.chance.randrange(len(self.versions))
        what = self.chance.choice(("try", "use", "back"))
        if what == "use" and not self.may_be_used(next_one):
            what = "try"
        node.world.story.add("rules", node.number, what, next_one)
        if what == "try":
            share = self.chance.choice((0.2, 0.5, 1.0))
            new = [self.versions[next_one]]
            salt = self.chance.getrandbits(32)
            behaviours.try_out(
                Trial(behaviours.all, new, share, salt, _no_time, self.check, lambda: None)
            )
        else:
            self.used = next_one if what == "use" else 0
            behaviours.use([self.versions[self.used]])


def _no_time() -> int:
    return 0
