"""An hour of an installation at a steady, modest load: does anything grow, or slow down?

Run `python -m bench.hour [--minutes 60] [--rate 100] [--nodes 3] [--pairs 200]`: PostgreSQL (with
fsync), NATS and the nodes as processes of their own on loopback. Every tenth recipient is away now
and then, so that inboxes fill and empty; the ledger of messages, which is kept for 30 days, goes
after ten minutes here, so that what should come to rest can. One row a minute: latency to both
marks, sizes of tables and indexes, log of the database, memory and CPU. At the end: what clients
saw, and what still grew in the last half. Writes bench/out/hour.tsv as it goes, and
bench/out/latest.json.
"""

import argparse
import asyncio
import os
import random
import ssl
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec

from bench import accounts
from bench.figures import Figure, write_json
from bench.meter import times
from bench.postgres import CHANGING, cpu_of
from bench.raw import RawClient, client_context
from bench.server import LIMITS
from tests.node.kill import Ledger, Person
from tests.postgres import PostgresServer
from trial.nats import NatsServer
from trial.nodes import Trial, TrialNode
from trial.people import create
from whimbrel.protocol import wire

OUT = Path(__file__).parent / "out"
DURABLE = "fsync = on\nautovacuum_naptime = 1min\nmax_wal_size = 1GB\n"
AWAY_S = (20.0, 90.0)  # how long a recipient stays away
UNANSWERED_MAX = 500  # of one sender, whose recipient may be away
SETTLE_S = 180.0
LEDGER_S = 600  # what is said of a message after it was delivered; 30 days by default
_pack = msgspec.msgpack.Encoder().encode


class Paced(Person):
    """Sends when it is told to, and remembers how long the marks took."""

    def __init__(self, ledger: Ledger, n: int, peer: str, sends: bool, pauses: bool) -> None:
        super().__init__(ledger, n, peer, sends)
        self.pauses = pauses  # it, or whom it writes to, is away now and then
        self.first_s: list[float] = []
        self.second_s: list[float] = []
        self._sent_s: dict[int, float] = {}  # c -> when
        self._open: deque[tuple[int, float]] = deque()  # id, when; without second mark

    def fill(self, client: RawClient) -> None:
        """Nothing by itself."""

    def say(self) -> bool:
        """One message, if it is connected and may."""
        client = self.client
        if client is None or not client.welcome.done() or client.welcome.cancelled():
            return False
        if client.closed.done() or len(self.unanswered) + len(self.waiting) >= UNANSWERED_MAX:
            return False
        c, self.next_c = self.next_c, self.next_c + 1
        body = msgspec.Raw(_pack(wire.Content(text=f"{self.address} {c} {'x' * 100}")))
        self.unanswered[c] = body
        self._sent_s[c] = time.perf_counter()
        client.send(wire.Submit(c, self.peer, body))
        client.flush()
        return True

    def on_batch(self, client: RawClient, messages: list[Any]) -> None:
        now = time.perf_counter()
        for message in messages:
            if isinstance(message, wire.Stored) and message.c in self._sent_s:
                began = self._sent_s.pop(message.c)
                self.first_s.append(now - began)
                self._open.append((message.id, began))
        super().on_batch(client, messages)

    def mark(self, delivered: int) -> None:
        """As its parent judges, but only what is new: an hour is long."""
        ledger, now = self.ledger, time.perf_counter()
        while self._open and self._open[0][0] <= delivered:
            id, began = self._open.popleft()
            self.second_s.append(now - began)
            if id not in ledger.shown_ids[self.address]:
                ledger.lies.append(f"two marks for {self.address}, which nobody saw")
        ledger.marked[self.address] = max(ledger.marked[self.address], delivered)
        self.waiting = {id for id in self.waiting if id > delivered}

    def show(self, message: wire.Message) -> None:
        sender, c, _ = self.unpack(bytes(message.body)).text.split(" ", 2)
        self.ledger.shown[sender].append(int(c))
        self.ledger.shown_ids[sender].add(message.id)

    def take(self) -> tuple[list[float], list[float]]:
        first, second = self.first_s, self.second_s
        self.first_s, self.second_s = [], []
        return first, second


class Row(NamedTuple):
    """One minute. *_mib of tables and indexes together; load: of the machine."""

    minute: int
    messages: int
    first_p50_ms: float
    first_p99_ms: float
    second_p50_ms: float
    second_p99_ms: float
    nodes_cpu_us: float
    database_cpu_us: float
    nats_cpu_us: float
    wal_bytes: float
    tables_kib: int
    indexes_kib: int
    waiting: int
    nodes_mib: float
    nats_mib: float
    load: float


class Hour:
    def __init__(
        self, trial: Trial, database: PostgresServer, nats: NatsServer, pairs: int
    ) -> None:
        self.trial, self.database, self.nats = trial, database, nats
        self.ledger = Ledger()
        self.chance = random.Random(7)
        self.people = [
            Paced(
                self.ledger, n, accounts.address_of((n + pairs) % (2 * pairs)), n < pairs,
                n % pairs % 10 == 9,
            )
            for n in range(2 * pairs)
        ]  # fmt: skip
        self.senders = self.people[:pairs]
        self.skipped = 0
        self.sizes: dict[str, tuple[int, int]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        context, nodes = client_context(), self.trial.nodes
        for n, person in enumerate(self.people):
            port = int(nodes[(n + n // len(nodes)) % len(nodes)].ready["native"])
            self._tasks.append(asyncio.create_task(self._live(person, port, context)))
        async with asyncio.timeout(60):
            while not all(p.client and p.client.welcome.done() for p in self.people):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _live(self, person: Paced, port: int, context: ssl.SSLContext) -> None:
        """Of those that pause: a minute here, a while away."""
        if person.sends or not person.pauses:
            await person.live(port, context)
            return
        while True:
            person.stop = False
            living = asyncio.create_task(person.live(port, context))
            await asyncio.sleep(self.chance.uniform(*AWAY_S))
            person.stop = True
            if person.client is not None:
                person.client.close()
            await living
            if not self.senders[0].sending:
                person.stop = False
                await person.live(port, context)
                return
            await asyncio.sleep(self.chance.uniform(*AWAY_S))

    async def talk(self, rate: float, until_s: float) -> None:
        """One after the other, so many a second."""
        due, turn = time.perf_counter(), 0
        while (now := time.perf_counter()) < until_s:
            while due <= now:
                self.skipped += not self.senders[turn % len(self.senders)].say()
                turn += 1
                due += 1 / rate
            await asyncio.sleep(max(0.001, due - now))

    async def settle(self) -> None:
        for person in self.people:
            person.sending = False
        async with asyncio.timeout(SETTLE_S):
            while any(p.unanswered or p.waiting for p in self.people):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def end(self) -> None:
        for person in self.people:
            person.stop = True
            if person.client is not None:
                person.client.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Reader:
    """What /proc and the database say, minute by minute."""

    def __init__(self, hour: Hour, db: Any) -> None:
        self.hour, self.db = hour, db
        self._before: tuple[float, ...] = ()

    async def start(self) -> None:
        self._before = await self._counters()

    async def _counters(self) -> tuple[float, ...]:
        hour = self.hour
        nodes = sum(sum(times(Path(f"/proc/{pid_of(n)}/stat"))) for n in hour.trial.nodes)
        assert hour.nats.process is not None
        nats = sum(times(Path(f"/proc/{hour.nats.process.pid}/stat")))
        lsn = await self.db.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        return nodes, cpu_of(hour.database), nats, float(lsn), float(hour.ledger.count())

    async def row(self, minute: int) -> Row:
        hour = self.hour
        first: list[float] = []
        second: list[float] = []
        for person in hour.senders:
            one, two = person.take()
            first += one
            second += [] if person.pauses else two
        before, self._before = self._before, await self._counters()
        nodes, database, nats, wal, count = (
            now - then for now, then in zip(self._before, before, strict=True)
        )
        hour.sizes = {
            row[0]: (row[1], row[2])
            for row in await self.db.fetch(
                "SELECT relname, pg_table_size(relid) / 1024, pg_indexes_size(relid) / 1024"
                " FROM pg_stat_user_tables"
            )
        }
        waiting = await self.db.fetchval("SELECT count(*) FROM inbox")
        per = 1e6 / max(count, 1)
        assert hour.nats.process is not None
        return Row(
            minute, int(count), *spread_ms(first), *spread_ms(second),
            round(nodes * per, 1), round(database * per, 1), round(nats * per, 1),
            round(wal / max(count, 1)),
            sum(hour.sizes.get(name, (0, 0))[0] for name in CHANGING),
            sum(hour.sizes.get(name, (0, 0))[1] for name in CHANGING),
            int(waiting),
            round(sum(rss_mib(pid_of(node)) for node in hour.trial.nodes), 1),
            round(rss_mib(hour.nats.process.pid), 1),
            round(os.getloadavg()[0], 2),
        )  # fmt: skip


def pid_of(node: TrialNode) -> int:
    assert node.process is not None
    return node.process.pid


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576


def spread_ms(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    if not ordered:
        return float("nan"), float("nan")
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return round(p50 * 1e3, 1), round(p99 * 1e3, 1)


def growth(rows: list[Row], name: str) -> float:
    """Percent of its middle value that a straight line through the last half gains in an hour."""
    half = rows[len(rows) // 2 :]
    values = [float(getattr(row, name)) for row in half]
    if len(values) < 3:
        return float("nan")
    slope = statistics.linear_regression([row.minute for row in half], values).slope
    return 100 * slope * 60 / max(statistics.median(values), 1e-9)


async def play(hour: Hour, url: str, options: argparse.Namespace) -> int:
    db = await asyncpg.connect(url)
    OUT.mkdir(exist_ok=True)
    rows: list[Row] = []
    file = OUT / "hour.tsv"
    file.write_text("\t".join(Row._fields) + "\n")
    print("\t".join(Row._fields), flush=True)
    await hour.begin()
    reader = Reader(hour, db)
    await reader.start()
    start_s = time.perf_counter()
    talking = asyncio.create_task(hour.talk(options.rate, start_s + options.minutes * 60))
    try:
        for minute in range(1, options.minutes + 1):
            await asyncio.sleep(max(0.0, start_s + minute * 60 - time.perf_counter()))
            rows.append(await reader.row(minute))
            text = "\t".join(str(value) for value in rows[-1])
            with file.open("a") as out:
                out.write(text + "\n")
            print(text, flush=True)
        await talking
        await hour.settle()
    finally:
        talking.cancel()
        await hour.end()
    await db.close()
    return report(hour, rows, options)


def report(hour: Hour, rows: list[Row], options: argparse.Namespace) -> int:
    verdict = hour.ledger.verdict()
    print(f"clients: {verdict}; not sent because its sender was held up: {hour.skipped}")
    for name, (table, index) in sorted(hour.sizes.items()):
        if name in CHANGING:
            print(f"{name:>10}: table {table:,} KiB, indexes {index:,} KiB")
    figures: dict[str, Figure] = {}
    for name in Row._fields[2:]:
        values = [float(getattr(row, name)) for row in rows]
        grown = growth(rows, name)
        figures[f"hour_{name}"] = Figure(statistics.median(values))
        figures[f"hour_{name}_growth_percent_per_hour"] = Figure(grown)
        print(
            f"{name:>16}: first {values[0]:,.1f}  median {statistics.median(values):,.1f}"
            f"  last {values[-1]:,.1f}  largest {max(values):,.1f}"
            f"  last half gains {grown:+.1f}% an hour"
        )
    figures.update({f"hour_{name}_messages": Figure(n) for name, n in verdict.items()})
    about = {"minutes": options.minutes, "rate_per_s": options.rate, "nodes": options.nodes}
    write_json(OUT / "latest.json", figures, about)
    return int(any(n for name, n in verdict.items() if name != "acknowledged"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    database = PostgresServer.make(DURABLE)
    with tempfile.TemporaryDirectory(prefix="whimbrel-hour-") as name:
        folder = Path(name)
        nats = NatsServer(folder / "nats")
        trial: Trial | None = None
        try:
            database.start()
            database.run(
                "createdb", "-h", "127.0.0.1", "-p", str(database.port), "-U", "whimbrel", "hour"
            )
            url = database.url("hour")
            nats.start()
            asyncio.run(create(url, 2 * options.pairs))
            limits = f"{LIMITS}ledger_s = {LEDGER_S}\n"
            trial = Trial(folder / "nodes", url, nats.url, options.nodes, limits).start()
            hour = Hour(trial, database, nats, options.pairs)
            return asyncio.run(play(hour, url, options))
        finally:
            if trial is not None:
                trial.stop()
            nats.stop()
            database.remove()


if __name__ == "__main__":
    raise SystemExit(main())
