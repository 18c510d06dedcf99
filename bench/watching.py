"""What watching costs: CPU a message with the monitor on and off, in turns, on two servers.

`python -m bench.watching --rounds 10 --seconds 3`: both servers stand all the time; pairs of
phones talk to one for a few seconds, then to the other, and so on: what else the machine does falls
on both alike. Beside it the CPU of both while nobody talks, and of the probe.
"""

import argparse
import asyncio
import statistics
import sys
from contextlib import ExitStack
from typing import NamedTuple

from bench import accounts, load
from bench.meter import Meter
from bench.raw import client_context
from bench.server import Server
from bench.world import run

PAIRS, WINDOW = 50, 10
REST_S = 0.5


class Side(NamedTuple):
    name: str
    server: Server
    talks: list[load.Talk]
    us: list[float]  # of CPU a message, one figure a round
    loop_us: list[float]  # of which the event loop's thread


def started(stack: ExitStack, watching: bool, probe: bool = False) -> Server:
    on = f"[alerts]\non = {str(watching).lower()}\n"
    server = Server(limits=f"\n{on}")
    if probe:
        server.limits = server.limits.replace("[probe]\non = false", "[probe]\nevery_s = 1")
    accounts.create(server.data, 2 * PAIRS)
    server.start()
    stack.callback(server.close)
    return server


async def play(servers: dict[str, Server], rounds: int, seconds: float) -> list[Side]:
    context = client_context()
    sides = [
        Side(name, server, await load.pairs(PAIRS, server.ready["native"], context), [], [])
        for name, server in servers.items()
    ]
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            await measure(side, seconds)
    return sides


async def measure(side: Side, seconds: float) -> None:
    before = sum(talk.done for talk in side.talks)
    meter = Meter(side.server.pid)
    await load.closed_loop(side.talks, WINDOW, seconds)
    await load.finish(side.talks)
    usage, done = meter.read(), sum(talk.done for talk in side.talks) - before
    side.us.append(usage.per(done))
    side.loop_us.append(usage.loop_s / done * 1e6)
    await asyncio.sleep(REST_S)


async def idle(servers: dict[str, Server], seconds: float) -> dict[str, float]:
    """Milliseconds of CPU a second while nobody talks."""
    meters = {name: Meter(server.pid) for name, server in servers.items()}
    await asyncio.sleep(seconds)
    return {name: meter.read().server_s / seconds * 1e3 for name, meter in meters.items()}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("bench.watching", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--idle", type=float, default=20.0)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        servers = {"on": started(stack, True), "off": started(stack, False)}
        sides = run(lambda: play(servers, options.rounds, options.seconds))
        servers["on, a probe a second"] = started(stack, True, probe=True)
        resting = run(lambda: idle(servers, options.idle))
    for side in sides:
        print(
            f"watching {side.name}: {statistics.median(side.us):.2f} us a message"
            f" (loop {statistics.median(side.loop_us):.2f}), rounds "
            + " ".join(f"{each:.1f}" for each in side.us)
        )
    on, off = sides
    ratios = [a / b for a, b in zip(on.us, off.us, strict=True)]
    print(f"on / off, round by round: median {statistics.median(ratios):.3f}")
    for name, each in resting.items():
        print(f"nobody talks, watching {name}: {each:.2f} ms of CPU a second")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
