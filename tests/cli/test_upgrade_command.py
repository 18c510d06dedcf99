"""whimbrel upgrade, where nothing can be upgraded: one clear line each."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from whimbrel.cli.main import _register_server_side, app

_register_server_side(["upgrade", "rollback"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["upgrade"], "no server runs in"),
        (["upgrade", "."], "no server runs in"),
        (["rollback"], "no server runs in"),
    ],
)
def test_without_a_server(tmp_path: Path, words: list[str], said: str) -> None:
    found = CliRunner().invoke(app, [*words, "--data", str(tmp_path)])
    assert found.exit_code == 1
    assert said in found.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["upgrade"], "say what to load"),
        (["upgrade", "/nowhere/at/all"], "there is no /nowhere/at/all"),
        (["upgrade", "."], "no server answers"),
        (["rollback"], "no server answers"),
    ],
)
def test_with_what_a_server_left_behind(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "admin.json").write_text('{"url": "http://127.0.0.1:9", "token": "x"}')
    found = CliRunner().invoke(app, [*words, "--data", str(tmp_path)])
    assert found.exit_code == 1
    assert said in found.output
