"""Law 4: a removed body is in no file of the folder: database, log, free pages."""

import random
from pathlib import Path

import apsw
import pytest

from tests.storage.holder import Holder, sqlite
from tests.storage.samples import ALICE, BOB, account, inbox, sent
from whimbrel.domain.rows import REFUSED, STORED, InboxGone, InboxUpto, SentForgetAll, SentState
from whimbrel.domain.wants import FlightsWant, InboxWant
from whimbrel.storage import scrub


def mark(n: int) -> bytes:
    """16 bytes that stand nowhere else."""
    return random.Random(f"body {n}").randbytes(16)


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


class Seconds:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def held(tmp_path: Path, clock: Seconds) -> Holder:
    return sqlite(tmp_path / "data", monotonic=clock)


def tick(held: Holder, clock: Seconds) -> None:
    """A second passes; wait until the checkpoint that it starts has ended."""
    clock.now += 2.0
    before = held.store.statistics.checkpoints
    held.store.tick()
    held.loop.run_until(lambda: held.store.statistics.checkpoints > before)


@pytest.mark.parametrize("size", [1, 10, 2_560])
def test_a_confirmed_body_is_gone_after_a_tick(held: Holder, clock: Seconds, size: int) -> None:
    bodies = [mark(n) * size for n in range(8)]  # up to 40 KB: overflow pages
    held.put(account(BOB), *(inbox(BOB, q, body=bodies[q - 1]) for q in range(1, 9)))
    assert mark(0) in everything(held.store.folder)
    held.put(InboxGone(BOB, 7), InboxUpto(BOB, 4))
    tick(held, clock)
    found = everything(held.store.folder)
    assert [mark(n) in found for n in range(8)] == [False] * 4 + [True, True, False, True]
    held.store.close()


def test_a_tick_wipes_also_when_nothing_is_written_any_more(held: Holder, clock: Seconds) -> None:
    held.put(inbox(BOB, 1, body=mark(1)))
    tick(held, clock)
    held.put(InboxUpto(BOB, 1))
    held.store.tick()  # too soon: nothing happens
    assert mark(1) in everything(held.store.folder)
    tick(held, clock)
    assert mark(1) not in everything(held.store.folder)
    held.store.close()


@pytest.mark.parametrize("size", [1, 2_560])
def test_a_body_that_waited_in_the_sent_log_is_gone(
    held: Holder, clock: Seconds, size: int
) -> None:
    held.put(*(sent(ALICE, id, BOB, body=mark(id) * size) for id in (1, 2, 3)))
    held.put(sent(BOB, 4, ALICE, body=mark(4) * size))
    tick(held, clock)
    assert all(mark(id) in everything(held.store.folder) for id in (1, 2, 3, 4))
    held.put(SentState(ALICE, 1, STORED, "", 5), SentState(ALICE, 2, REFUSED, "blocked", 5))
    held.put(SentForgetAll(BOB))
    tick(held, clock)
    found = everything(held.store.folder)
    assert [mark(id) in found for id in (1, 2, 3, 4)] == [False, False, True, False]
    held.store.close()


def test_closing_wipes_too(held: Holder) -> None:
    held.put(inbox(BOB, 1, body=mark(1)))
    held.put(InboxUpto(BOB, 1))
    held.store.close()
    assert mark(1) not in everything(held.store.folder)


def test_a_reader_in_the_way_only_delays_the_wipe(held: Holder, clock: Seconds) -> None:
    held.put(inbox(BOB, 1, body=mark(1)))
    other = apsw.Connection(str(held.store.folder / "whimbrel.db"))
    other.execute("BEGIN; SELECT count(*) FROM inbox")
    held.put(InboxUpto(BOB, 1))
    clock.now += 2.0
    held.store.tick()
    held.put(account(BOB))  # queues behind the checkpoint that could not finish
    assert mark(1) in everything(held.store.folder)
    other.execute("COMMIT")
    other.close()
    tick(held, clock)
    assert mark(1) not in everything(held.store.folder)
    held.store.close()


def churn(held: Holder, clock: Seconds, seed: int, rounds: int) -> tuple[set[int], set[int]]:
    """Pages split, fill and merge; returns the numbers of dead and living bodies."""
    rng = random.Random(seed)
    tails = dict.fromkeys(range(100, 140), 0)
    living: dict[tuple[int, int], int] = {}
    dead: set[int] = set()
    n = seed * 1_000_000
    for step in range(rounds):
        rows: list[InboxUpto | InboxGone | object] = []
        for _ in range(rng.randrange(1, 40)):
            owner = rng.choice(list(tails))
            tails[owner] += 1
            n += 1
            size = rng.choice((1, 2, 6, 25, 60, 190, 560)) if rng.random() < 0.3 else 3
            rows.append(inbox(owner, tails[owner], body=mark(n) * size))
            living[(owner, tails[owner])] = n
        for _ in range(rng.randrange(0, 6)):
            owner = rng.choice(list(tails))
            upto = tails[owner] - rng.randrange(0, 5)
            rows.append(InboxUpto(owner, upto))
            gone = [key for key in living if key[0] == owner and key[1] <= upto]
            dead.update(living.pop(key) for key in gone)
        held.put(*rows)  # type: ignore[arg-type]
        if step % 25 == 24:
            tick(held, clock)  # the last round too
    return dead, set(living.values())


def test_no_body_survives_splits_and_merges_of_pages(held: Holder, clock: Seconds) -> None:
    for seed in (1, 2):
        dead, living = churn(held, clock, seed, 250)
        assert len(dead) > 2_000
        found = everything(held.store.folder)
        assert [n for n in dead if mark(n) in found] == []
        assert all(mark(n) in found for n in living)
        for owner in range(100, 140):
            held.put(InboxUpto(owner, 1 << 40))
    held.store.close()
    check = apsw.Connection(str(held.store.folder / "whimbrel.db"))
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


def test_without_scrubbing_sqlite_leaves_some_bodies_behind(
    held: Holder, clock: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why scrub.py exists: if this fails, SQLite has closed the gap and the file can go."""
    monkeypatch.setattr(scrub, "_scrub", lambda db, frames, vfs: 0)
    survivors = 0
    for seed in (1, 2, 3):
        dead, _ = churn(held, clock, seed, 250)
        found = everything(held.store.folder)
        survivors += sum(mark(n) in found for n in dead)
        for owner in range(100, 140):
            held.put(InboxUpto(owner, 1 << 40))
    held.store.close()
    assert survivors > 0


def test_scrubbed_pages_still_hold_every_living_row(held: Holder, clock: Seconds) -> None:
    _, living = churn(held, clock, 4, 250)
    again = held.reopen()
    bodies = set()
    for owner in range(100, 140):
        for q, *_ in again.get(FlightsWant(owner, 0, 1 << 60, 10_000)):
            rows, _ = again.get(InboxWant(owner, q - 1, q, 1, 1))
            bodies.add(rows[0][0].body[:16])
    assert bodies == {mark(n) for n in living}
    again.store.close()


def test_a_body_of_a_process_that_was_killed_is_wiped_at_the_next_start(held: Holder) -> None:
    held.put(inbox(BOB, 1, body=mark(1)), inbox(BOB, 2, body=mark(2)))
    held.put(InboxUpto(BOB, 1))
    copy = held.store.folder.parent / "copy"
    copy.mkdir()
    for path in held.store.folder.iterdir():  # what a kill would leave behind
        (copy / path.name).write_bytes(path.read_bytes())
    held.store.close()
    assert mark(1) in everything(copy)
    again = sqlite(copy)
    found = everything(copy)
    assert (mark(1) in found, mark(2) in found) == (False, True)
    again.store.close()
