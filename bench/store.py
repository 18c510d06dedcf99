"""What the SQLite store costs: microseconds per row operation, milliseconds per commit.

Run `python -m bench.store [accounts]`. One message is what the engine writes for it: a sent
row and an inbox row, both accounts, both devices, a pair; and for its confirmation a range
removal, marks, both pairs and a device. Prints a table; the last lines wake users.
"""

import asyncio
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from tests.storage.samples import NAMES, account, device, inbox, pair, sent
from whimbrel.domain.batch import Batch
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import DELIVERED, STORED, InboxUpto, SentMarks
from whimbrel.domain.wants import UserWant
from whimbrel.storage.sqlite import SqliteStore

PAIRS = 500
FIRST = 1 << 21


def message(batch: Batch, n: int) -> None:
    """The rows of message n, and of the confirmation of the one a round before."""
    a = FIRST + 2 * (n % PAIRS)
    b = a + 1
    add = batch.add
    add(account(a, last_id=n))
    add(account(b, tail=n))
    add(replace(device(a), submitted=n))
    add(replace(device(b), confirmed=n))
    add(sent(a, n, b, state=STORED, body=None))
    add(inbox(b, n, peer=a, body=b"x" * 40))
    add(replace(pair(b, a), stored_id=n))
    if n > PAIRS:
        add(InboxUpto(b, n - PAIRS))
        add(SentMarks(a, b, n - 2 * PAIRS, n - PAIRS, DELIVERED, "", n))
        add(replace(pair(a, b), peer_delivered_id=n))


def batches(first: int, messages: int, size: int) -> list[Batch]:
    made = []
    for start in range(first, first + messages, size):
        batch = Batch(start)
        for n in range(start, start + size):
            message(batch, n)
        made.append(batch)
    return made


def operations(batch: Batch) -> int:
    """Row operations that are executed, after coalescing."""
    return sum(
        len(rows)
        for rows in (
            batch.accounts,
            batch.devices,
            batch.sent,
            batch.inbox,
            batch.pairs,
            batch.inbox_upto,
            batch.sent_marks,
        )
    )


async def commit(store: SqliteStore, batch: Batch) -> None:
    answered = asyncio.get_running_loop().create_future()

    def done(outcome: Outcome, reason: str) -> None:
        answered.set_result((outcome, reason))

    store.commit(batch, done)
    outcome, reason = await answered
    assert outcome is Outcome.COMMITTED, reason


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def fill(store: SqliteStore, accounts: int) -> None:
    for start in range(0, accounts, 20_000):
        batch = Batch(start)
        for n in range(start, min(start + 20_000, accounts)):
            number = FIRST + (n * 0x9E3779B97F4A7C15 & (1 << 62) - 1)
            batch.add(account(number))
            batch.add(device(number))
        await commit(store, batch)
        store.tick()


async def measure(store: SqliteStore, first: int, size: int, messages: int) -> int:
    made = batches(first, messages, size)
    rows = sum(map(operations, made))
    times = []
    cpu_before, before = cpu(), time.perf_counter()
    for batch in made:
        at = time.perf_counter()
        await commit(store, batch)
        times.append((time.perf_counter() - at) * 1_000)
        store.tick()
    wall = time.perf_counter() - before
    used = cpu() - cpu_before
    times.sort()
    print(
        f"{size:>9} {rows / wall:>12,.0f} {used / rows * 1e6:>12.2f} {used / messages * 1e6:>12.1f}"
        f" {median(times):>12.2f} {times[int(len(times) * 0.99)]:>12.2f}"
        f" {store.statistics.checkpoint_ms_max:>14.1f}"
    )
    store.statistics.checkpoint_ms_max = 0.0
    return first + messages


async def main(accounts: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-bench-"))
    post = asyncio.get_running_loop().call_soon_threadsafe
    NAMES.update({FIRST + n: f"user{n}" for n in range(2 * PAIRS)})
    store = SqliteStore(folder, post, Limits())
    await fill(store, accounts)
    print(f"{accounts:,} other accounts")
    print(
        "msg/batch        rows/s   cpu us/row   cpu us/msg"
        "    commit p50    commit p99  checkpoint max"
    )
    first = await measure(store, 1, 100, 5_000)
    for size, messages in ((10, 5_000), (100, 30_000), (1_000, 30_000)):
        first = await measure(store, first, size, messages)
    store.close()
    before = time.perf_counter()
    store = SqliteStore(folder, post, Limits())
    print(f"start: {(time.perf_counter() - before) * 1_000:.1f} ms")
    numbers = [
        FIRST + (n * 0x9E3779B97F4A7C15 & (1 << 62) - 1) for n in range(min(accounts, 20_000))
    ]
    before = time.perf_counter()
    for start in range(0, len(numbers), 100):
        store.load([UserWant(number) for number in numbers[start : start + 100]], lambda rows: None)
    if numbers:
        print(f"waking: {(time.perf_counter() - before) / len(numbers) * 1e6:.1f} us a user")
    store.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
