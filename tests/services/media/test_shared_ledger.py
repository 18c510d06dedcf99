"""Files of several nodes: one ledger in their database; who has an upload in hand."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests import postgres
from tests.services.media.world import ALICE, BOB, DAY_S, MediaWorld, world_in
from whimbrel.domain.errors import WrongOffset
from whimbrel.services.media.service import open_shared_media
from whimbrel.services.media.tidy import Tidy
from whimbrel.storage.postgres.side import Side

DATA = os.urandom(100_000)


@pytest_asyncio.fixture
async def side() -> AsyncIterator[Side]:
    url = postgres.fresh_database()
    side = Side(url)
    yield side
    await side.close()
    postgres.give_back(url)


@asynccontextmanager
async def at(
    side: Side, folder: Path, home: str, everywhere: bool = True
) -> AsyncIterator[MediaWorld]:
    """A node of this identity."""
    world = MediaWorld(folder, side, free_bytes_min=1)
    world.media = await open_shared_media(
        world.settings, folder, world.clock, side, home, everywhere
    )
    world.tidy = Tidy(world.media)
    try:
        yield world
    finally:
        await world.media.close()


async def test_a_finished_file_of_a_shared_folder_is_everybodys(side: Side, tmp_path: Path) -> None:
    async with at(side, tmp_path, "one") as one, at(side, tmp_path, "two") as two:
        token, id, facts = await one.upload(DATA)
        assert await two.media.away("", id) == ""
        assert await two.download(id, facts) == DATA
        assert await two.media.done(token) == await one.media.done(token)
        await two.media.confirm(id, BOB)


async def test_an_upload_under_way_is_in_the_hands_of_one_node(side: Side, tmp_path: Path) -> None:
    async with at(side, tmp_path, "one") as one, at(side, tmp_path, "two") as two:
        token = await one.slot(len(DATA))
        assert await one.media.away(token, "") == ""
        assert await two.media.away(token, "") == "one"
        assert await two.media.away("nobody's", "") == ""
        await one.send(token, DATA[:40_000])
        await two.media.adopt(token, "three")  # of another one
        assert await two.media.away(token, "") == "one"
        await two.media.adopt(token, "one")
        assert await one.media.away(token, "") == "two"
        assert await two.media.offset(token) == (40_000, len(DATA))  # the folder is shared
        await two.send(token, DATA[40_000:], 40_000)
        _, facts = await two.media.done(token)
        assert facts.size == len(DATA)


async def test_an_upload_begins_again_where_its_bytes_are_not(side: Side, tmp_path: Path) -> None:
    async with (
        at(side, tmp_path / "one", "one", False) as one,
        at(side, tmp_path / "two", "two", False) as two,
    ):
        token = await one.slot(len(DATA))
        await one.send(token, DATA[:40_000])
        await two.media.adopt(token, "one")
        with pytest.raises(WrongOffset) as wrong:
            await two.send(token, DATA[40_000:], 40_000)
        assert wrong.value.offset == 0
        await two.send(token, DATA)
        link, facts = await two.media.done(token)
        assert await one.media.away("", link.split("/")[2]) == "two"
        assert await two.download(link.split("/")[2], facts) == DATA


@pytest.mark.parametrize("everywhere", [True, False])
async def test_what_is_past_its_time_is_removed_by_who_has_the_bytes(
    side: Side, tmp_path: Path, everywhere: bool
) -> None:
    async with (
        at(side, tmp_path / "one", "one", everywhere) as one,
        at(side, tmp_path / ("one" if everywhere else "two"), "two", everywhere) as two,
    ):
        await one.upload(DATA)
        two.clock.pass_s(31 * DAY_S)
        await two.tidy.expire()
        assert bool(one.blobs()) is not everywhere
        one.clock.pass_s(31 * DAY_S)
        await one.tidy.expire()
        assert one.blobs() == []


async def test_a_quota_counts_what_other_nodes_took(side: Side, tmp_path: Path) -> None:
    async with at(side, tmp_path, "one") as one, at(side, tmp_path, "two") as two:
        await one.upload(DATA)
        used = await two.media.ledger.used(ALICE, two.media.now_us())
        assert (used.kept_bytes, used.day_count, used.open_count) == (len(DATA), 1, 0)


async def test_the_files_of_one_node_alone_are_there_when_it_becomes_one_of_several(
    side: Side, tmp_path: Path
) -> None:
    async with world_in(tmp_path, free_bytes_min=1) as alone:
        token, id, facts = await alone.upload(DATA)
        half = await alone.slot(len(DATA))
        await alone.send(half, DATA[:10_000])
    async with at(side, tmp_path, "one") as one, at(side, tmp_path, "two") as two:
        assert await two.download(id, facts) == DATA
        assert await one.media.done(token)
        assert await two.media.away(half, "") == "one"
        assert await one.media.offset(half) == (10_000, len(DATA))
        one.clock.pass_s(2 * DAY_S)
        await one.tidy.orphans()
        assert len(one.blobs()) == 1, "known, so nobody's orphan"
    assert not (tmp_path / "media/media.db").exists()
    assert (tmp_path / "media/media.db.moved").exists()


async def test_the_ledger_comes_back_after_its_connection_was_lost(
    side: Side, tmp_path: Path
) -> None:
    async with at(side, tmp_path, "one") as one:
        _, id, facts = await one.upload(DATA)
        other = Side(side._url)
        await other.fetch(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        await other.close()
        assert await one.download(id, facts) == DATA
