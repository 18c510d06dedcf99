"""The stage of the fault table: PostgreSQL with a synchronous standby, NATS, three nodes, people.

All of it belongs to this run and ends with it: processes by their handles, folders, namespaces.
Here stand the parts and what can be asked of them; what is done to them stands in plays.py.
Law: the runner looks at the database only to know who owns which account.
"""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from bench.raw import client_context
from bench.server import LIMITS
from tests.postgres import PostgresServer
from trial.faults.doors import Doors
from trial.faults.net import Net
from trial.faults.talkers import Talker, Town
from trial.nats import NatsServer
from trial.nodes import Trial, TrialNode
from trial.people import create
from whimbrel.domain.ids import account_number, shard_of

NODES = 3
PATIENCE_S = 120.0  # for anything that has to come about
STEADY_S = 1.0  # shards did not move for so long
FRESH_S = 1.0  # nobody waits longer than this for a check mark: all is well
_SETTINGS = "fsync = on\nlisten_addresses = '{host}'\nmax_wal_size = 1GB\n"
_SYNC = "synchronous_standby_names = '{name}'\n"


class Stuck(Exception):
    """What had to come about did not, in PATIENCE_S."""


async def eventually(what: str, holds: Callable[[], Awaitable[bool]], pause_s: float = 0.1) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not await holds():
        if time.monotonic() > end_s:
            raise Stuck(f"{what}: not within {PATIENCE_S:.0f} s")
        await asyncio.sleep(pause_s)


class Stage:
    """build() and, whatever happened, clear()."""

    def __init__(self, pairs: int, net: Net) -> None:
        self.pairs = pairs
        self.net = net
        self.folder = Path(tempfile.mkdtemp(prefix="whimbrel-faults-"))
        self.databases: list[PostgresServer] = []
        self.nats: NatsServer | None = None
        self.trial: Trial | None = None
        self.primary: PostgresServer
        self.standby: PostgresServer
        self.doors: Doors
        self.town: Town

    @property
    def nodes(self) -> list[TrialNode]:
        assert self.trial is not None
        return self.trial.nodes

    def place_of(self, node: TrialNode) -> str:
        """What the network calls it."""
        return f"node{self.nodes.index(node)}"

    # ---- up and down -------------------------------------------------------------------------

    async def build(self) -> None:
        await asyncio.to_thread(self._build_databases)
        await self.synchronous(True)
        place = self.net.place("nats")
        self.nats = NatsServer(self.folder / "nats", host=place[0], inside=place[1])
        await asyncio.to_thread(self.nats.start)
        await create(self.primary.url("whimbrel"), 2 * self.pairs)
        self.trial = Trial(
            self.folder / "nodes",
            self._store_url(),
            self.nats.url,
            NODES,
            LIMITS,
            places=[self.net.place(f"node{n}") for n in range(NODES)],
        )
        self._find_ways(self.trial)
        await asyncio.to_thread(self.trial.start)
        self.doors = Doors(self.nodes)
        await self.doors.__aenter__()
        self.town = Town(self.doors, self.pairs)
        await self.town.begin(client_context())

    def _find_ways(self, trial: Trial) -> None:
        """Each node may have an address of its own for the same service."""
        assert self.nats is not None
        services = [("pg", each.host, each.port) for each in (self.primary, self.standby)]
        services.append(("nats", self.nats.host, self.nats.port))
        for node in trial.nodes:
            for service, host, port in services:
                there, at = self.net.way(self.place_of(node), service, host, port)
                node.config = node.config.replace(f"{host}:{port}", f"{there}:{at}")

    def _build_databases(self) -> None:
        host, inside = self.net.place("pg")
        primary = PostgresServer.make(_SETTINGS.format(host=host), host, inside)
        self.databases.append(primary)
        with open(primary.data / "pg_hba.conf", "a") as file:
            file.write("host all all samenet trust\nhost replication all samenet trust\n")
        self.primary = primary.start()
        primary.run("createdb", "-h", host, "-p", str(primary.port), "-U", "whimbrel", "whimbrel")
        self.standby = primary.copy().start()
        self.databases.append(self.standby)

    def _store_url(self) -> str:
        """Both hosts, as an installation with a standby has it."""
        both = ",".join(f"{each.host}:{each.port}" for each in (self.primary, self.standby))
        return f"postgresql://whimbrel@{both}/whimbrel"

    async def clear(self) -> None:
        if hasattr(self, "town"):
            await self.town.end()
        if hasattr(self, "doors"):
            await self.doors.__aexit__()
        if self.trial is not None:
            for node in self.nodes:
                await asyncio.to_thread(node.kill)
        if self.nats is not None:
            await asyncio.to_thread(self.nats.stop)
        for database in self.databases:
            await asyncio.to_thread(database.remove)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- the database ------------------------------------------------------------------------

    async def synchronous(self, on: bool) -> None:
        """Commits wait for the standby, or not; returns when it is so."""
        self.primary.configure(_SYNC.format(name="standby" if on else ""))
        assert self.primary.process is not None
        self.primary.process.send_signal(signal.SIGHUP)
        wanted = "sync" if on else "async"

        async def so() -> bool:
            states = await self.ask("SELECT sync_state FROM pg_stat_replication")
            return (wanted in [row[0] for row in states]) if on else True

        await eventually("the standby is in step", so)

    async def new_standby(self) -> None:
        """The standby has become the primary: the former primary's place is filled anew, under
        its old address, as one who operates it would do.
        """
        dead, self.primary = self.primary, self.standby

        def fill() -> None:
            fresh = self.primary.copy()
            fresh.port = dead.port
            self.databases.append(fresh)
            self.standby = fresh.start()

        await asyncio.to_thread(fill)
        self.databases.remove(dead)
        await asyncio.to_thread(dead.remove)
        await self.synchronous(True)

    async def alone(self, on: bool) -> None:
        """One PostgreSQL without a standby, or with one again."""
        if on:
            await self.synchronous(False)
            await asyncio.to_thread(self.standby.stop)
        else:
            await asyncio.to_thread(self.standby.start)
            await self.synchronous(True)

    async def ask(self, statement: str) -> list[Any]:
        db = await asyncpg.connect(self.primary.url("whimbrel"), timeout=5)
        try:
            return list(await db.fetch(statement, timeout=5))
        finally:
            db.terminate()

    async def owners(self) -> dict[str, TrialNode | None]:
        """By address: the node that owns the account now."""
        rows = await self.ask("SELECT id, owner FROM shard")
        shards = {row[0]: row[1] for row in rows}
        numbers = await self._numbers()
        return {
            p.address: numbers.get(shards[shard_of(account_number(p.address))])
            for p in self.town.people
        }

    async def _numbers(self) -> dict[int, TrialNode]:
        """The number that a node has in the database; its identity is its name."""
        rows = await self.ask("SELECT id, identity FROM node WHERE expires > clock_timestamp()")
        named = {node.name: node for node in self.nodes}
        return {row[0]: named[row[1]] for row in rows if row[1] in named}

    # ---- is all well? ------------------------------------------------------------------------

    async def balanced(self) -> None:
        """Every node has its share, and nothing has moved for a moment."""
        seen: list[Any] = []
        since_s = time.monotonic()

        async def steady() -> bool:
            nonlocal seen, since_s
            try:
                rows = await self.ask(
                    """SELECT owner, count(*), max(epoch) FROM shard WHERE owner IN
 (SELECT id FROM node WHERE expires > clock_timestamp() AND NOT draining) GROUP BY owner
 ORDER BY owner"""
                )
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False
            now = [tuple(row) for row in rows]
            if now != seen:
                seen, since_s = now, time.monotonic()
            counts = [row[1] for row in now]
            even = len(now) == NODES and sum(counts) == 4096 and max(counts) - min(counts) <= 1
            return even and time.monotonic() - since_s >= STEADY_S

        await eventually("every node has its share of shards", steady)

    async def all_ready(self) -> None:
        async def ready() -> bool:
            return all(self.doors.is_in(node) for node in self.nodes)

        await eventually("all nodes are ready", ready)

    async def homes(self) -> None:
        """Half of the pairs connect to the nodes that own them, the others anywhere."""
        owner = await self.owners()
        for n, person in enumerate(self.town.people):
            own = owner[person.address]
            if n % self.pairs % 2 == 0 and own is not None:
                person.go_to(own)
            else:
                person.go_to(self.nodes[(n + n // NODES) % NODES])

    async def all_fresh(self, since_s: float = 0.0) -> None:
        """Everybody is connected, and nobody has waited for long for a check mark; messages typed
        after `since_s` have them.
        """
        loop = asyncio.get_running_loop()

        async def fresh() -> bool:
            error = self.town.died()
            if error is not None:
                raise error
            now = loop.time()
            return all(
                p.node is not None and p.oldest() > max(since_s, now - FRESH_S)
                for p in self.town.people
            )

        await eventually("everybody can send again", fresh, 0.05)

    async def settled(self) -> list[Talker]:
        """Nobody types any more. Who waits for a mark that does not come; [] is right."""
        self.town.talk(False)

        async def quiet() -> bool:
            return all(p.is_quiet() for p in self.town.people)

        try:
            await eventually("all marks", quiet)
        except Stuck:
            return [p for p in self.town.people if not p.is_quiet()]
        return []

    def show_logs(self) -> None:
        """The last words of every node, when something did not come back."""
        for node in self.nodes:
            print(f"---- {node.name}")
            print("\n".join(node.log.read_text().splitlines()[-15:]), flush=True)
