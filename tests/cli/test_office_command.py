"""`whimbrel token` and `whimbrel acts` as they are typed, with and without a running server."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.server import Server
from whimbrel.cli.acting import by_hand
from whimbrel.cli.main import _SERVER_SIDE, _register_server_side, app


def type_in(*words: str, data: Path) -> tuple[int, str]:
    if not any(command.name == "acts" for command in app.registered_commands):
        _register_server_side(_SERVER_SIDE)
    done = CliRunner().invoke(app, [*words, "--data", str(data)], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def token_of(said: str) -> str:
    found = re.search(r"token\s+(whimbrel_\S{43})", said)
    assert found, said
    return found.group(1)


def create_list_revoke(data: Path) -> str:
    """Gives a token that is good."""
    code, said = type_in("token", "create", "top", data=data)
    assert code == 0, said
    token = token_of(said)
    code, said = type_in("token", "create", "top", data=data)
    assert (code, "already" in said) == (1, True)
    code, said = type_in("token", "create", "desk", "-s", "users", "--days", "3", data=data)
    assert code == 0, said
    code, said = type_in("token", "list", data=data)
    assert [line.split()[0] for line in said.splitlines()] == ["name", "desk", "top"]
    assert token not in said
    assert type_in("token", "revoke", "desk", data=data) == (0, "desk is worthless now.\n")
    code, said = type_in("token", "revoke", "desk", data=data)
    assert (code, "no such token" in said) == (1, True)
    return token


def acts(data: Path) -> list[list[str]]:
    code, said = type_in("acts", data=data)
    assert code == 0, said
    return [re.split(r"\s{2,}", line.strip()) for line in said.splitlines()[1:]]


def test_without_a_server(tmp_path: Path) -> None:
    create_list_revoke(tmp_path)
    assert [line[1:] for line in acts(tmp_path)] == [
        [by_hand(), "create token", "top", "ok", "cli"],
        [by_hand(), "create token", "desk", "ok", "cli"],
        [by_hand(), "revoke token", "desk", "ok", "cli"],
    ]


def test_beside_a_running_server_which_takes_the_token_at_once(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        token = create_list_revoke(server.data)
        url = f"http://127.0.0.1:{server.ready['http']}/admin/facts"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
        found = [line[1:4] for line in acts(server.data)]
        assert ["root", "create token", "top"] in found
        type_in("token", "revoke", "top", data=server.data)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=20)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("token", "create", "A B"), "a name has"),
        (("token", "create", "x", "--days", "-1"), "days are 0 to 3650"),
        (("token", "create", "x", "-s", "god"), "there is no scope god"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, heard = type_in(*words, data=tmp_path)
    assert code == 1
    assert said in heard
    assert not (tmp_path / "tokens.json").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for words in (("token", "list"), ("acts",)):
        code, said = type_in(*words, data=tmp_path / "nowhere")
        assert (code, "there is no data folder" in said) == (1, True)


def test_what_is_done_by_hand_to_accounts_is_written_down_too(tmp_path: Path) -> None:
    assert type_in("user", "add", "alice", data=tmp_path)[0] == 0
    assert type_in("user", "delete", "alice", "--yes", data=tmp_path)[0] == 0
    assert [line[2:4] for line in acts(tmp_path)] == [
        ["create user", "alice"],
        ["delete user", "alice"],
    ]
