"""Hunt the planted bugs: `python -m sim.hunt [NAME ...]` prints the table of docs/simulator.md.

For each: how many seeds of its scenario it takes until some law is broken, as the median over
several starts, and which checker notices.
"""

import sys
from dataclasses import dataclass
from statistics import median

from sim.laws import Broken
from sim.mutants import MUTANTS
from sim.plan import SUSPICIONS
from sim.planting import Mutant, planted
from sim.world import run

SEEDS_MAX = 150
STARTS = (1, 1_001, 2_001, 3_001, 4_001)


@dataclass
class Catch:
    seeds: int
    broken: Broken


def hunted(mutant: Mutant, first: int = 1, at_most: int = SEEDS_MAX) -> Catch | None:
    """None: it survived so many seeds."""
    plan_of = SUSPICIONS[mutant.scene]
    with planted(mutant):
        for count in range(1, at_most + 1):
            verdict = run(plan_of(first + count - 1))
            if verdict.broken is not None:
                return Catch(count, verdict.broken)
    return None


def main(names: list[str]) -> int:
    survived = 0
    print("| law | planted bug | what is broken | scenario | median seeds | noticed by |")
    print("|---|---|---|---|---|---|")
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        catches = [hunted(mutant, first) for first in STARTS]
        caught = [catch for catch in catches if catch is not None]
        survived += len(caught) < len(STARTS)
        seeds = median(catch.seeds if catch else SEEDS_MAX for catch in catches)
        by = sorted({f"{catch.broken.law}: {catch.broken.what}" for catch in caught})
        print(
            f"| {mutant.law} | `{mutant.name}` | {mutant.broken} | {mutant.scene} "
            f"| {seeds:g}{'' if len(caught) == len(STARTS) else ' (survives)'} | {'; '.join(by)} |",
            flush=True,
        )
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
