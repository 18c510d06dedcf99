"""What the PostgreSQL store costs beside SQLite, for the same messages (bench/store.py).

Run `python -m bench.postgres [messages]`. Starts a PostgreSQL of its own (tests/postgres.py) with
its defaults for durability. Prints CPU of this process and of PostgreSQL per message, bytes of
its log per message, what the fence costs, and how tables grow while everything in them changes.
CPU counts; wall times depend on what else this machine does.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import asyncpg

from bench.store import FIRST, PAIRS, batches, cpu
from tests.postgres import PostgresServer, database_of
from tests.storage.samples import NAMES
from whimbrel.cluster import table
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import SHARDS
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome, Store
from whimbrel.storage.postgres.connections import connect
from whimbrel.storage.postgres.statements import COMMIT, arguments
from whimbrel.storage.postgres.store import PostgresStore
from whimbrel.storage.sqlite import SqliteStore

SIZES = (1, 10, 100, 1_000)  # messages in a batch
TICKS = os.sysconf("SC_CLK_TCK")
CHANGING = ("account", "device", "sent", "inbox", "pair", "shard")


def cpu_of(server: PostgresServer) -> float:
    """Seconds of CPU that PostgreSQL's processes have used since it started, ended ones too."""
    assert server.process is not None
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    used = 0  # fields 14-17 of proc(5): user, system, and those of children that ended
    for pid in (parent, *children):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used += sum(int(field) for field in fields[11 : 15 if pid == parent else 13])
    return used / TICKS


def touched(batch: Batch, epochs: dict[int, int]) -> Batch:
    owners = {*batch.accounts, *(key[0] for key in batch.pairs)}
    batch.touched = {account: epochs.get(account % SHARDS, 1) for account in owners}
    return batch


async def commit_all(store: Store, made: Iterable[Batch]) -> None:
    loop = asyncio.get_running_loop()
    for batch in made:
        answered: asyncio.Future[tuple[Outcome, str]] = loop.create_future()
        store.commit(batch, lambda *answer, to=answered: to.set_result(answer))
        outcome, reason = await answered
        assert outcome is Outcome.COMMITTED, reason


async def sqlite(messages: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-bench-"))
    store = SqliteStore(folder, asyncio.get_running_loop().call_soon_threadsafe, Limits())
    first = 1
    for size in SIZES:
        count = messages if size > 1 else messages // 10
        made = batches(first, count, size)
        before = cpu()
        await commit_all(store, made)
        first += count
        print(f"{'sqlite':<12}{size:>9,}{(cpu() - before) / count * 1e6:>14.1f}")
    store.close()
    shutil.rmtree(folder)


async def postgres(server: PostgresServer, url: str, messages: int) -> None:
    db = await connect(url)
    me = await table.claim(db, "bench", "", "", 3_600)
    epochs = dict(await table.take(db, me, range(SHARDS)))
    store = PostgresStore(url, Limits(), pace_s=0)
    await store.open()
    first = 1
    for size in SIZES:
        count = messages if size > 1 else messages // 10
        made = [touched(batch, epochs) for batch in batches(first, count, size)]
        await db.execute("CHECKPOINT")
        lsn = await db.fetchval("SELECT pg_current_wal_lsn()")
        ours, theirs = cpu(), cpu_of(server)
        began = time.perf_counter()
        await commit_all(store, made)
        wall = time.perf_counter() - began
        ours, theirs = cpu() - ours, cpu_of(server) - theirs
        wal = await db.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", lsn)
        first += count
        print(
            f"{'postgresql':<12}{size:>9,}{ours / count * 1e6:>14.1f}{theirs / count * 1e6:>14.1f}"
            f"{int(wal) / count:>12,.0f}{count / wall:>12,.0f}"
        )
    await fence(server, db, epochs, first, messages)
    store.close()
    await store.wait_closed()
    await db.close()


async def fence(
    server: PostgresServer, db: Any, epochs: dict[int, int], first: int, messages: int
) -> None:
    """The same batches with and without shards to compare, in turns."""
    used = {True: 0.0, False: 0.0}
    wal = {True: 0, False: 0}
    size, rounds = 100, 6
    count = messages // rounds // size * size
    for n in range(rounds * 2):
        fenced = n % 2 == 0
        made = [touched(batch, epochs) for batch in batches(first, count, size)]
        first += count
        for batch in made:
            if not fenced:
                batch.touched = {}
        calls = [arguments(batch) for batch in made]
        lsn = await db.fetchval("SELECT pg_current_wal_lsn()")
        before = cpu_of(server)
        for values in calls:
            assert await db.fetchval(COMMIT, *values) is True
        used[fenced] += cpu_of(server) - before
        wal[fenced] += int(await db.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", lsn))
    total = count * rounds
    print(
        f"fence, batches of {size}: PostgreSQL {used[True] / total * 1e6:.1f} us a message with, "
        f"{used[False] / total * 1e6:.1f} without; log {wal[True] / total:,.0f} and "
        f"{wal[False] / total:,.0f} bytes"
    )


async def growth(url: str) -> None:
    """Live and dead rows, HOT updates and sizes after all that."""
    db = await asyncpg.connect(url)
    print("table           rows     dead   updates      HOT  vacuums   heap KiB  indexes KiB")
    for row in await db.fetch(
        """SELECT relname, n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd,
 autovacuum_count, pg_table_size(relid) / 1024, pg_indexes_size(relid) / 1024
 FROM pg_stat_user_tables WHERE relname = ANY($1) ORDER BY relname""",
        CHANGING,
    ):
        name, live, dead, updates, hot, vacuums, heap, indexes = row
        part = f"{hot / updates:.0%}" if updates else "-"
        print(
            f"{name:<12}{live:>8,}{dead:>9,}{updates:>10,}{part:>9}{vacuums:>9}{heap:>11,}"
            f"{indexes:>13,}"
        )
    await db.close()


def main(messages: int) -> None:
    NAMES.update({FIRST + n: f"user{n}" for n in range(2 * PAIRS)})
    server = PostgresServer.make("fsync = on\nautovacuum_naptime = 5\n").start()
    run: Callable[..., Any] = asyncio.run
    try:
        url = database_of(server, "bench")
        print("store       msg/batch  cpu us/message  postgres us   wal bytes   message/s")
        run(sqlite(messages))
        run(postgres(server, url, messages))
        run(growth(url))
    finally:
        server.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
