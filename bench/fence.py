"""The fence, tried: an owner is stopped (SIGSTOP) past its lease, another takes over and writes,
the first goes on. How many of its rows were accepted after that? The goal is none.

Run `python -m bench.fence [pauses]`. Two processes with leases of a second on a PostgreSQL of its
own; each commits without a break while it believes to own the shard, and prints what was
acknowledged. Every row carries the epoch of its writer, so the table itself tells.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from tests.postgres import PostgresServer, database_of
from tests.storage.samples import inbox
from whimbrel.cluster.leases import LeaseKeeper
from whimbrel.domain.batch import Batch
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.node.clock import SystemClock
from whimbrel.storage.postgres.store import PostgresStore

SHARD = 7
ACCOUNT = (1 << 40) + SHARD
LEASE_S, RENEW_S, MARGIN_S = 1.0, 0.25, 0.25
TAKEN_S_MAX = 60.0


# ---- a node --------------------------------------------------------------------------------


async def node(url: str, name: str) -> None:
    """Commit under the lease, for ever; print "q epoch" of what was acknowledged."""
    store = PostgresStore(url, Limits(), pace_s=0)
    await store.open()
    keeper = LeaseKeeper(
        url, name, SystemClock(), lease_s=LEASE_S, renew_s=RENEW_S, margin_s=MARGIN_S
    )
    store.ownership = keeper
    await keeper.start()
    while True:
        epoch = keeper.epoch(SHARD)
        if epoch < 0:
            await asyncio.sleep(0.005)
            continue
        q = time.time_ns()
        batch = Batch(1)
        batch.add(inbox(ACCOUNT, q, extra=epoch))
        batch.touched = {ACCOUNT: epoch}
        outcome = await _commit(store, batch)
        if outcome is Outcome.COMMITTED:
            print(q, epoch, flush=True)
        else:
            print("refused", outcome.value, flush=True)
            await _recover(store)


async def _commit(store: PostgresStore, batch: Batch) -> Outcome:
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    store.commit(batch, lambda outcome, why: answer.set_result(outcome))
    return await answer


def _set(answer: "asyncio.Future[bool]", sound: bool, why: str) -> None:
    answer.set_result(sound)


async def _recover(store: PostgresStore) -> None:
    sound = False
    while not sound:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        store.recover(partial(_set, answer))
        sound = await answer


# ---- who pauses them -----------------------------------------------------------------------


async def pause(url: str, pids: dict[int, int], pauses: int) -> None:
    """pids: node number -> process."""
    db = await asyncpg.connect(url)
    for n in range(pauses):
        owner = await _owner(db, set(pids))
        await asyncio.sleep(random.random() * 0.05)  # somewhere between two commits, or in one
        os.kill(pids[owner], signal.SIGSTOP)
        heir = await _owner(db, set(pids) - {owner})
        epoch = await db.fetchval("SELECT epoch FROM shard WHERE id = $1", SHARD)
        await _until(db, "SELECT EXISTS (SELECT FROM inbox WHERE extra >= $1)", epoch)
        os.kill(pids[owner], signal.SIGCONT)
        await _until(db, "SELECT count(*) > 1 FROM node WHERE expires > clock_timestamp()")
        if (n + 1) % 20 == 0:
            print(f"{n + 1} pauses, owner {heir}, epoch {epoch}", flush=True)
    await db.close()


async def _owner(db: Any, among: set[int]) -> int:
    deadline = time.monotonic() + TAKEN_S_MAX
    while time.monotonic() < deadline:
        owner = await db.fetchval("SELECT owner FROM shard WHERE id = $1", SHARD)
        if owner in among:
            return int(owner)
        await asyncio.sleep(0.02)
    raise AssertionError("the shard was not taken over")


async def _until(db: Any, statement: str, *arguments: object) -> None:
    deadline = time.monotonic() + TAKEN_S_MAX
    while not await db.fetchval(statement, *arguments):
        assert time.monotonic() < deadline, statement
        await asyncio.sleep(0.02)


async def numbers(url: str, count: int) -> dict[str, int]:
    db = await asyncpg.connect(url)
    await _until(  # both have started, and share everything
        db,
        """SELECT count(*) = $1 FROM
 (SELECT FROM shard WHERE owner IS NOT NULL GROUP BY owner HAVING count(*) = 4096 / $1) o""",
        count,
    )
    rows = await db.fetch("SELECT identity, id FROM node")
    await db.close()
    return {row[0]: row[1] for row in rows}


async def judge(url: str, logs: list[Path], pauses: int) -> int:
    """In the order in which they were written, epochs never go back; and nothing is missing."""
    db = await asyncpg.connect(url)
    rows = await db.fetch("SELECT q, extra FROM inbox ORDER BY xmin::text::bigint")
    await db.close()
    late = highest = 0
    for _, epoch in rows:
        late += epoch < highest
        highest = max(highest, epoch)
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    acknowledged = {
        (int(line[0]), int(line[1]))
        for line in lines
        if len(line) == 2 and line[0].isdigit()  # the log stands there too
    }
    lost = acknowledged - {(row[0], row[1]) for row in rows}
    refused = sum(line == ["refused", "fenced"] for line in lines)
    print(
        f"{pauses} pauses past the lease, {len(rows):,} rows written, {len(acknowledged):,} "
        f"acknowledged, {refused} commits refused by the fence; accepted from an old owner after "
        f"its takeover: {late}; acknowledged and lost: {len(lost)}"
    )
    return int(bool(late or lost))


def main(pauses: int) -> int:
    server = PostgresServer.make().start()
    url = database_of(server, "fence")
    logs = [server.folder / f"node-{name}" for name in "ab"]
    nodes = []
    try:
        for name, log in zip("ab", logs, strict=True):
            with open(log, "wb") as out:
                command = [sys.executable, "-m", "bench.fence", "node", url, name]
                nodes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
        known = asyncio.run(numbers(url, 2))
        pids = {known[name]: nodes[n].pid for n, name in enumerate("ab")}
        asyncio.run(pause(url, pids, pauses))
        for process in nodes:
            process.kill()
            process.wait()
        return asyncio.run(judge(url, logs, pauses))
    finally:
        for process in nodes:
            process.kill()
            process.wait()
        server.remove()


if __name__ == "__main__":
    if sys.argv[1:2] == ["node"]:
        asyncio.run(node(sys.argv[2], sys.argv[3]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
