"""The fault table: three nodes, PostgreSQL with a synchronous standby, NATS, and what breaks.

    python -m trial.faults [--rounds 3] [--pairs 12] [--only NAME,...] [--loopback]

Everybody types a message every 0.2 s through the whole of it. For every fault: what was
acknowledged, lost, shown twice, out of order, second marks that did not come or lied; and the
outage, which is, for each person, the longest time from typing to the first check mark in that
round. "Its users" are those whose account a node that is hit owns or whose connection it holds;
"others" are the people of pairs of whom neither does. A fault of PostgreSQL or NATS hits all.
Exit code 1 if a law was broken or something did not come back.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, write_json
from tests.postgres import missing
from trial.faults.net import Namespaces, Net, why_not
from trial.faults.plays import FAULTS, Fault, hit_by
from trial.faults.report import Row, head, line
from trial.faults.stage import NODES, Stage, Stuck
from trial.faults.talkers import by_place
from trial.nats import nats_program

OUT = Path(__file__).parents[2] / "bench" / "out" / "faults.json"
CALM_S = 1.0  # talk before a fault, so that its window holds what was under way


def chosen(only: str) -> list[Fault]:
    """Raises SystemExit for a name that is none."""
    names = [name for name in only.split(",") if name]
    known = {fault.name: fault for fault in FAULTS}
    for name in names:
        if name not in known:
            raise SystemExit(f"no fault is called {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(FAULTS)


async def play(stage: Stage, fault: Fault, number: int, row: Row) -> None:
    """One round. Raises Stuck if something does not come back."""
    town = stage.town
    town.talk(True)
    await stage.all_ready()
    await stage.balanced()
    await stage.homes()
    await stage.all_fresh()
    await asyncio.sleep(CALM_S)
    await stage.all_fresh()
    hit = hit_by(fault, stage, number)
    its, others = by_place(town.people, await stage.owners(), hit.nodes)
    for person in town.people:
        person.begin_window()
    started_s = time.monotonic()
    try:
        await fault.play(stage, hit)
        await stage.all_fresh(asyncio.get_running_loop().time())
    finally:
        for person in town.people:
            worst_s = max(person.worst_s, asyncio.get_running_loop().time() - person.oldest())
            if person.address in its:
                row.its_s.append(worst_s)
            elif person.address in others:
                row.others_s.append(worst_s)
            else:
                row.partners_s.append(worst_s)
    row.rounds += 1
    row.round_s.append(time.monotonic() - started_s)


async def table(stage: Stage, faults: Sequence[Fault], rounds: int) -> list[Row]:
    rows: list[Row] = []
    before = stage.town.ledger.verdict()
    for fault in faults:
        if fault.loses_packets and not stage.net.loses_packets:
            print(f"{fault.name}: not played, it needs network namespaces", flush=True)
            continue
        row = Row(fault.name, fault.what)
        try:
            if fault.name == "postgres":
                await stage.alone(True)
            for number in range(rounds):
                await play(stage, fault, number, row)
        except Stuck as error:
            row.stuck = str(error)
        late = await stage.settled()
        if late:
            row.stuck = row.stuck or f"{len(late)} wait for marks"
        if fault.name == "postgres":
            await stage.alone(False)
        after = stage.town.ledger.verdict()
        row.count = {name: after[name] - before[name] for name in after}
        before = after
        rows.append(row)
        print(line(row), flush=True)
        for lie in stage.town.ledger.lies[-row.count["marks_that_lie"] :][:3]:
            if row.count["marks_that_lie"]:
                print(f"    {lie}")
        if row.stuck:
            print(f"    {row.stuck}", flush=True)
            stage.show_logs()
            break
    return rows


async def run(options: argparse.Namespace, net: Net) -> int:
    stage = Stage(options.pairs, net)
    this = asyncio.current_task()
    assert this is not None
    loop = asyncio.get_running_loop()

    def end() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: None)  # it is ending
        this.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    rows: list[Row] = []
    try:
        await stage.build()
        print(f"{NODES} nodes, {2 * options.pairs} people, {net.words}; load average and time are "
              "those of a shared machine\n", flush=True)  # fmt: skip
        print(head(), flush=True)
        rows = await table(stage, chosen(options.only), options.rounds)
    finally:
        await stage.clear()
    write(options.out, rows, options)
    return int(any(row.broken for row in rows))


def write(path: Path, rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Flat: `<fault>_<figure>`."""
    figures = {
        f"{row.name}_{name}": Figure(value) for row in rows for name, value in row.figures().items()
    }
    failed = [row.name for row in rows if row.broken]
    write_json(path, figures, {"pairs": options.pairs, "failed": failed})


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="trial.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--only", default="", metavar="NAME,...")
    parser.add_argument("--loopback", action="store_true", help="no network namespaces")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    chosen(options.only)
    for what in (missing(), "" if nats_program() else "there is no nats-server"):
        if what:
            print(f"trial.faults: {what}")
            return 1
    lacks = "as asked" if options.loopback else why_not()
    net = Net() if lacks else Namespaces(NODES)
    if lacks:
        print(f"without network namespaces: {lacks}")
    try:
        net.build()
        return asyncio.run(run(options, net))
    except asyncio.CancelledError:
        print("ended early; everything of it is gone")
        return 1
    finally:
        net.clear()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
