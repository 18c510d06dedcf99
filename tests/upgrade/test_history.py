"""What there has been is on disk: also after a crash in the middle of a line."""

from pathlib import Path

import pytest

from whimbrel.edge.http.shapes import Upgrade
from whimbrel.node.config import ConfigError, load_config
from whimbrel.node.upgrade.history import History, InUse


def entry(number: int, text: str = "") -> Upgrade:
    return Upgrade(number, "1+abc", "/srv", "ann", "ended", "accepted", text, 1.0, 2.0)


def test_lines_and_what_is_in_use_survive(tmp_path: Path) -> None:
    history = History(tmp_path / "upgrades")
    history.add(entry(1))
    history.add(entry(2))
    history.in_use = InUse(2, [1, 2], "digest", 1)
    history.save()
    again = History(tmp_path / "upgrades")
    assert list(again.entries) == [entry(1), entry(2)]
    assert again.in_use == InUse(2, [1, 2], "digest", 1)
    for path in (tmp_path / "upgrades").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_off_is_left_out_and_numbers_go_on(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.add(entry(7))
    with open(tmp_path / "history.jsonl", "ab") as out:
        out.write(b'{"number": 8, "ver')
    again = History(tmp_path)
    assert list(again.entries) == [entry(7)]
    assert again.in_use.last == 7


def test_a_damaged_file_of_what_is_in_use_means_the_installed_rules(tmp_path: Path) -> None:
    (tmp_path / "in-use.json").write_text("{")
    assert History(tmp_path).in_use.stack == []


def test_only_what_may_come_back_keeps_its_archive(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(1, 9):
        history.archive(number).write_bytes(b"")
    history.in_use.stack = [1, 3, 4, 6, 8]
    history.prune(3)
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == [
        "00004.zip",
        "00006.zip",
        "00008.zip",
    ]
    assert history.in_use.stack == [4, 6, 8]


def test_the_history_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.node.upgrade.history.KEPT", 4)
    history = History(tmp_path)
    for number in range(60):
        history.add(entry(number, "x" * 2_000))
    assert (tmp_path / "history.jsonl").stat().st_size < 80_000
    assert [each.number for each in History(tmp_path).entries] == [56, 57, 58, 59]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("canary_share = 0", "upgrade.canary_share: write a part"),
        ("canary_share = 1.5", "upgrade.canary_share: write a part"),
        ("canary_s = -1", "upgrade.canary_s: write seconds"),
        ("check_s_max = 0", "upgrade.check_s_max"),
        ("slower_max = 1", "upgrade.slower_max: write a number above 1"),
        ("failures_max = -1", "upgrade.failures_max"),
        ("samples_min = 0", "upgrade.samples_min"),
        ("kept_max = 0", "upgrade.kept_max"),
        ("effects_tolerance = -0.1", "upgrade.effects_tolerance"),
        ("canary = 3", "upgrade.canary: there is no such key"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "w.toml").write_text(f"[upgrade]\n{line}\n")
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        load_config(tmp_path / "w.toml")
