"""Packing a version: from every place it may come from, and from places where there is none."""

import zipfile
from pathlib import Path

import pytest

from bench import versions
from whimbrel.node.upgrade.tree import NotAVersion, described, pack, read_all, sources

ROOT = Path(__file__).parents[2]


def test_a_checkout_an_installed_package_and_a_wheel_pack_the_same_rules(tmp_path: Path) -> None:
    checkout = pack(ROOT, tmp_path / "a.zip")
    package = pack(ROOT / "src" / "whimbrel", tmp_path / "b.zip")
    site = pack(ROOT / "src", tmp_path / "c.zip")
    wheel = tmp_path / "whimbrel-9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as out:
        for name, data in read_all(tmp_path / "a.zip").items():
            out.writestr(
                name.replace("sim/", "whimbrel/_sim/") if name[:4] == "sim/" else name, data
            )
        out.writestr("whimbrel-9.dist-info/METADATA", "not ours")
    from_wheel = pack(wheel, tmp_path / "d.zip")
    assert checkout.whole == package.whole == site.whole == from_wheel.whole
    assert checkout.name == from_wheel.name
    assert read_all(tmp_path / "a.zip") == read_all(tmp_path / "d.zip")
    assert "sim/world.py" in read_all(tmp_path / "d.zip")


def test_an_archive_is_for_its_owner_only_and_says_what_it_holds(tmp_path: Path) -> None:
    found = pack(ROOT, tmp_path / "deep" / "a.zip")
    assert (tmp_path / "deep" / "a.zip").stat().st_mode & 0o777 == 0o600
    assert described(tmp_path / "deep" / "a.zip") == found


def test_another_comment_in_the_rules_is_another_version_of_them(tmp_path: Path) -> None:
    old = pack(ROOT, tmp_path / "a.zip")
    place = versions.tree(tmp_path / "tree", [versions.Edit("logic/user.py", "", "# better\n")])
    new = pack(place, tmp_path / "b.zip")
    assert old.rules != new.rules
    assert old.whole != new.whole
    place = versions.tree(tmp_path / "other", [versions.Edit("cli/main.py", "", "# better\n")])
    assert pack(place, tmp_path / "c.zip").rules == old.rules


def test_places_without_a_version_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text.whl"
    text.write_text("no archive")
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as out:
        out.writestr("whimbrel/__init__.py", "")
    for place, said in (
        (empty, "no checkout"),
        (tmp_path / "nowhere", "no checkout"),
        (text, "cannot be read"),
        (other, "logic/user.py"),
    ):
        with pytest.raises(NotAVersion, match=said):
            pack(place, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_wheel_that_climbs_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    evil = tmp_path / "evil.whl"
    with zipfile.ZipFile(evil, "w") as out:
        out.writestr("whimbrel/../../etc/passwd", "x")
    with pytest.raises(NotAVersion, match="none of ours"):
        pack(evil, tmp_path / "out.zip")


def test_odd_bytes_in_a_source_are_named() -> None:
    with pytest.raises(NotAVersion, match=r"whimbrel/logic/user\.py is not UTF-8"):
        sources({"whimbrel/logic/user.py": b"\xff\xfe"})
