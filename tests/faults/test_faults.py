"""Each real fault once (docs/operations.md has the table of many rounds): nothing that was
acknowledged is lost, shown twice or out of order, and the server comes back by itself.
"""

import asyncio
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS, Row, suffer
from tests.faults.restoring import restored


def judge(row: Row) -> None:
    seen = dict(row.verdict)
    assert seen.pop("acknowledged") > 0
    assert not any(seen.values()), seen


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_loses_nothing_that_was_acknowledged(name: str, tmp_path: Path) -> None:
    judge(asyncio.run(suffer(FAULTS[name], tmp_path, 1)))


def test_what_came_after_the_backup_is_brought_back_by_the_phones(tmp_path: Path) -> None:
    judge(asyncio.run(restored(tmp_path, 2)))


@pytest.mark.soak
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_again_and_again(name: str, tmp_path: Path) -> None:
    judge(asyncio.run(suffer(FAULTS[name], tmp_path, 30)))


@pytest.mark.soak
def test_restored_again_and_again(tmp_path: Path) -> None:
    judge(asyncio.run(restored(tmp_path, 10)))
