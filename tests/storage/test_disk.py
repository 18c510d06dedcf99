"""A disk that is full or broken: nothing is acknowledged, nothing is lost, it recovers."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.faulty_disk import NAME, Disk, FaultyDisk
from tests.storage.holder import Holder, batch_of, sqlite
from tests.storage.samples import BOB, inbox
from whimbrel.domain.errors import Unready
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import InboxUpto
from whimbrel.domain.wants import FlightsWant

BODY = b"x" * 3_000


def numbers(held: Holder) -> list[int]:
    return [row[0] for row in held.get(FlightsWant(BOB, 0, 1 << 60, 10_000))]


@pytest.fixture
def disk() -> Iterator[Disk]:
    faults = Disk()
    vfs = FaultyDisk(faults)
    yield faults
    faults.repair()
    vfs.unregister()


@pytest.fixture
def held(tmp_path: Path, disk: Disk) -> Iterator[Holder]:
    holder = sqlite(tmp_path / "data", vfs=NAME)
    holder.put(inbox(BOB, 1, body=BODY))
    yield holder
    disk.repair()
    holder.store.close()


def test_a_full_disk_fails_the_commit_and_recovers_when_there_is_room(
    held: Holder, disk: Disk
) -> None:
    disk.full()
    outcome, reason = held.commit(inbox(BOB, 2, body=BODY))
    assert outcome is Outcome.FAILED
    assert "disk full" in reason
    for _ in range(2):
        sound, reason = held.recover()
        assert not sound
        assert "disk full" in reason
        assert held.commit(inbox(BOB, 2))[0] is Outcome.FAILED
        assert isinstance(held.load(FlightsWant(BOB, 0, 9, 9)), Unready)
    disk.repair()
    assert held.recover() == (True, "")
    assert numbers(held) == [1]
    held.put(inbox(BOB, 2))
    assert numbers(held) == [1, 2]


def test_room_for_a_few_pages_is_not_yet_a_recovery(held: Holder, disk: Disk) -> None:
    disk.full()
    assert held.commit(inbox(BOB, 2))[0] is Outcome.FAILED
    disk.nearly_full(writes=60)
    sound, reason = held.recover()
    assert not sound
    assert "disk full" in reason
    disk.repair()
    assert held.recover() == (True, "")


def test_a_real_limit_of_pages_says_disk_full_and_writes_nothing(lite: Holder) -> None:
    lite.put(inbox(BOB, 1, body=BODY))
    db = lite.store._db
    pages = db.execute("PRAGMA page_count").fetchall()[0][0]
    db.execute(f"PRAGMA max_page_count = {pages + 2}")
    outcome, reason = lite.commit(inbox(BOB, 2), inbox(BOB, 3, body=b"y" * 40_000))
    assert outcome is Outcome.FAILED
    assert "disk full" in reason
    assert lite.recover() == (True, "")  # a new connection knows no limit
    assert numbers(lite) == [1]
    lite.put(inbox(BOB, 2))


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_disk_error_at_commit_fails_and_what_failed_never_appears(
    held: Holder, disk: Disk, operation: str
) -> None:
    disk.broken(operation, "-wal")
    outcome, reason = held.commit(inbox(BOB, 2, body=BODY))
    assert outcome is Outcome.FAILED
    assert "disk error" in reason
    assert not held.recover()[0]
    disk.repair()
    assert held.recover() == (True, "")
    assert numbers(held) == [1]
    held.put(inbox(BOB, 3))
    again = held.reopen()
    assert numbers(again) == [1, 3]
    again.store.close()


def test_recovery_notices_that_fsync_is_still_broken(held: Holder, disk: Disk) -> None:
    disk.broken("sync")
    assert held.commit(inbox(BOB, 2))[0] is Outcome.FAILED
    sound, reason = held.recover()
    assert not sound
    assert "disk error" in reason


def test_a_checkpoint_that_fails_stops_commits_but_loses_nothing(held: Holder, disk: Disk) -> None:
    held.put(inbox(BOB, 2, body=BODY), inbox(BOB, 3))
    held.put(InboxUpto(BOB, 1))
    disk.broken("write", ".db")
    held.store._truncated_at = -1_000.0
    held.store.tick()
    outcome, reason = held.commit(inbox(BOB, 4))
    assert outcome is Outcome.FAILED
    assert "disk error" in reason
    disk.repair()
    assert held.recover() == (True, "")
    assert numbers(held) == [2, 3]


def test_starting_on_a_full_disk_is_refused_clearly(
    tmp_path: Path, held: Holder, disk: Disk
) -> None:
    disk.full()
    with pytest.raises(Unready) as caught:
        sqlite(tmp_path / "other", vfs=NAME)
    assert "disk full" in str(caught.value)


def test_a_failure_is_counted_and_commits_are_measured(lite: Holder) -> None:
    lite.put(inbox(BOB, 1), inbox(BOB, 2))
    assert lite.commit(inbox(BOB, 1))[0] is Outcome.FAILED
    statistics = lite.store.statistics
    assert (statistics.commits, statistics.rows, statistics.failed) == (1, 2, 1)
    assert 0 < statistics.commit_ms_last <= statistics.commit_ms_max
    assert statistics.wal_pages > 0


def test_the_log_is_copied_before_it_grows_without_bound(tmp_path: Path) -> None:
    held = sqlite(tmp_path, wal_pages_max=50)
    for q in range(1, 60):
        held.put(inbox(BOB, q, body=b"z" * 30_000))
    held.loop.run_posted()
    assert held.store.statistics.checkpoints > 3
    assert (tmp_path / "whimbrel.db-wal").stat().st_size < 200 * 4_200
    held.store.close()


def test_a_value_that_no_column_can_hold_fails_the_batch_only(lite: Holder) -> None:
    outcome, reason = lite.commit(inbox(BOB, 1), inbox(BOB, 2, extra=1 << 70))
    assert outcome is Outcome.FAILED
    assert "OverflowError" in reason
    assert lite.recover() == (True, "")
    assert numbers(lite) == []


def test_closing_finishes_the_running_commit_and_those_behind_it(tmp_path: Path) -> None:
    held = sqlite(tmp_path)
    outcomes: list[Outcome] = []
    for q in (1, 2, 3):
        held.store.commit(batch_of(inbox(BOB, q)), lambda outcome, why: outcomes.append(outcome))
    held.store.close()
    held.loop.run_posted()
    assert outcomes == [Outcome.COMMITTED] * 3
    again = sqlite(tmp_path)
    assert numbers(again) == [1, 2, 3]
    again.store.close()


def test_reads_see_no_row_before_its_commit_has_returned(lite: Holder) -> None:
    results: list[Outcome] = []
    gate = threading.Semaphore(0)
    lite.store._writer.do(lambda: gate.acquire(timeout=10) or None)
    lite.store.commit(batch_of(inbox(BOB, 1)), lambda outcome, why: results.append(outcome))
    assert numbers(lite) == []
    gate.release()
    lite.loop.run_until(lambda: results)
    assert numbers(lite) == [1]
