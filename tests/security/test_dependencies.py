"""What is installed is what was chosen: every package pinned, from nowhere in particular.

`make audit-dependencies` asks a database for known weaknesses of these pins; here is what can be
checked without a network.
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9A-Za-z.+!]*)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lines() -> list[str]:
    return (ROOT / "constraints.txt").read_text().splitlines()


def pins() -> dict[str, str]:
    found = [PIN.fullmatch(line) for line in lines()]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def needed(wanted: list[str]) -> dict[str, set[str]]:
    """Packages that these requirements bring in here, all the way down, and by whom."""
    todo = [("whimbrel", text) for text in wanted]
    found: dict[str, set[str]] = {}
    while todo:
        by, text = todo.pop()
        requirement = Requirement(text)
        extras = requirement.extras or {""}
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            for each in metadata.requires(name) or ():
                inner = Requirement(each)
                wants = any(
                    inner.marker is None or inner.marker.evaluate({"extra": extra})
                    for extra in extras
                )
                if wants:
                    inner.marker = None
                    todo.append((name, str(inner)))
        found.setdefault(name, set()).add(by)
    return found


def test_every_line_of_the_constraints_is_one_exact_version() -> None:
    """No address of an index, no file, no option: they would decide where code comes from."""
    assert [line for line in lines() if not PIN.fullmatch(line)] == []
    names = [line.partition("==")[0].lower() for line in lines()]
    assert names == sorted(set(names))


@pytest.mark.parametrize("what", ["run-time", "dev"])
def test_every_dependency_is_pinned(what: str) -> None:
    wanted = (
        PROJECT["dependencies"] if what == "run-time" else PROJECT["optional-dependencies"][what]
    )
    pinned = pins()
    loose = {name: by for name, by in needed(wanted).items() if name not in pinned}
    assert loose == {}


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = pins()
    found = needed(PROJECT["dependencies"])
    assert {"aiohttp", "apsw", "msgspec", "multidict", "cffi"} <= set(found), "all the way down"
    other = {name: metadata.version(name) for name in found}
    assert {name: v for name, v in other.items() if pinned[name] != v} == {}


def test_no_file_of_the_project_names_an_index() -> None:
    """Neither for people who install it nor in passing."""
    index = re.compile(r"index-url|find-links|--trusted-host|/simple/?\b", re.IGNORECASE)
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    assert [file.name for file in files if index.search(file.read_text())] == []


def test_a_loose_package_would_be_seen() -> None:
    assert PIN.fullmatch("aiohttp==3.14.5")
    for line in ("aiohttp>=3", "-e .", "--index-url https://x.example", "x @ https://x.example/x"):
        assert not PIN.fullmatch(line)
    assert "idna" in needed(["aiohttp"])
