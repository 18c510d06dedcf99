"""The data folder is the server's alone: 0700, its files 0600, whatever the umask was.

The real server in a process of its own, started with umask 0; then what it finds open.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.server import COMMAND, Server
from tests.node.kill import kill
from whimbrel.cli.home import Account, Home
from whimbrel.client.sqlite_store import SqliteClientStore
from whimbrel.domain.errors import Unready
from whimbrel.domain.limits import Limits
from whimbrel.edge.certificate import self_signed
from whimbrel.node.secret_files import secret_file
from whimbrel.storage.backup import back_up, restore
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE
from whimbrel.storage.private import close_folder, exposed
from whimbrel.storage.sqlite import SqliteStore


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    """Children take it over."""
    old = os.umask(0)
    yield
    os.umask(old)


def modes(folder: Path) -> dict[str, int]:
    """Permissions of a folder and of everything in it."""
    found = {".": stat.S_IMODE(folder.stat().st_mode)}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = stat.S_IMODE(path.stat().st_mode)
    return found


def open_ones(folder: Path) -> dict[str, str]:
    """What group or others may touch."""
    return {name: f"{mode:o}" for name, mode in modes(folder).items() if mode & 0o077}


# ---- the server -------------------------------------------------------------------------


def test_folder_and_files_are_closed_from_the_first_start_to_the_last(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        first = modes(server.data)
        assert {FILE, f"{FILE}-wal", f"{FILE}-shm", "lock", "admin.json", "admin.token",
                "pin.secret", "certificate.pem", "certificate-key.pem"} <= set(first)  # fmt: skip
        assert open_ones(server.data) == {}
        assert stat.S_IMODE((tmp_path / "ready.json").stat().st_mode) == 0o600
        kill(server)
        server.start()
        assert open_ones(server.data) == {}
        assert "was open" not in server.said()
        backup = tmp_path / "backup"
        back_up(server.data, backup, lambda done, total: None)
        assert open_ones(backup) == {}
    assert open_ones(server.data) == {}
    restore(backup, server.data, replace=True)
    assert open_ones(server.data) == {}


def test_accounts_made_without_a_server_lie_in_a_closed_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    command = [sys.executable, *COMMAND, "user", "add", "alice", "--data", str(data)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert open_ones(data) == {}
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_folder_that_stood_open_is_closed_and_the_log_says_so(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        pass
    server.data.chmod(0o755)
    (server.data / "pin.secret").chmod(0o644)
    with server:
        assert open_ones(server.data) == {}
    assert server.said().count("was open to other users of this machine") == 1
    assert '"pin.secret"' in server.said()


def test_each_file_is_made_closed_also_by_a_program_that_keeps_no_umask(tmp_path: Path) -> None:
    """A test, a tool, another front end: the umask of the command is not theirs."""
    data = tmp_path / "deep" / "data"
    store = SqliteStore(data, lambda call: None, Limits())
    try:
        self_signed(data, "localhost")
        secret_file(data / "admin.token", 32)
        assert {FILE, f"{FILE}-wal", f"{FILE}-shm"} <= set(modes(data))
        assert open_ones(data) == {}
    finally:
        store.close()


# ---- what is closed, what is refused ----------------------------------------------------


def test_an_empty_folder_is_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o777)
    FolderLock(data).release()
    assert open_ones(data) == {}


def test_rights_are_only_taken_never_given(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(mode=0o444)
    tmp_path.chmod(0o755)
    close_folder(tmp_path)
    assert modes(tmp_path) == {".": 0o700, FILE: 0o400}


def test_a_folder_with_other_things_in_it_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "thesis.txt").touch(mode=0o644)
    tmp_path.chmod(0o755)
    with pytest.raises(Unready, match="not Whimbrel's alone: name a folder of its own"):
        FolderLock(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "thesis.txt").stat().st_mode) == 0o644


def test_a_folder_for_everybody_is_never_closed(tmp_path: Path) -> None:
    """Like /tmp: the sticky bit says that many share it."""
    (tmp_path / FILE).touch()
    tmp_path.chmod(0o1777)
    with pytest.raises(Unready, match="open to others"):
        FolderLock(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_a_folder_that_cannot_be_closed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's folder, or a disk that knows no rights: chmod fails or does nothing."""
    tmp_path.chmod(0o755)

    def not_ours(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    for chmod in (not_ours, lambda path, mode: None):
        monkeypatch.setattr(Path, "chmod", chmod)
        with pytest.raises(Unready, match=r"cannot be closed .* chmod 700"):
            FolderLock(tmp_path)
    monkeypatch.undo()


def test_a_refused_folder_is_given_free(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(Unready):
        FolderLock(tmp_path)
    tmp_path.chmod(0o700)
    FolderLock(tmp_path).release()


def test_a_link_out_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.touch(mode=0o644)
    data = tmp_path / "data"
    data.mkdir(0o755)
    (data / FILE).touch()
    (data / "certificate.pem").symlink_to(target)
    close_folder(data)
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_only_a_folder_in_use_was_exposed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert exposed(tmp_path) == []
    (tmp_path / FILE).touch(mode=0o640)
    (tmp_path / "lock").touch(mode=0o600)
    assert exposed(tmp_path) == [".", FILE]
    tmp_path.chmod(0o700)
    assert exposed(tmp_path) == []


# ---- the client's side ------------------------------------------------------------------


async def test_the_files_of_a_client_are_closed(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    store = SqliteClientStore(folder / "alice.db")
    await store.open(1)
    try:
        assert {"alice.db", "alice.db-wal", "alice.lock"} <= set(modes(folder))
        assert open_ones(folder) == {}
    finally:
        await store.close()


async def test_a_clients_file_that_stood_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "alice.db").touch(mode=0o666)
    store = SqliteClientStore(tmp_path / "alice.db")
    await store.open(1)
    try:
        assert open_ones(tmp_path) == {}
    finally:
        await store.close()


def test_the_file_with_the_keys_is_closed_also_where_an_old_one_stood_open(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o777)
    (folder / "accounts.new").touch(mode=0o666)
    Home(folder).save(Account("alice", 1, "key", "localhost", 1, ""))
    assert modes(folder)["accounts.json"] == 0o600
    assert modes(folder)["."] & 0o022 == 0, "others could put another file in its place"


def test_the_command_makes_nothing_that_others_may_read(tmp_path: Path) -> None:
    """Whatever a sender or a library writes: the process itself keeps others out."""
    program = (
        "import os, sys; from whimbrel.cli import main; sys.argv = ['whimbrel', '--version']\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        f"os.close(os.open({str(tmp_path / 'any')!r}, os.O_CREAT | os.O_WRONLY, 0o666))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
    assert stat.S_IMODE((tmp_path / "any").stat().st_mode) == 0o600
