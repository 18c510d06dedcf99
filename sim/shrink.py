"""Make a failing plan shorter: leave out steps as long as the same law is still broken."""

from sim.laws import Broken
from sim.plan import Plan
from sim.world import run

RUNS_MAX = 400


def shrunk(plan: Plan, broken: Broken) -> Plan:
    """Delta debugging: halves, quarters, ... single steps."""
    runs = 0
    size = max(1, len(plan.steps) // 2)
    while runs < RUNS_MAX:
        at, shorter = 0, False
        while at < len(plan.steps) and runs < RUNS_MAX:
            fewer = plan.without(set(range(at, at + size)))
            runs += 1
            verdict = run(fewer)
            if verdict.broken is not None and verdict.broken.what == broken.what:
                plan, shorter = fewer, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return plan
