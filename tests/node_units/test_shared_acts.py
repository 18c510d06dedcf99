"""Acts of several nodes in one table: their order, their pages, and what a database away means."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import postgres
from whimbrel.domain.errors import Unready
from whimbrel.node import shared_acts
from whimbrel.node.acts import ActLog
from whimbrel.node.shared_acts import SharedActs
from whimbrel.storage.postgres.side import Side


@pytest_asyncio.fixture
async def side() -> AsyncIterator[Side]:
    url = postgres.fresh_database()
    side = Side(url)
    yield side
    await side.close()
    postgres.give_back(url)


def at(side: Side, folder: Path) -> SharedActs:
    folder.mkdir(exist_ok=True)
    return SharedActs(ActLog(folder, lambda: 1_000), side)


async def test_numbers_rise_over_all_nodes_although_their_clocks_stand(
    side: Side, tmp_path: Path
) -> None:
    one, two = at(side, tmp_path / "one"), at(Side(side._url), tmp_path / "two")
    await asyncio.gather(
        *(
            node.record("root", "create user", f"{name}{n}", "ok", "::1")
            for n in range(10)
            for name, node in (("a", one), ("b", two))
        )
    )
    seen: list[str] = []
    before = 0
    while True:
        page = await two.page(before, 7)
        assert [act.id for act in page.acts] == sorted((act.id for act in page.acts), reverse=True)
        seen += [act.on for act in page.acts]
        before = page.next
        if not before:
            break
    assert sorted(seen) == sorted(f"{name}{n}" for n in range(10) for name in "ab")
    assert len(one._own.read(0, 100).acts) == 10, "each node's file has its own"
    await two._side.close()


async def test_odd_texts_are_kept_as_far_as_a_column_can(side: Side, tmp_path: Path) -> None:
    log = at(side, tmp_path)
    await log.record("root", "create user", "a\0b\ud800" + "x" * 5_000, "ok", "::1")
    (act,) = (await log.page(0, 10)).acts
    assert act.on.startswith("ab?x")
    assert len(act.on) < 201


async def test_the_oldest_go(side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_acts, "TRIM_EVERY", 1)
    monkeypatch.setattr(shared_acts, "ROWS_MAX", 3)
    log = at(side, tmp_path)
    for n in range(6):
        await log.record("root", "create user", str(n), "ok", "::1")
    assert [act.on for act in (await log.page(0, 10)).acts] == ["5", "4", "3"]


async def test_while_the_database_is_away_the_file_has_it(tmp_path: Path) -> None:
    gone = Side(f"postgresql://x@127.0.0.1:{postgres.free_port()}/x")
    log = at(gone, tmp_path)
    await log.record("root", "create user", "alice", "ok", "::1")
    assert [act.on for act in log._own.read(0, 10).acts] == ["alice"]
    with pytest.raises(Unready):
        await log.page(0, 10)
