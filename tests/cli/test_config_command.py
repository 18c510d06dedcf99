"""`whimbrel config`: explains every key, checks a file, and prints one that loads."""

import re
from pathlib import Path

import msgspec
from typer.testing import CliRunner

from whimbrel.cli.main import _register_server_side, app
from whimbrel.node.config import Config, load_config
from whimbrel.node.explain import example, keys

_register_server_side(["config"])


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["config", *words])
    return result.exit_code, result.output


def all_keys(kind: type[msgspec.Struct] = Config, above: str = "") -> set[str]:
    """Straight from the types."""
    found = set()
    for field in msgspec.structs.fields(kind):
        if isinstance(field.default, msgspec.Struct):
            found |= all_keys(type(field.default), f"{field.name}.")
        else:
            found.add(above + field.name)
    return found


def test_every_key_is_explained() -> None:
    assert {key.path for key in keys()} == all_keys()
    code, text = said("--explain")
    assert code == 0
    for key in keys():
        assert f"  {key.name} = {key.default}" in text


def test_units_are_told_from_the_names() -> None:
    units = {key.path: key.unit for key in keys()}
    assert units["limits.frame_bytes_max"] == "bytes"
    assert units["limits.retry_first_s"] == "seconds"
    assert units["limits.frames_per_s"] == "a second"
    assert units["alerts.commit_ms"] == "milliseconds"
    assert units["limits.devices_max"] == ""


def test_a_word_finds_its_keys() -> None:
    code, text = said("--explain", "patience")
    assert code == 0
    assert "patience_s = 10.0" in text
    assert "commit_ms" not in text
    assert said("--explain", "nothing-has-this")[0] == 1


def test_the_example_with_every_key_taken_in_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(re.sub(r"^#(?=[a-z_]+ = )", "", example(), flags=re.MULTILINE))
    assert load_config(file) == Config()
    file.write_text(example())
    assert load_config(file) == Config()


def test_a_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text("[log]\nlevel = 'loud'\n")
    code, text = said("--check", str(file))
    assert code == 1
    assert "log.level" in text
    file.write_text("[log]\nlevel = 'debug'\n")
    assert said("--check", str(file)) == (0, f"{file} is right.\n")


def test_without_a_wish_it_tells_what_can_be_wished() -> None:
    code, text = said()
    assert code == 2
    assert "--explain" in text
