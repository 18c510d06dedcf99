"""Who may open a folder, and what is refused: lock, schema, damage, permissions."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.storage.holder import Holder, sqlite
from tests.storage.samples import ALICE, BOB, account, inbox
from whimbrel.domain.errors import Unready
from whimbrel.domain.rows import (
    AccountRow,
    CounterRow,
    DeadLetterRow,
    DeviceRow,
    InboxRow,
    PairRow,
    SentRow,
    SignupRow,
)
from whimbrel.domain.wants import Totals, UserWant
from whimbrel.storage import opening
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.schema import STEPS, migrate, schema_of

FILE = "whimbrel.db"


def closed_database(folder: Path, *, clean: bool = True) -> Path:
    """A database with rows in it, whose process has ended."""
    held = sqlite(folder)
    held.put(account(ALICE), *(inbox(BOB, q, body=b"x" * 500) for q in range(1, 200)))
    held.store.close()
    if not clean:
        edit(folder, "UPDATE meta SET clean = 0")
    return folder / FILE


def edit(folder: Path, sql: str) -> None:
    db = apsw.Connection(str(folder / FILE))
    db.execute(sql)
    db.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.close()


def refused(folder: Path) -> str:
    with pytest.raises(Unready) as caught:
        sqlite(folder)
    return str(caught.value)


# ---- the lock -------------------------------------------------------------------------------


def test_a_folder_in_use_names_the_process_that_uses_it(lite: Holder) -> None:
    text = refused(lite.store.folder)
    assert text == f"the data folder {lite.store.folder} is in use by process {os.getpid()}"
    lite.put(account(ALICE))


def test_the_lock_keeps_other_processes_out_and_ends_with_its_own(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from whimbrel.storage.lock import FolderLock\n"
        "lock = FolderLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert refused(tmp_path).endswith(f"is in use by process {other.pid}")
    finally:
        other.kill()
        other.communicate()
    FolderLock(tmp_path).release()


def test_a_closed_store_gives_the_folder_free(lite: Holder) -> None:
    lite.store.close()
    FolderLock(lite.store.folder).release()


def test_a_start_that_was_refused_gives_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage " * 1000)
    refused(tmp_path)
    FolderLock(tmp_path).release()


# ---- the schema -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("account", AccountRow),
        ("device", DeviceRow),
        ("sent", SentRow),
        ("inbox", InboxRow),
        ("pair", PairRow),
        ("signup", SignupRow),
        ("counter", CounterRow),
        ("dead_letter", DeadLetterRow),
    ],
)
def test_a_table_has_a_column_for_every_field(lite: Holder, table: str, row: type) -> None:
    db = apsw.Connection(str(lite.store.folder / FILE), flags=apsw.SQLITE_OPEN_READONLY)
    columns = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
    db.close()
    assert set(columns) == set(row.__struct_fields__)  # type: ignore[attr-defined]
    if "body" in columns:
        assert columns[-1] == "body" or columns[-2:] == ["body", "ref"]  # a later step


def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = closed_database(tmp_path)
    edit(tmp_path, f"UPDATE meta SET schema = {len(STEPS) + 4}")
    before = path.read_bytes()
    text = refused(tmp_path)
    assert f"schema {len(STEPS) + 4}" in text
    assert f"up to schema {len(STEPS)}" in text
    assert path.read_bytes() == before


def test_missing_steps_are_applied_once_and_keep_the_rows(tmp_path: Path) -> None:
    path = closed_database(tmp_path)
    db = apsw.Connection(str(path))
    steps = (*STEPS, "ALTER TABLE account ADD COLUMN mood TEXT; UPDATE account SET mood='fine'")
    for _ in range(2):
        migrate(db, schema_of(db, "x"), steps)
    assert schema_of(db, "x") == len(steps)
    assert db.execute("SELECT id, mood FROM account").fetchall() == [(ALICE, "fine")]
    db.close()


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    db = apsw.Connection(str(closed_database(tmp_path)))
    steps = (*STEPS, "DROP TABLE inbox; SELECT * FROM nothing")
    with pytest.raises(apsw.SQLError):
        migrate(db, schema_of(db, "x"), steps)
    assert schema_of(db, "x") == len(STEPS)
    assert db.execute("SELECT count(*) FROM inbox").fetchall() == [(199,)]
    db.close()


def test_a_database_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / FILE))
    db.execute("CREATE TABLE recipes(name); INSERT INTO recipes VALUES('soup')")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    assert "not one of Whimbrel" in refused(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_opening_raises_the_epoch_and_keeps_the_era(tmp_path: Path) -> None:
    closed_database(tmp_path)
    edit(tmp_path, "UPDATE meta SET era = 7")
    first = sqlite(tmp_path)
    assert first.store.era == 7
    second = first.reopen()
    assert second.store.era == 7
    second.store.close()
    db = apsw.Connection(str(tmp_path / FILE))
    assert db.execute("SELECT epoch, clean FROM meta").fetchall() == [(3, 1)]
    db.close()


# ---- damage ---------------------------------------------------------------------------------


def test_garbage_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    garbage = os.urandom(50_000)
    (tmp_path / FILE).write_bytes(garbage)
    text = refused(tmp_path)
    assert str(tmp_path / FILE) in text
    assert "is damaged" in text
    assert (tmp_path / FILE).read_bytes() == garbage


def smash(path: Path) -> bytes:
    """Overwrite the middle of a database; returns what the file holds then."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 8192] = b"\x5a" * 8192
    path.write_bytes(data)
    return bytes(data)


def test_damage_is_found_at_the_start_after_an_unclean_end(tmp_path: Path) -> None:
    path = closed_database(tmp_path, clean=False)
    data = smash(path)
    assert "is damaged" in refused(tmp_path)
    assert path.read_bytes() == data


def test_a_truncated_database_is_refused_after_an_unclean_end(tmp_path: Path) -> None:
    path = closed_database(tmp_path, clean=False)
    data = path.read_bytes()[: 4096 * 5]
    path.write_bytes(data)
    assert "is damaged" in refused(tmp_path)
    assert path.read_bytes() == data


def test_a_sound_database_opens_after_an_unclean_end(tmp_path: Path) -> None:
    closed_database(tmp_path, clean=False)
    held = sqlite(tmp_path)
    assert held.get(UserWant(ALICE)).account == account(ALICE)
    held.store.close()


def test_a_large_database_is_checked_while_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECK_BYTES_MAX", 0)
    path = closed_database(tmp_path, clean=False)
    smash(path)
    found: list[str] = []
    held = sqlite(tmp_path, on_damage=found.append)
    assert held.get(UserWant(ALICE)).account == account(ALICE)
    held.loop.run_until(lambda: found)
    assert found[0]
    held.store.close()


def test_a_clean_end_needs_no_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed_database(tmp_path)

    def never(db: apsw.Connection) -> str:
        raise AssertionError("checked although the end was clean")

    monkeypatch.setattr(opening, "check", never)
    sqlite(tmp_path).store.close()


# ---- permissions ------------------------------------------------------------------------------


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A folder that this process may read but not write, also when it runs as root."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="whimbrel-test-") as name:
        folder = Path(name) / "data"
        closed_database(folder)
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        for path in folder.iterdir():
            path.chmod(0o444)
        if root:
            os.seteuid(65_534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def test_a_read_only_folder_is_refused_clearly(foreign: Path) -> None:
    text = refused(foreign)
    assert text == f"the data folder {foreign} cannot be written: Permission denied"


def test_a_folder_that_cannot_be_made_is_refused_clearly(foreign: Path) -> None:
    assert "cannot be written" in refused(foreign / "deeper" / "still")


def test_a_read_only_database_is_refused_clearly(foreign: Path) -> None:
    if os.geteuid() == 65_534:
        os.seteuid(0)
    foreign.chmod(0o700)
    for path in foreign.iterdir():
        path.chmod(0o600)
    (foreign / FILE).chmod(0o400)
    if os.geteuid() == 0:
        for path in (foreign, *foreign.iterdir()):
            os.chown(path, 65_534, -1)
        os.seteuid(65_534)
    assert "read-only" in refused(foreign)


def test_totals_know_the_size_of_the_data(lite: Holder) -> None:
    lite.put(inbox(BOB, 1, body=b"x" * 100_000))
    assert lite.get(Totals())["data_bytes"] > 100_000


def test_a_lock_that_is_handed_over_is_never_free(tmp_path: Path) -> None:
    """Both hold it, until the second lets go."""
    first = FolderLock(tmp_path)
    second = FolderLock.taken_over(tmp_path, os.dup(first.fd))
    for lock in (first, second):
        with pytest.raises(Unready, match=f"in use by process {os.getpid()}"):
            FolderLock(tmp_path)
        lock.release()
    FolderLock(tmp_path).release()


def test_a_lock_of_another_folder_is_not_taken_over(tmp_path: Path) -> None:
    other = FolderLock(tmp_path / "other")
    (tmp_path / "mine").mkdir()
    FolderLock(tmp_path / "mine").release()
    with pytest.raises(Unready, match="not that of the data folder"):
        FolderLock.taken_over(tmp_path / "mine", os.dup(other.fd))
    other.release()
