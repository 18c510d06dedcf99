"""The faults, one function each: what breaks, for how long, and how it is mended.

A play gets the stage and the number of the round, which chooses the node that is hit. It returns
when everything is mended; the runner then waits until everybody can send again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from trial.faults.net import SERVICES
from trial.faults.stage import NODES, Stage
from trial.nodes import TrialNode
from trial.twice import Echo

LEASE_S = 10.0
AWAY_S = 15.0  # longer than a lease
SHORT_S = 3.0
FAILOVER_S = 1.0  # until whoever watches the primary promotes the standby
NATS_S = 2.0
DELAY_S = 0.2
STILL_S = 5.0  # a round in which nothing happens

Play = Callable[[Stage, "Hit"], Awaitable[None]]


class Hit(NamedTuple):
    """Which nodes a round hits; all three, if the fault is one of the services."""

    nodes: tuple[TrialNode, ...]

    @property
    def node(self) -> TrialNode:
        return self.nodes[0]


class Fault(NamedTuple):
    name: str
    what: str
    play: Play
    hits: str = "node"  # "node": one of them in turn; "all"; "none"
    loses_packets: bool = False  # some of them, which relays of TCP cannot


async def _nothing(stage: Stage, hit: Hit) -> None:
    await asyncio.sleep(STILL_S)


async def _kill_node(stage: Stage, hit: Hit) -> None:
    """Away for longer than its lease, so that the others take what it had."""
    await asyncio.to_thread(hit.node.kill)
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(hit.node.start)
    await stage.balanced()


async def _kill_and_rejoin(stage: Stage, hit: Hit) -> None:
    """A supervisor starts it again at once: it has its number and its shards back."""
    await asyncio.to_thread(hit.node.kill)
    await asyncio.to_thread(hit.node.start)
    await stage.balanced()


async def _end_node(stage: Stage, hit: Hit) -> None:
    await asyncio.to_thread(hit.node.stop)
    await asyncio.sleep(SHORT_S)
    await asyncio.to_thread(hit.node.start)
    await stage.balanced()


async def _rolling(stage: Stage, hit: Hit) -> None:
    """docs/cluster.md: one node after the other, each when the one before has its share again."""
    for node in hit.nodes:
        await asyncio.to_thread(node.stop)
        await asyncio.to_thread(node.start)
        await stage.all_ready()
        await stage.balanced()


async def _pause_node(stage: Stage, hit: Hit) -> None:
    hit.node.pause()
    try:
        await asyncio.sleep(AWAY_S)
    finally:
        hit.node.resume()
    await stage.balanced()


async def _fail_over(stage: Stage, hit: Hit) -> None:
    """The primary is killed; after a second the standby takes over, alone at first."""
    await asyncio.to_thread(stage.primary.kill)
    await asyncio.sleep(FAILOVER_S)
    standby = stage.standby
    standby.configure("synchronous_standby_names = ''")
    await asyncio.to_thread(standby.run, "pg_ctl", "promote", "-D", str(standby.data), "-w")
    await asyncio.sleep(SHORT_S)
    await stage.new_standby()


async def _restart_database(stage: Stage, hit: Hit) -> None:
    """One PostgreSQL without a standby, killed and started by its supervisor."""
    await asyncio.to_thread(stage.primary.kill)
    await asyncio.sleep(FAILOVER_S)
    await asyncio.to_thread(stage.primary.start)


async def _kill_bus(stage: Stage, hit: Hit) -> None:
    assert stage.nats is not None
    await asyncio.to_thread(stage.nats.kill)
    await asyncio.sleep(NATS_S)
    await asyncio.to_thread(stage.nats.start)


async def _twice(stage: Stage, hit: Hit) -> None:
    assert stage.nats is not None
    echo = Echo(stage.nats.url)
    await echo.start()
    try:
        await asyncio.sleep(2 * STILL_S)
    finally:
        await echo.stop()
    if not echo.count:
        raise AssertionError("nothing was said twice")


def _between(name: str, services: Sequence[str]) -> tuple[list[tuple[str, str]], ...]:
    """The ways from the node to the services, and back."""
    there = [(name, service) for service in services]
    return there, [(b, a) for a, b in there]


def _cut(
    services: Sequence[str],
    for_s: float,
    *,
    out: float = 1.0,
    back: float = 1.0,
    held_s: float = 0.0,
) -> Play:
    """out, back: the part of the packets to and from the services that is lost."""

    async def play(stage: Stage, hit: Hit) -> None:
        there, here = _between(stage.place_of(hit.node), services)
        try:
            if out or held_s:
                stage.net.lose(out, there, held_s)
            if back:
                stage.net.lose(back, here)
            await asyncio.sleep(for_s)
        finally:
            stage.net.heal()
        await stage.balanced()

    return play


def _cuts() -> Iterator[Fault]:
    for for_s in (SHORT_S, AWAY_S):
        for name, services in (("pg", ("pg",)), ("nats", ("nats",)), ("both", SERVICES)):
            yield Fault(
                f"no-{name}-{for_s:.0f}s",
                f"a node cut off from {' and '.join(services)} for {for_s:.0f} s",
                _cut(services, for_s),
            )
    for name, what, play in (
        ("mute", "no packet leaves the node", _cut(SERVICES, AWAY_S, back=0.0)),
        ("deaf", "no packet reaches the node", _cut(SERVICES, AWAY_S, out=0.0)),
        ("lossy", "a fifth of what leaves it is lost", _cut(SERVICES, AWAY_S, out=0.2, back=0.0)),
        ("slow", f"what leaves it takes {DELAY_S * 1000:.0f} ms",
         _cut(SERVICES, AWAY_S, out=0.0, back=0.0, held_s=DELAY_S)),
    ):  # fmt: skip
        yield Fault(
            name,
            f"{what} to PostgreSQL and NATS, {AWAY_S:.0f} s",
            play,
            loses_packets=name == "lossy",
        )


def hit_by(fault: Fault, stage: Stage, number: int) -> Hit:
    nodes = stage.nodes
    if fault.hits == "node":
        return Hit((nodes[number % NODES],))
    return Hit(tuple(nodes) if fault.hits == "all" else ())


FAULTS = (
    Fault("none", "nothing happens", _nothing, "none"),
    Fault("node-killed", f"kill -9 of a node, away for {AWAY_S:.0f} s", _kill_node),
    Fault("node-restarted", "kill -9 of a node, started again at once", _kill_and_rejoin),
    Fault("node-ended", "SIGTERM: it hands over; started again", _end_node),
    Fault("rolling", "SIGTERM and start, all nodes one by one", _rolling, "all"),
    Fault("node-stopped", f"SIGSTOP for {AWAY_S:.0f} s (past its lease)", _pause_node),
    Fault("failover", "kill -9 of the primary, the standby is promoted", _fail_over, "all"),
    Fault("postgres", "kill -9 of PostgreSQL without standby, started again", _restart_database,
          "all"),
    Fault("nats", f"kill -9 of NATS, back after {NATS_S:.0f} s", _kill_bus, "all"),
    Fault("twice", f"NATS delivers everything twice, {2 * STILL_S:.0f} s", _twice, "all"),
    *_cuts(),
)  # fmt: skip
