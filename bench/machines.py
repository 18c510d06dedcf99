"""What several processes cost and give: the same load on SQLite, and on one to three nodes.

Run `python -m bench.machines [--rounds 3] [--seconds 6]`. Everything is on this one machine: what
three nodes *give* here is bound by its cores, what they *cost* is not. CPU of all nodes, of
PostgreSQL (with fsync) and of NATS, each from /proc, a message with both marks; log of PostgreSQL;
messages a second, and what there was no more of. Medians over rounds in which all installations
take turns. Senders and recipients sit on whichever node their number says, so with several nodes
a message meets its recipient's node by chance. Writes bench/out/latest.json.
"""

import argparse
import asyncio
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from bench import accounts
from bench.figures import Figure, Figures, write_json
from bench.load import (
    Talk,
    client_of,
    closed_loop,
    connect_to,
    finish,
    on_receiver,
    on_sender,
    open_loop,
    percentile,
)
from bench.meter import machine_s, times
from bench.postgres import cpu_of
from bench.raw import OnBatch, RawClient, client_context
from bench.server import LIMITS, Server
from tests.postgres import PostgresServer
from trial.nats import NatsServer
from trial.nodes import Trial
from trial.people import create

OUT = Path(__file__).parent / "out" / "latest.json"
DURABLE = "fsync = on\nautovacuum_naptime = 1min\nmax_wal_size = 2GB\n"
WARM_S = 2.0
AT_ONCE = 25
RATE = 500.0


class Load(NamedTuple):
    """window 0: RATE messages a second over all pairs, whatever comes back."""

    name: str
    pairs: int
    window: int


LOADS = (Load("500x1", 500, 1), Load("50x10", 50, 10), Load("500ps", 500, 0))
ACCOUNTS = 2 * max(load.pairs for load in LOADS)


class Installation(NamedTuple):
    """nodes 0: one with SQLite. One node on PostgreSQL needs NATS named, but says nothing there."""

    name: str
    nodes: int


INSTALLATIONS = (
    Installation("SQLite, 1 node", 0),
    Installation("PostgreSQL+NATS, 1 node", 1),
    Installation("PostgreSQL+NATS, 2 nodes", 2),
    Installation("PostgreSQL+NATS, 3 nodes", 3),
)


class Site:
    """An installation that runs: its ports, and who uses what."""

    def __init__(self, ports: list[int], pids: list[int], url: str, parts: "Parts | None") -> None:
        self.ports, self.pids, self.url, self.parts = ports, pids, url, parts

    async def used(self) -> "Used":
        nodes = sum(sum(times(Path(f"/proc/{pid}/stat"))) for pid in self.pids)
        database = nats = wal = 0.0
        if self.parts is not None:
            database = cpu_of(self.parts.database)
            assert self.parts.nats.process is not None
            nats = sum(times(Path(f"/proc/{self.parts.nats.process.pid}/stat")))
            db = await asyncpg.connect(self.url)
            wal = float(await db.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))
            await db.close()
        return Used(
            time.perf_counter(), nodes, database, nats, wal, time.process_time(), machine_s()
        )


class Used(NamedTuple):
    """Seconds of CPU since each began; wal in bytes."""

    wall: float
    nodes: float
    database: float
    nats: float
    wal: float
    generator: float
    machine: float


class Parts(NamedTuple):
    database: PostgresServer
    nats: NatsServer


class Result(NamedTuple):
    """One run."""

    node_us: float
    database_us: float
    nats_us: float
    wal_bytes: float
    per_s: float
    p50_ms: float
    p99_ms: float
    bound: str


@contextmanager
def running(what: Installation, parts: Parts, number: int) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="whimbrel-bench-") as name:
        folder = Path(name)
        if not what.nodes:
            server = Server(folder)
            accounts.create(server.data, ACCOUNTS)
            with server:
                yield Site([int(server.ready["native"])], [server.pid], "", None)
            return
        database = f"m{number}"
        port = str(parts.database.port)
        parts.database.run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "whimbrel", database)
        url = parts.database.url(database)
        asyncio.run(create(url, ACCOUNTS))
        trial = Trial(folder / "nodes", url, parts.nats.url, what.nodes, LIMITS)
        for node in trial.nodes:
            node.config = node.config.replace('level = "info"', 'level = "warning"')
        try:
            trial.start()
            ports = [int(node.ready["native"]) for node in trial.nodes]
            pids = [node.process.pid for node in trial.nodes if node.process is not None]
            yield Site(ports, pids, url, parts)
        finally:
            trial.stop()
        parts.database.run("dropdb", "-h", "127.0.0.1", "-p", port, "-U", "whimbrel", database)


async def log_in(
    first: int, count: int, ports: list[int], context: ssl.SSLContext, heard: OnBatch, turn: int
) -> list[RawClient]:
    """Spread over the ports; `turn` moves them by so many every round of all."""
    clients: list[RawClient] = []
    for start in range(0, count, AT_ONCE):
        clients += await asyncio.gather(
            *(
                connect_to(
                    client_of(first + n, context, heard),
                    ports[(n + turn * (n // len(ports))) % len(ports)],
                )
                for n in range(start, min(start + AT_ONCE, count))
            )
        )
    return clients


async def measure(site: Site, load: Load, seconds: float) -> Result:
    context = client_context()
    receivers = await log_in(load.pairs, load.pairs, site.ports, context, on_receiver, 0)
    senders = await log_in(0, load.pairs, site.ports, context, on_sender, 1)
    talks = []
    for sender, receiver in zip(senders, receivers, strict=True):
        talk = Talk(receiver.account)
        talk.sender, sender.state = sender, talk
        talks.append(talk)

    async def talk_for(how_long_s: float) -> None:
        if load.window:
            await asyncio.sleep(how_long_s)
        else:
            await open_loop(talks, RATE, how_long_s)

    if load.window:
        await closed_loop(talks, load.window, 0)
    await talk_for(WARM_S)
    done = sum(talk.done for talk in talks)
    for talk in talks:
        talk.latencies.clear()
    before = await site.used()
    await talk_for(seconds)
    after = await site.used()
    count = sum(talk.done for talk in talks) - done
    latencies = [one for talk in talks for one in talk.latencies]
    await finish(talks)
    for client in (*senders, *receivers):
        client.close()
    return result(before, after, count, latencies)


def result(before: Used, after: Used, count: int, latencies: list[float]) -> Result:
    spent = Used(*(now - then for now, then in zip(after, before, strict=True)))
    cores = os.cpu_count() or 1
    mine = spent.nodes + spent.database + spent.nats + spent.generator
    others = max(0.0, spent.machine - mine)
    shares = ", ".join(
        f"{name} {used / spent.wall:.0%}"
        for name, used in (
            ("nodes", spent.nodes), ("PostgreSQL", spent.database), ("NATS", spent.nats),
            ("generator", spent.generator), ("others", others),
        )
    )  # fmt: skip
    idle = 1 - spent.machine / spent.wall / cores
    per = 1e6 / max(count, 1)
    return Result(
        spent.nodes * per, spent.database * per, spent.nats * per, spent.wal / max(count, 1),
        count / spent.wall, percentile(latencies, 0.5) * 1e3, percentile(latencies, 0.99) * 1e3,
        f"{shares}; idle {idle:.0%} of {cores} cores",
    )  # fmt: skip


HEAD = (
    f"{'load':<6} {'installation':<26}{'nodes us':>10}{'PG us':>8}{'NATS us':>9}{'all us':>8}"
    f"{'WAL B':>8}{'per s':>8}{'p50 ms':>8}{'p99 ms':>8}  shares of one core"
)


def show(load: Load, what: Installation, runs: list[Result]) -> Figures:
    middle = [statistics.median(column) for column in list(zip(*runs, strict=True))[:-1]]
    nodes, database, nats, wal, per_s, p50, p99 = middle
    print(
        f"{load.name:<6} {what.name:<26}{nodes:>10.0f}{database:>8.0f}{nats:>9.0f}"
        f"{nodes + database + nats:>8.0f}{wal:>8.0f}{per_s:>8.0f}{p50:>8.1f}{p99:>8.1f}"
        f"  {runs[-1].bound}",
        flush=True,
    )
    stem = f"{load.name}_" + "".join(c if c.isalnum() else "_" for c in what.name.lower())
    names = ("nodes_us", "postgresql_us", "nats_us", "wal_bytes", "per_s", "p50_ms", "p99_ms")
    return {f"{stem}_{name}": Figure(value) for name, value in zip(names, middle, strict=True)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    runs: dict[tuple[Load, Installation], list[Result]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="whimbrel-bench-") as name:
        parts = Parts(PostgresServer.make(DURABLE), NatsServer(Path(name)))
        try:
            parts.database.start()
            parts.nats.start()
            for number in range(options.rounds * len(INSTALLATIONS)):
                what = INSTALLATIONS[number % len(INSTALLATIONS)]
                with running(what, parts, number) as site:
                    for load in LOADS:
                        got = asyncio.run(measure(site, load, options.seconds))
                        runs[load, what].append(got)
                        print(load.name, what.name, got, file=sys.stderr, flush=True)
        finally:
            parts.nats.stop()
            parts.database.remove()
    figures: Figures = {}
    print(HEAD)
    for load in LOADS:
        for what in INSTALLATIONS:
            figures.update(show(load, what, runs[load, what]))
    write_json(OUT, figures, {"rounds": options.rounds, "run_seconds": options.seconds})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
