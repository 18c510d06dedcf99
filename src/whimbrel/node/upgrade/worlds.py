"""The simulator against a staged version: its own worlds, and worlds in which it comes and goes.

Runs in the process of check.py. The simulator is packed with the server (tree.py). Three kinds
of worlds with the same seeds: the running rules alone (they must hold, and give the baseline),
the new ones alone, and both, changed again and again in the middle of traffic and crashes.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

from whimbrel.node.upgrade.performable import wrong
from whimbrel.node.upgrade.state_shape import Shapes, strangers
from whimbrel.runtime.behaviour import Behaviour

SCENES = ("swarm", "lossy", "crashes", "takeovers")
OLD, NEW, BOTH = KINDS = "running", "new", "changing"


class Played(NamedTuple):
    worlds: int
    messages: int
    refusal: str


def is_there() -> bool:
    try:
        importlib.import_module("sim.world")
    except ImportError:
        return False
    return True


class Player:
    """old, new: of the kind "user"."""

    def __init__(self, old: Behaviour, new: Behaviour) -> None:
        self._sim = importlib.import_module("sim.world")
        self._plans = importlib.import_module("sim.plan").SUSPICIONS
        self._versions = importlib.import_module("sim.versions")
        self.old, self.new = old, new
        self.shapes = {OLD: Shapes(), NEW: Shapes(), BOTH: Shapes()}
        self.crashes: dict[str, int] = {}
        self.messages = 0
        self.worlds = 0

    def play(self, seeds: int, spent: Callable[[], bool]) -> Played:
        """Stops at the first refusal, or when the time is spent."""
        for seed in range(1, seeds + 1):
            for kind in KINDS:
                if spent():
                    return Played(self.worlds, self.messages, "")
                refusal = self._world(kind, seed)
                if refusal:
                    return Played(self.worlds, self.messages, refusal)
        return Played(self.worlds, self.messages, self.shape_refusal())

    def _world(self, kind: str, seed: int) -> str:
        scene = SCENES[seed % len(SCENES)]
        plan = self._plans[scene](seed)
        shapes = self.shapes[kind]
        versions = self._versions.Versions(
            {OLD: [self.old], NEW: [self.new], BOTH: [self.old, self.new]}[kind],
            seed,
            shapes.look,
            wrong,
        )
        verdict = self._sim.run(plan, versions=versions)
        self.worlds += 1
        self.messages += verdict.acknowledged
        name = f"a world of the simulator ({scene} {seed}, {kind} rules)"
        if not verdict.fine:
            return f"{name}: {verdict.broken}"
        if kind == OLD:
            self.crashes = dict(versions.crashes)
            return ""
        for error, count in sorted(versions.crashes.items()):
            if count > self.crashes.get(error, 0):
                return f"{name}: {error}, {count} times"
        return ""

    def shape_refusal(self) -> str:
        same = self.old.version == self.new.version
        old, new, both = (self.shapes[kind].seen for kind in (OLD, NEW, BOTH))
        odd = strangers(old, new) if same else []
        if odd:
            return (
                f"the shape of the state differs and STATE_VERSION is still {self.new.version}: "
                + "; ".join(odd[:3])
            )
        known: dict[str, set[str]] = {}
        for shape in (old, new):
            for path, kinds in shape.items():
                known.setdefault(path, set()).update(kinds)
        odd = strangers(known, both)
        return f"migrate leaves the state in no shape of either version: {odd[0]}" if odd else ""
