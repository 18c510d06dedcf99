"""`whimbrel user` as an administrator types it: the real command, with and without a server."""

import re
import subprocess
import sys
from pathlib import Path

from bench.server import COMMAND, Server
from tests.edge.house import hello_of, house
from whimbrel.protocol import wire


def user(*words: str, data: Path) -> tuple[int, str]:
    """(exit code, what it said)."""
    done = subprocess.run(
        [sys.executable, *COMMAND, "user", *words, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def key_of(said: str) -> str:
    found = re.search(r"key\s+(\S{43})", said)
    assert found, said
    return found.group(1)


def login_of(said: str) -> tuple[int, str]:
    device = re.search(r"device\s+(\d+)", said)
    assert device, said
    return int(device.group(1)), key_of(said)


def add_list_reset_delete(data: Path) -> None:
    code, said = user("add", "alice", data=data)
    assert code == 0, said
    first = key_of(said)
    code, said = user("add", "alice", data=data)
    assert code == 1
    assert "exists" in said
    assert user("add", "+49 151 12345678", data=data)[0] == 0
    code, said = user("list", data=data)
    assert said.split() == ["+4915112345678", "alice"]
    code, said = user("reset", "alice", data=data)
    assert key_of(said) != first
    assert user("delete", "alice", "--yes", data=data)[0] == 0
    code, said = user("delete", "alice", "--yes", data=data)
    assert code == 1
    assert "Traceback" not in said
    assert user("list", data=data)[1].split() == ["+4915112345678"]


def test_without_a_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    add_list_reset_delete(data)


def test_with_a_running_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        add_list_reset_delete(server.data)


async def test_the_key_that_is_shown_logs_in_until_it_is_reset(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    old = login_of(user("add", "alice", data=data)[1])
    new = login_of(user("reset", "alice", data=data)[1])
    async with house(data) as home:
        answers = []
        for device, key in (new, old):
            stranger = await home.stranger()
            stranger.send(hello_of(0, account="alice", device=device, key=key))
            answers.append(await stranger.next())
        assert isinstance(answers[0], wire.Welcome)
        assert answers[1].code == "not-authorized"


def test_a_bad_address_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    code, said = user("add", "not an address!", data=tmp_path)
    assert code == 1
    assert "Traceback" not in said
    code, said = user("list", data=tmp_path / "nowhere")
    assert code == 1
    assert "nowhere" in said.replace("\n", "")
