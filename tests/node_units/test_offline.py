"""Administration on the data folder itself, while no server runs; and refused while one does."""

import asyncio
import os
from hashlib import sha256
from pathlib import Path

import pytest

from tests.edge.house import house
from whimbrel.domain.errors import BadAddress, Exists, NotFound, Unready
from whimbrel.node import offline
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE


def test_an_account_is_added_listed_reset_and_deleted(tmp_path: Path) -> None:
    first = offline.add(tmp_path, "alice")
    assert first.account == "alice"
    assert len(first.key) == 43
    offline.add(tmp_path, "bob")
    assert offline.list_(tmp_path) == ["alice", "bob"]
    again = offline.reset(tmp_path, "alice")
    assert again.key != first.key
    offline.delete(tmp_path, "alice")
    assert offline.list_(tmp_path) == ["bob"]


def test_what_cannot_be_done_is_refused_by_name(tmp_path: Path) -> None:
    offline.add(tmp_path, "alice")
    with pytest.raises(Exists):
        offline.add(tmp_path, "alice")
    with pytest.raises(NotFound):
        offline.reset(tmp_path, "carol")
    with pytest.raises(NotFound):
        offline.delete(tmp_path, "carol")
    with pytest.raises(BadAddress):
        offline.add(tmp_path, "no spaces, please")


def test_a_folder_named_by_mistake_gets_no_database(tmp_path: Path) -> None:
    for action in (offline.list_, lambda folder: offline.delete(folder, "alice")):
        with pytest.raises(Unready, match="no database"):
            action(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_while_a_server_runs_on_the_folder_it_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path):
        with pytest.raises(Unready, match="in use"):
            await asyncio.to_thread(offline.add, tmp_path, "alice")


def test_more_accounts_than_one_page_are_all_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "PAGE", 2)
    names = ["ann", "ben", "cem", "dan", "eve"]
    for name in reversed(names):
        offline.add(tmp_path, name)
    assert offline.list_(tmp_path) == names


def test_only_the_hash_of_a_key_is_kept(tmp_path: Path) -> None:
    key = offline.add(tmp_path, "alice").key
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert key.encode() not in data
    assert sha256(key.encode()).digest() in data


def test_a_damaged_database_is_named_and_not_touched(tmp_path: Path) -> None:
    offline.add(tmp_path, "alice")
    damaged = b"no database, but somebody's letters" * 200
    (tmp_path / FILE).write_bytes(damaged)
    for action in (offline.list_, lambda folder: offline.add(folder, "bob")):
        with pytest.raises(Unready, match="damaged"):
            action(tmp_path)
    assert (tmp_path / FILE).read_bytes() == damaged


def test_the_folder_is_free_again_after_every_action_also_after_a_refused_one(
    tmp_path: Path,
) -> None:
    offline.add(tmp_path, "alice")
    with pytest.raises(Exists):
        offline.add(tmp_path, "alice")
    FolderLock(tmp_path).release()


def test_what_is_refused_is_named_with_the_process_that_has_the_folder(tmp_path: Path) -> None:
    offline.add(tmp_path, "alice")
    lock = FolderLock(tmp_path)
    with pytest.raises(Unready, match=f"in use by process {os.getpid()}"):
        offline.list_(tmp_path)
    lock.release()
    assert offline.list_(tmp_path) == ["alice"]


def test_a_name_in_capitals_is_the_same_account(tmp_path: Path) -> None:
    assert offline.add(tmp_path, "Alice").account == "alice"
    offline.delete(tmp_path, "ALICE")
    assert offline.list_(tmp_path) == []


def test_who_registers_again_after_a_deletion_gets_another_device_number(tmp_path: Path) -> None:
    """Numbers only grow, so that an old device is never taken for the new one."""
    first = offline.add(tmp_path, "alice")
    offline.delete(tmp_path, "alice")
    assert offline.add(tmp_path, "alice").device > first.device
