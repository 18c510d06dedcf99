"""Packed versions for the tests of live upgrades: the running one, and edited copies of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import whimbrel
from bench import versions
from whimbrel.node.upgrade.tree import pack, pack_installed

Pack = Callable[[Sequence[versions.Edit]], Path]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("running") / "running.zip"
    pack_installed(Path(whimbrel.__file__).parent, into)
    return into


@pytest.fixture
def packed(tmp_path: Path) -> Pack:
    """Pack a copy of this tree with these edits."""

    def make(edits: Sequence[versions.Edit]) -> Path:
        place = versions.tree(tmp_path / "tree", edits)
        return Path(pack(place, tmp_path / "candidate.zip").path)

    return make
