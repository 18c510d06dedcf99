"""`python -m sim`: play seeds, print the story of one, make a failing one shorter."""

import argparse
import sys
import time

from sim.plan import SUSPICIONS, Plan
from sim.shrink import shrunk
from sim.world import Verdict, run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("sim", description="Plays worlds and judges them.")
    parser.add_argument("--seed", type=int, help="play this one and tell its story")
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="play so many")
    parser.add_argument("--first", type=int, default=1, metavar="SEED")
    parser.add_argument("--scenario", choices=[*SUSPICIONS, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on for so long")
    parser.add_argument("--last", type=int, default=60, metavar="LINES", help="of the story")
    parser.add_argument("--no-shrink", action="store_true", help="do not make failures shorter")
    options = parser.parse_args(arguments)
    names = list(SUSPICIONS) if options.scenario == "all" else [options.scenario]
    if options.seed is not None:
        return tell(SUSPICIONS[names[0]](options.seed), options.last, not options.no_shrink)
    return play(names, options.first, options.seeds, options.minutes, not options.no_shrink)


def tell(plan: Plan, last: int, shrink: bool) -> int:
    """The story of one run; of a failing one also the shortest plan that still fails."""
    verdict = run(plan, keep_story=True)
    print("\n".join(verdict.story[-last:] if last else ()))
    print(verdict.stack, end="")
    print(summary(verdict))
    if verdict.broken is not None and shrink:
        shorter = shrunk(plan, verdict.broken)
        print(f"\nthe shortest plan that still fails ({len(shorter.steps)} steps):")
        print("\n".join(map(str, shorter.steps)))
    return 0 if verdict.fine else 1


def summary(verdict: Verdict) -> str:
    plan = verdict.plan
    end = "fine" if verdict.broken is None else str(verdict.broken)
    return (
        f"{plan.name} seed {plan.seed}: {plan.nodes} nodes, {plan.people} people, "
        f"{len(plan.steps)} steps, {verdict.events:,} events, {verdict.acknowledged:,} "
        f"acknowledged, {verdict.shown:,} shown, {verdict.checks:,} checks, "
        f"trace {verdict.digest[:12]}: {end}"
    )


def play(names: list[str], first: int, seeds: int, minutes: float, shrink: bool) -> int:
    started = time.monotonic()
    events = played = failed = 0
    seed = first
    while played < seeds or time.monotonic() - started < minutes * 60:
        for name in names:
            verdict = run(SUSPICIONS[name](seed))
            events += verdict.events
            played += 1
            if not verdict.fine:
                failed += 1
                print(summary(verdict), flush=True)
                print(f"  python -m sim --scenario {name} --seed {seed}")
        seed += 1
    seconds = time.monotonic() - started
    print(
        f"{played:,} worlds, {events:,} events, {failed} violations, {seconds:.0f} s, "
        f"{events / seconds:,.0f} events a second"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
