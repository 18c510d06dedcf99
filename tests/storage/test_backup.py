"""Backup and restore: whole or not at all, one moment, a new era, nothing destroyed."""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

import whimbrel.storage.backup as backup_module
from bench import accounts
from whimbrel.domain.errors import Unready
from whimbrel.domain.limits import Limits
from whimbrel.storage.backup import MANIFEST, Manifest, back_up, read_manifest, restore
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE
from whimbrel.storage.sqlite import SqliteStore

PEOPLE = 300


def quiet(done: int, total: int) -> None:
    """No progress bar."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    accounts.create(folder, PEOPLE)
    (folder / "admin.token").write_text("token")
    (folder / "certificate.pem").write_text("certificate")
    return folder


@pytest.fixture
def backup(folder: Path, tmp_path: Path) -> Path:
    back_up(folder, tmp_path / "backup", quiet)
    return tmp_path / "backup"


def era_of(folder: Path) -> int:
    with closing(apsw.Connection(str(folder / FILE))) as db:
        era = db.execute("SELECT era FROM meta").get
    assert isinstance(era, int)
    return era


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != "lock"}


def test_a_backup_has_everything_and_is_private(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = back_up(folder, tmp_path / "backup", lambda done, all_: seen.append((done, all_)))
    assert manifest.accounts == PEOPLE
    assert set(manifest.sha256) == {FILE, "admin.token", "certificate.pem"}
    assert read_manifest(tmp_path / "backup") == manifest
    assert seen[-1][0] == seen[-1][1] > 0, "the bar reaches its end"
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    for path in (tmp_path / "backup").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.fixture
def busy(folder: Path) -> Iterator[SqliteStore]:
    """A store that has the database open, as a server has."""
    store = SqliteStore(folder, lambda call: call(), Limits(), on_damage=print)
    yield store
    store.close()


def test_a_backup_is_of_one_moment_while_others_write(
    busy: SqliteStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "STEP_PAGES", 2)
    writer = apsw.Connection(str(folder / FILE))
    writer.set_busy_timeout(5_000)

    def write_on(done: int, total: int) -> None:
        """Between two steps somebody registers: the step must not begin anew."""
        n = done + 1_000_000
        writer.execute("INSERT INTO account VALUES(?, ?, 0,0,0,0,0,0,0,0,0,0,0)", (n, f"late-{n}"))

    manifest = back_up(folder, tmp_path / "backup", write_on)
    late = writer.execute("SELECT count(*) FROM account WHERE address LIKE 'late-%'").get
    writer.close()
    assert isinstance(late, int)
    assert late > 0
    with closing(apsw.Connection(str(tmp_path / "backup" / FILE))) as copy:
        assert copy.execute("SELECT count(*) FROM account").get == PEOPLE == manifest.accounts
        assert copy.execute("PRAGMA integrity_check").get == "ok"


def test_a_backup_never_overwrites_and_a_failed_one_leaves_nothing(
    folder: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(Unready, match="exists already"):
        back_up(folder, taken, quiet)
    assert list(taken.iterdir()) == []

    def fail(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Unready, match="cannot be written: No space left"):
        back_up(folder, tmp_path / "full", fail)
    with pytest.raises(Unready, match="there is no database"):
        back_up(tmp_path, tmp_path / "nothing", quiet)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "taken"}


def test_a_restored_folder_is_the_backup_in_a_new_era(backup: Path, tmp_path: Path) -> None:
    before = int(time.time())
    era, aside = restore(backup, tmp_path / "new", False)
    assert aside is None
    assert era == era_of(tmp_path / "new") >= before > era_of(backup)
    assert (tmp_path / "new" / "admin.token").read_text() == "token"
    for path in (tmp_path / "new").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    store = SqliteStore(tmp_path / "new", lambda call: call(), Limits(), on_damage=print)
    assert store.era == era
    store.close()
    with closing(apsw.Connection(str(tmp_path / "new" / FILE))) as db:
        lowest = db.execute("SELECT min(last_device) FROM account").get
    assert isinstance(lowest, int)
    assert lowest > 256, "no device number is used again"


def test_two_restores_of_one_backup_are_two_eras(backup: Path, tmp_path: Path) -> None:
    first, _ = restore(backup, tmp_path / "new", False)
    second, _ = restore(backup, tmp_path / "new", True)
    assert second > first


def test_what_was_there_is_kept_aside_and_only_when_that_was_wanted(
    backup: Path, folder: Path
) -> None:
    (folder / "note.txt").write_text("of the operator")
    was = files(folder)
    with pytest.raises(Unready, match="has a database already: add --replace"):
        restore(backup, folder, False)
    assert files(folder) == was
    _, aside = restore(backup, folder, True)
    assert aside is not None
    assert files(aside) == was
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700
    assert "note.txt" not in files(folder)


def test_a_running_server_is_not_restored_over(backup: Path, folder: Path) -> None:
    lock = FolderLock(folder)
    try:
        was = files(folder)
        with pytest.raises(Unready, match=f"in use by process {os.getpid()}"):
            restore(backup, folder, True)
        assert files(folder) == was
    finally:
        lock.release()


def change(backup: Path, **facts: object) -> None:
    manifest = json.loads((backup / MANIFEST).read_text())
    (backup / MANIFEST).write_text(json.dumps({**manifest, **facts}))


def test_a_newer_backup_is_refused_by_name(backup: Path, tmp_path: Path) -> None:
    change(backup, schema=99, whimbrel="9.9")
    with pytest.raises(Unready, match=r"made by Whimbrel 9\.9 \(schema 99\).*newer"):
        restore(backup, tmp_path / "new", False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [FILE, "admin.token"])
def test_a_damaged_backup_is_refused_by_name(backup: Path, tmp_path: Path, name: str) -> None:
    whole = bytearray((backup / name).read_bytes())
    whole[len(whole) // 2] ^= 1
    (backup / name).write_bytes(whole)
    with pytest.raises(Unready, match=f"is damaged: {name} is not what"):
        restore(backup, tmp_path / "new", False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (None, "is no backup"),
        (b"{", "cannot be read"),
        (b'{"whimbrel": 1}', "cannot be read"),
    ],
)
def test_what_is_no_backup_is_refused_by_name(
    backup: Path, tmp_path: Path, manifest: bytes | None, words: str
) -> None:
    (backup / MANIFEST).unlink()
    if manifest is not None:
        (backup / MANIFEST).write_bytes(manifest)
    with pytest.raises(Unready, match=words):
        restore(backup, tmp_path / "new", False)


def test_a_manifest_cannot_point_elsewhere(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    manifest = read_manifest(backup)
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    change(backup, sha256={**manifest.sha256, "../outside": digest})
    with pytest.raises(Unready, match="is damaged"):
        restore(backup, tmp_path / "new", False)
    change(backup, sha256={})
    with pytest.raises(Unready, match="names no database"):
        restore(backup, tmp_path / "new", False)
    assert isinstance(msgspec.json.encode(manifest), bytes)
    assert isinstance(manifest, Manifest)
