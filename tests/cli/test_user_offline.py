"""A key that `whimbrel user` shows opens the door, through the client that people use, for just
as long as it should: made without a server or beside a running one.
"""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.server import Server
from tests.cli.test_user_command import login_of, user
from whimbrel.cli.main import app
from whimbrel.client import Client, Ended, NotAuthorized, Plain
from whimbrel.node import offline
from whimbrel.storage.lock import FolderLock

PATIENCE_S = 20.0


def client_of(address: str, said: str, server: Server) -> Client:
    """A client with what the command has shown."""
    device, key = login_of(said)
    port = server.ready["native_plain"]
    return Client(address, device, key, "127.0.0.1", port, trust=Plain())


async def logs_in(address: str, said: str, server: Server) -> bool:
    """False: refused for good."""
    async with asyncio.timeout(PATIENCE_S), client_of(address, said, server) as client:
        try:
            await client.online()
        except NotAuthorized:
            return False
        return True


async def type_in(*words: str, data: Path) -> str:
    """A command that succeeds, while our own loop goes on."""
    code, said = await asyncio.to_thread(user, *words, data=data)
    assert code == 0, said
    return said


async def test_keys_made_without_a_server_open_it_afterwards(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.data.mkdir()
    old = user("add", "alice", data=server.data)[1]
    new = user("reset", "alice", data=server.data)[1]
    gone = user("add", "bob", data=server.data)[1]
    assert user("delete", "bob", "--yes", data=server.data)[0] == 0
    with server:
        assert await logs_in("alice", new, server)
        assert not await logs_in("alice", old, server), "reset made it worthless"
        assert not await logs_in("bob", gone, server), "there is no such account any more"


async def test_beside_a_running_server_it_takes_effect_at_once(tmp_path: Path) -> None:
    """Also for what waits: the second bob is not shown what was meant for the first."""
    with Server(tmp_path) as server:
        old = await type_in("add", "alice", data=server.data)
        async with asyncio.timeout(PATIENCE_S), client_of("alice", old, server) as connected:
            await connected.online()
            new = await type_in("reset", "alice", data=server.data)
            with pytest.raises(Ended):
                await anext(aiter(connected.messages()))
        assert not await logs_in("alice", old, server)
        async with asyncio.timeout(PATIENCE_S), client_of("alice", new, server) as alice:
            await type_in("add", "bob", data=server.data)
            await (await alice.send("bob", "for the first bob")).stored
            await type_in("delete", "bob", "--yes", data=server.data)
            second = await type_in("add", "bob", data=server.data)
            await (await alice.send("bob", "for the second bob")).stored
            async with client_of("bob", second, server) as bob:
                message = await anext(aiter(bob.messages()))
                assert message.text == "for the second bob"
        await type_in("delete", "alice", "--yes", data=server.data)
        assert not await logs_in("alice", new, server)


# ---- mistakes: the same command, called in this process because there are many of them ------


def called(*words: str, data: Path) -> tuple[int, str]:
    """(exit code, all that was said, in one line)."""
    done = CliRunner().invoke(app, ["user", *words, "--data", str(data)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in which alice has an account."""
    offline.add(tmp_path, "alice")
    return tmp_path


def test_a_database_that_is_in_use_is_left_alone(data: Path) -> None:
    """Without its admin.json nobody can ask the server; the folder's lock protects it."""
    lock = FolderLock(data)
    for words in (("add", "bob"), ("list",), ("delete", "alice", "--yes"), ("reset", "alice")):
        code, said = called(*words, data=data)
        assert code == 1
        assert f"in use by process {os.getpid()}" in said
    lock.release()
    assert called("list", data=data) == (0, "alice")


def test_what_a_dead_server_left_behind_does_not_mislead(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    left = {"url": f"http://127.0.0.1:{port}", "token": "of a server that has died"}
    (data / "admin.json").write_text(json.dumps(left))
    assert called("add", "bob", data=data)[0] == 0
    assert called("list", data=data) == (0, "alice bob")


def test_a_damaged_note_of_the_server_is_named(data: Path) -> None:
    (data / "admin.json").write_text('{"url": ')
    code, said = called("list", data=data)
    assert code == 1
    assert "admin.json is damaged" in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("add", "not an address!"), "an address is"),
        (("delete", "+49", "--yes"), "an address is"),
        (("reset", "a" * 65), "at most 64"),
        (("reset", "nobody"), "no such account"),
        (("delete", "nobody", "--yes"), "no such account"),
        (("add", "alice"), "exists already"),
        (("add", "ALICE"), "exists already"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    data: Path, words: tuple[str, ...], hint: str
) -> None:
    code, said = called(*words, data=data)
    assert code == 1
    assert hint in said
    assert called("list", data=data) == (0, "alice")


def test_who_says_no_when_asked_keeps_the_account(data: Path) -> None:
    done = CliRunner().invoke(app, ["user", "delete", "alice", "--data", str(data)], input="n\n")
    assert done.exit_code == 1
    assert called("list", data=data) == (0, "alice")
    done = CliRunner().invoke(app, ["user", "delete", "alice", "--data", str(data)], input="y\n")
    assert done.exit_code == 0
    assert called("list", data=data) == (0, "No accounts yet.")


def test_an_unknown_word_is_the_callers_mistake_and_the_help_is_none(data: Path) -> None:
    assert called("rename", "alice", data=data)[0] == 2
    assert called("add", data=data)[0] == 2
    assert called("list", "--help", data=data)[0] == 0


def test_a_folder_without_a_database_is_named_and_stays_empty(tmp_path: Path) -> None:
    for words in (("list",), ("delete", "alice", "--yes"), ("reset", "alice")):
        code, said = called(*words, data=tmp_path)
        assert code == 1
        assert "no database" in said
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_shown_once_and_never_listed(data: Path) -> None:
    _, said = called("add", "bob", data=data)
    _, key = login_of(said)
    assert said.count(key) == 1
    assert key not in called("list", data=data)[1]
