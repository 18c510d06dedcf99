"""A process killed in the middle of commits: what was acknowledged is there, in order."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.holder import sqlite
from tests.storage.samples import BOB
from whimbrel.domain.wants import FlightsWant, UserWant

PROGRAM = """
import sys
from pathlib import Path
from tests.storage.holder import sqlite
from tests.storage.samples import BOB, account, inbox
from whimbrel.domain.rows import InboxUpto

held = sqlite(Path(sys.argv[1]), truncate_after_s=0.005, wal_pages_max=60)
q = int(sys.argv[2])
while True:
    rows = [inbox(BOB, q + n, body=b"b" * 900) for n in range(1, 6)]
    q += 5
    held.put(account(BOB, tail=q), *rows, InboxUpto(BOB, q - 500))
    print(q, flush=True)
    held.store.tick()
"""


def run_and_kill(folder: Path, first: int, commits: int) -> int:
    """Let a process write, kill it after so many commits; the last number it was promised."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(first)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    acknowledged = first
    try:
        for _ in range(commits):
            acknowledged = int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=10)[0].split()
    return int(rest[-1]) if rest else acknowledged


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_acknowledged_rows_survive_a_kill_and_batches_are_whole(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    tail = 0
    for _ in range(2):
        acknowledged = run_and_kill(tmp_path, tail, rng.randrange(1, 300))
        held = sqlite(tmp_path)
        tail = held.get(UserWant(BOB)).account.tail
        rows = [row[0] for row in held.get(FlightsWant(BOB, 0, 1 << 60, 10_000))]
        held.store.close()
        assert tail >= acknowledged
        assert tail % 5 == 0  # a batch is there wholly or not at all
        assert rows == list(range(max(1, tail - 499), tail + 1))
