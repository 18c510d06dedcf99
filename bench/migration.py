"""Moving a large installation from SQLite to PostgreSQL, with kill -9 in the middle.

Run `python -m bench.migration [--users 1000000] [--rows 5000000] [--kills 2]`. Makes an
installation (bench/installation.py), runs `whimbrel migrate`, kills it at random points of the
copying, and once while it compares, and runs it again to its end. Then, without asking the command:
every row of both sides is read in the order of its key and compared with its counterpart; a node
starts on the copy, serves a login and the message that waits there, and its sender gets the second
mark. PostgreSQL (with fsync) and NATS are its own, and gone afterwards.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import asyncpg

from bench import installation
from bench.accounts import address_of, key_of
from bench.hour import DURABLE
from bench.installation import Plan, peer_of
from bench.postgres import cpu_of
from bench.raw import RawClient, client_context, connect
from bench.waiting import until
from tests.postgres import PostgresServer
from trial.nats import NatsServer
from trial.nodes import COMMAND, Trial
from whimbrel.protocol import wire
from whimbrel.storage.moving import TABLES, Table
from whimbrel.storage.opening import FILE

SLICE = 10_000
LOOK_S = 0.02
PATIENCE_S = 60.0
COMPARE_S = 5e-6  # a row, at least: to kill it while it compares


class Run(NamedTuple):
    """One run of the command. cpu of it and of PostgreSQL, seconds; rows that were there after."""

    what: str
    wall_s: float
    cpu_s: float
    database_s: float
    peak_mib: float
    rows: int


# ---- the command ---------------------------------------------------------------------------


async def arrived(url: str) -> int:
    """Rows that the command has noted as brought. -1: it has noted nothing, or is through."""
    db = await asyncpg.connect(url)
    try:
        return int(await db.fetchval("SELECT coalesce(sum(rows), 0) FROM moving"))
    except asyncpg.UndefinedTableError:
        return -1
    finally:
        await db.close()


def _ended(pid: int) -> bool:
    """Without reaping it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _peak_mib(pid: int) -> float:
    """As wait4(2) tells it, it would be its parent's: memory of before exec(2) counts there."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0  # it has ended


def command(
    folder: Path, url: str, server: PostgresServer, kill_at: int, more_s: float = 0.0
) -> Run:
    """Run it. kill_at: when so many rows have arrived, and more_s later, it is killed; 0: never."""
    arguments = [sys.executable, *COMMAND, "migrate", "--from", f"sqlite:{folder}", "--to", url]
    before, began = cpu_of(server), time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(arguments, stdout=out, stderr=out)
        peak = 0.0
        while not _ended(process.pid):
            peak = max(peak, _peak_mib(process.pid))
            if kill_at and asyncio.run(arrived(url)) >= kill_at:
                time.sleep(more_s)
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(LOOK_S)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().decode().strip()
    wall = time.perf_counter() - began
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"whimbrel migrate ended with {process.returncode}: {said[-2_000:]}")
    print(said, end="\n" if said else "", flush=True)
    killed = "killed while it compared" if more_s else "killed while it copied"
    what = killed if process.returncode else "to its end"
    used = usage.ru_utime + usage.ru_stime
    database = cpu_of(server) - before
    return Run(what, wall, used, database, peak, asyncio.run(arrived(url)))


# ---- both sides, row by row ----------------------------------------------------------------


def key_of_table(table: Table) -> tuple[str, ...]:
    """By which both sides walk it: a rowid is no row's own."""
    if table.key != ("rowid",):
        return table.key
    return ("at_us",) if table.name == "dead_letter" else ("owner", _SECOND[table.name])


_SECOND = {"sent": "id", "inbox": "q", "document": "name", "archive": "id"}


async def compare(folder: Path, url: str) -> dict[str, tuple[int, int, int]]:
    """Table -> rows here, rows there, rows that differ from their counterpart."""
    source = apsw.Connection(str(folder / FILE), flags=apsw.SQLITE_OPEN_READONLY)
    db = await asyncpg.connect(url)
    found = {}
    for table in TABLES:
        columns, order = (
            ", ".join(table.fields),
            ", ".join(
                f'{name} COLLATE "C"' if table.fields[name] == "text" else name
                for name in key_of_table(table)
            ),
        )
        plain = order.replace(' COLLATE "C"', "")
        ours = iter(source.execute(f"SELECT {columns} FROM {table.name} ORDER BY {plain}"))
        differ = there = 0
        async with db.transaction(readonly=True):
            cursor = await db.cursor(f"SELECT {columns} FROM {table.name} ORDER BY {order}")
            while records := await cursor.fetch(SLICE):
                there += len(records)
                differ += sum(tuple(record) != next(ours, None) for record in records)
        counted: list[Any] = source.execute(f"SELECT count(*) FROM {table.name}").fetchall()
        here = int(counted[0][0])
        found[table.name] = (here, there, differ + max(0, here - there))
    await db.close()
    source.close()
    return found


# ---- a node on the copy --------------------------------------------------------------------


async def serve(trial: Trial, plan: Plan) -> str:
    """Somebody for whom a message waits logs in, and its sender after that."""
    port = int(trial.nodes[0].ready["native"])
    n = next(n for n in range(plan.users) if plan.waiting_for(n))
    c = plan.sent_by(peer_of(n))
    context = client_context()
    heard: list[Any] = []

    def hear(client: RawClient, messages: list[Any]) -> None:
        for message in messages:
            heard.append(message)
            q = getattr(message, "q", 0)
            if isinstance(message, wire.Message | wire.Receipt):
                client.send(wire.Confirm(q))

    phone = await connect(RawClient(address_of(n), key_of(n), 1, context, hear), "127.0.0.1", port)
    await until(lambda: any(isinstance(m, wire.Message) for m in heard), PATIENCE_S, "the message")
    message = next(m for m in heard if isinstance(m, wire.Message))
    assert (message.sender, message.c) == (address_of(peer_of(n)), c), message
    assert bytes(message.body) == installation.body_of(peer_of(n), c)
    heard.clear()
    key = key_of(peer_of(n))
    other = RawClient(address_of(peer_of(n)), key, 1, context, hear)
    await connect(other, "127.0.0.1", port)
    await until(
        lambda: any(isinstance(m, wire.Receipt) and m.delivered == message.id for m in heard),
        PATIENCE_S,
        "the second mark",
    )
    phone.close()
    other.close()
    return "login, the message that waited, and the second mark of its sender"


# ---- all of it -----------------------------------------------------------------------------


def play(folder: Path, url: str, server: PostgresServer, plan: Plan, kills: int) -> None:
    chance = random.Random()
    part = plan.rows * 8 // 10 // max(kills, 1)
    points = [plan.rows // 10 + n * part + chance.randrange(part) for n in range(kills)]
    runs = [command(folder, url, server, at) for at in points]
    if kills:
        comparing_s = chance.uniform(0.1, 0.9) * plan.rows * COMPARE_S
        runs.append(command(folder, url, server, plan.rows, comparing_s))
    if not runs or runs[-1].rows >= 0:
        runs.append(command(folder, url, server, 0))
    print(f"{'run':<26}{'wall s':>9}{'its CPU s':>11}{'PG CPU s':>10}{'peak MiB':>10}  rows there")
    for run in runs:
        rows = "all" if run.rows < 0 else f"{run.rows:,}"
        print(f"{run.what:<26}{run.wall_s:>9.1f}{run.cpu_s:>11.1f}{run.database_s:>10.1f}"
              f"{run.peak_mib:>10.0f}  {rows}")  # fmt: skip
    wall = sum(run.wall_s for run in runs)
    print(f"together {wall:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    began = time.perf_counter()
    found = asyncio.run(compare(folder, url))
    print(f"{'table':<14}{'SQLite':>12}{'PostgreSQL':>12}{'differ':>9}")
    for name, (here, there, differ) in found.items():
        print(f"{name:<14}{here:>12,}{there:>12,}{differ:>9,}")
    print(f"read and compared in the order of keys in {time.perf_counter() - began:.0f} s")
    here, there, differ = (sum(column) for column in zip(*found.values(), strict=True))
    assert here == there == plan.rows, (here, there)
    assert not differ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args()
    plan = Plan.of(options.users, options.rows)
    server = PostgresServer.make(DURABLE)
    with tempfile.TemporaryDirectory(prefix="whimbrel-migration-") as name:
        folder = Path(name)
        nats = NatsServer(folder / "nats")
        trial: Trial | None = None
        try:
            server.start()
            port = str(server.port)
            server.run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "whimbrel", "moved")
            url = server.url("moved")
            began = time.perf_counter()
            size = installation.make(folder / "data", plan)
            print(f"{plan.users:,} people, {plan.rows:,} rows, {size / 2**20:,.0f} MiB of SQLite, "
                  f"made in {time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
            play(folder / "data", url, server, plan, options.kills)
            nats.start()
            trial = Trial(folder / "nodes", url, nats.url, 1)
            began = time.perf_counter()
            trial.start()
            print(f"a node on it was ready in {time.perf_counter() - began:.1f} s", flush=True)
            print(f"served: {asyncio.run(serve(trial, plan))}")
        finally:
            if trial is not None:
                trial.stop()
            nats.stop()
            server.remove()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
