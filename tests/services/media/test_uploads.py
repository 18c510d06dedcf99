"""Uploads: pieces, interruptions, restarts, checksums, quotas, and the end of everything."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests import postgres
from tests.services.media.world import (
    ALICE,
    BOB,
    CAROL,
    DAY_S,
    NOW_US,
    MediaWorld,
    pieces,
    world_in,
)
from whimbrel.domain.errors import (
    BadChecksum,
    Busy,
    IdleTimeout,
    MediaExpired,
    NoSpace,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Refused,
    Replaced,
    TooBig,
    WrongOffset,
    WrongType,
)
from whimbrel.storage.postgres.side import Side

DATA = os.urandom(700_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def world(request: Any, tmp_path: Path) -> AsyncIterator[MediaWorld]:
    """The ledger in a file, and in the database of several nodes."""
    if request.param == "sqlite":
        async with world_in(tmp_path, free_bytes_min=1) as world:
            yield world
        return
    url = postgres.fresh_database()
    side = Side(url)
    async with world_in(tmp_path, side, free_bytes_min=1) as world:
        yield world
    await side.close()
    postgres.give_back(url)


async def test_what_was_uploaded_in_pieces_comes_back_as_it_was(world: MediaWorld) -> None:
    token = await world.slot(len(DATA), "a.bin", sha256=SHA256)
    assert await world.send(token, DATA[:300_000]) == 300_000
    assert await world.media.offset(token) == (300_000, 700_000)
    assert await world.send(token, DATA[300_000:], 300_000) == 700_000
    link, facts = await world.media.done(token)
    assert (facts.size, facts.sha256, facts.name) == (700_000, SHA256, "a.bin")
    assert await world.download(link.split("/")[2], facts) == DATA
    assert world.spooled() == []


async def test_done_is_answered_again_in_the_same_words_also_after_a_restart(
    world: MediaWorld,
) -> None:
    token, _, facts = await world.upload(DATA)
    first = await world.media.done(token)
    await world.restart()
    assert await world.media.done(token) == first
    assert first[1] == facts
    assert len(world.blobs()) == 1


async def test_neither_token_nor_link_is_found_in_any_file(world: MediaWorld) -> None:
    token, id, _ = await world.upload(b"x" * 100)
    await world.restart()
    for path in world.folder.rglob("*"):
        found = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        assert token.encode() not in found
        assert id.encode() not in found
    assert len(bytes.fromhex(id)) * 8 >= 128


async def test_a_broken_piece_is_kept_as_far_as_it_came(world: MediaWorld) -> None:
    token = await world.slot(len(DATA))

    async def cut() -> AsyncIterator[bytes]:
        yield DATA[:333_333]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await world.media.receive(token, 0, len(DATA), cut())
    await world.restart()
    assert await world.media.offset(token) == (333_333, 700_000)
    await world.send(token, DATA[333_333:], 333_333)
    assert (await world.media.done(token))[1].sha256 == SHA256


async def test_another_offset_is_refused_with_the_true_one(world: MediaWorld) -> None:
    token = await world.slot(10)
    await world.send(token, b"abc")
    for wrong in (0, 2, 4, 10, 99):
        with pytest.raises(WrongOffset) as refusal:
            await world.send(token, b"d", wrong)
        assert refusal.value.offset == 3
    with pytest.raises(WrongOffset) as refusal:
        await world.media.done(token)
    assert refusal.value.offset == 3


async def test_a_second_attempt_takes_the_place_of_one_that_hangs(world: MediaWorld) -> None:
    token = await world.slot(8)
    began = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield b"abcd"
        began.set()
        await asyncio.Event().wait()

    first = asyncio.create_task(world.media.receive(token, 0, 8, hanging()))
    await began.wait()
    assert await world.media.offset(token) == (4, 8)
    with pytest.raises(Replaced):
        await first
    assert await world.send(token, b"efgh", 4) == 8


async def test_a_piece_that_takes_too_long_is_cut_off_and_kept(tmp_path: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"abcd"
        await asyncio.Event().wait()

    async with world_in(tmp_path, chunk_s=0.05) as world:
        token = await world.slot(8)
        with pytest.raises(IdleTimeout):
            await world.media.receive(token, 0, 8, slow())
        assert await world.media.offset(token) == (4, 8)


async def test_more_bytes_than_announced_are_refused_and_none_of_them_is_kept(
    world: MediaWorld,
) -> None:
    token = await world.slot(4)
    with pytest.raises(TooBig):
        await world.send(token, b"abcde")
    with pytest.raises(TooBig):
        await world.media.receive(token, 0, -1, pieces(b"ab", b"cde"))
    assert await world.media.offset(token) == (2, 4)


async def test_other_bytes_than_announced_begin_again_at_0(world: MediaWorld) -> None:
    token = await world.slot(4, sha256=hashlib.sha256(b"good").hexdigest().upper())
    await world.send(token, b"evil")
    with pytest.raises(BadChecksum):
        await world.media.done(token)
    assert await world.media.offset(token) == (0, 4)
    assert world.blobs() == []
    await world.send(token, b"good")
    await world.media.done(token)


async def test_sizes_and_types_beyond_the_configuration_are_refused(tmp_path: Path) -> None:
    limits = {"file_bytes_max": 100, "types": ("image/*", "text/plain")}
    async with world_in(tmp_path, **limits) as world:
        with pytest.raises(TooBig):
            await world.slot(101, type="image/png")
        for type in ("video/mp4", "text/html", "image", "image/", "a b/c", "image/png; x=y", ""):
            with pytest.raises(WrongType):
                await world.slot(1, type=type)
        for type in ("IMAGE/png", "text/plain"):
            await world.slot(100, type=type)


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({"day_bytes_max": 250}, QuotaExceeded),
        ({"day_count_max": 2}, QuotaExceeded),
        ({"account_bytes_max": 250}, QuotaExceeded),
        ({"uploads_open_max": 2}, RateLimited),
        ({"free_bytes_min": 1 << 60}, NoSpace),
    ],
)
async def test_a_third_upload_over_a_quota_is_refused_for_this_account_only(
    tmp_path: Path, limits: dict[str, Any], refusal: type[Refused]
) -> None:
    async with world_in(tmp_path, **limits) as world:
        if refusal is not NoSpace:
            await world.slot(100)
            await world.slot(100)
            await world.slot(100, owner=BOB)
        with pytest.raises(refusal) as told:
            await world.slot(100)
        assert told.value.retry_after_s > 0


async def test_tries_at_once_do_not_slip_through_a_quota(tmp_path: Path) -> None:
    async with world_in(tmp_path, day_count_max=5) as world:
        tries = [world.slot(1) for _ in range(20)]
        answers = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(answer, str) for answer in answers) == 5


async def test_a_day_later_the_daily_quota_is_free_again_the_other_only_with_the_files(
    tmp_path: Path,
) -> None:
    async with world_in(tmp_path, day_bytes_max=250, account_bytes_max=450) as world:
        for _ in range(2):
            await world.upload(b"x" * 200)
            world.clock.pass_s(DAY_S + 1)
        with pytest.raises(QuotaExceeded):
            await world.slot(200)
        world.clock.pass_s(30 * DAY_S)
        await world.tidy.expire()
        await world.slot(200)


async def test_an_upload_that_was_given_up_makes_way_for_a_new_one(tmp_path: Path) -> None:
    async with world_in(tmp_path, uploads_open_max=1, idle_s=600) as world:
        old = await world.slot(100)
        with pytest.raises(RateLimited):
            await world.slot(100)
        world.clock.pass_s(601)
        await world.slot(100)
        with pytest.raises(MediaExpired):
            await world.media.offset(old)


async def test_transfers_at_once_are_bounded(tmp_path: Path) -> None:
    async with world_in(tmp_path, transfers_max=1) as world:
        first, second = await world.slot(4), await world.slot(4)
        began, go_on = asyncio.Event(), asyncio.Event()

        async def waiting() -> AsyncIterator[bytes]:
            began.set()
            await go_on.wait()
            yield b"abcd"

        task = asyncio.create_task(world.media.receive(first, 0, 4, waiting()))
        await began.wait()
        with pytest.raises(Busy):
            await world.send(second, b"abcd")
        go_on.set()
        assert await task == 4
        assert await world.send(second, b"abcd") == 4


async def test_a_cancelled_upload_is_gone_and_counts_only_what_came(tmp_path: Path) -> None:
    async with world_in(tmp_path, day_bytes_max=100) as world:
        token = await world.slot(90)
        await world.send(token, b"x" * 20)
        await world.media.cancel(token)
        assert world.spooled() == []
        with pytest.raises(MediaExpired):
            await world.media.done(token)
        with pytest.raises(QuotaExceeded):
            await world.slot(81)
        await world.slot(80)


async def test_a_finished_file_can_be_taken_back(world: MediaWorld) -> None:
    token, id, facts = await world.upload(b"oops", "oops.txt")
    await world.media.cancel(token)
    assert world.blobs() == []
    with pytest.raises(MediaExpired):
        await world.media.find(id, facts.name)


async def test_a_file_is_gone_after_its_time_and_then_forgotten(world: MediaWorld) -> None:
    _, id, facts = await world.upload(b"x")
    world.clock.pass_s(30 * DAY_S - 1)
    await world.tidy.expire()
    assert (await world.media.find(id, facts.name)).expires_us == NOW_US + 30 * DAY_S * 1_000_000
    world.clock.pass_s(1)
    with pytest.raises(MediaExpired):
        await world.media.find(id, facts.name)
    await world.tidy.expire()
    assert world.blobs() == []
    with pytest.raises(MediaExpired):
        await world.media.find(id, facts.name)
    world.clock.pass_s(31 * DAY_S)
    await world.tidy.expire()
    with pytest.raises(NotFound):
        await world.media.find(id, facts.name)


async def test_an_upload_that_is_never_done_is_removed(world: MediaWorld) -> None:
    token = await world.slot(100)
    await world.send(token, b"x" * 50)
    world.clock.pass_s(DAY_S)
    with pytest.raises(MediaExpired):
        await world.send(token, b"x", 50)
    await world.tidy.expire()
    assert world.spooled() == []


async def test_many_files_go_in_slices(tmp_path: Path) -> None:
    async with world_in(tmp_path, slice=2) as world:
        for _ in range(5):
            await world.upload(b"x")
        world.clock.pass_s(30 * DAY_S)
        await world.tidy.expire()
        assert (world.blobs(), world.tidy.removed) == ([], 5)


async def test_what_a_crash_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    async with world_in(tmp_path, slice=2) as world:
        token = await world.slot(4)
        await world.send(token, b"ab")
        for _ in range(3):
            await world.upload(b"kept")
        kept, spooled = world.blobs(), world.spooled()
        media = tmp_path / "media"
        for number in range(5):
            (media / "blobs" / f"{number:064x}").write_bytes(b"stranger")
            (media / "incoming" / f"{number:064x}").write_bytes(b"stranger")
        (media / "incoming" / f"{spooled[0]}.clean").write_bytes(b"of an open upload")
        world.clock.us = 1_000_000 * int((media / "blobs" / f"{0:064x}").stat().st_mtime)
        await world.tidy.orphans()
        assert len(world.blobs()) == 8  # too young to be judged
        world.clock.pass_s(DAY_S + 10)
        await world.tidy.orphans()
        assert world.blobs() == kept
        assert spooled[0] in world.spooled()
        assert len(world.spooled()) == 2


async def test_a_confirmed_file_goes_early_only_where_the_configuration_says_so(
    tmp_path: Path,
) -> None:
    async with world_in(tmp_path / "a", confirmed_keep_s=60) as world:
        _, id, _ = await world.upload(b"x", recipients=1)
        assert await world.media.confirm(id, BOB) == NOW_US + 30 * DAY_S * 1_000_000
    async with world_in(tmp_path / "b", confirmed_keep_s=60, expire_when_confirmed=True) as world:
        _, id, facts = await world.upload(b"x", recipients=2)
        late = NOW_US + 30 * DAY_S * 1_000_000
        for account in (ALICE, BOB, BOB):  # the owner does not count, and nobody twice
            assert await world.media.confirm(id, account) == late
        soon = await world.media.confirm(id, CAROL)
        assert soon == NOW_US + 60_000_000
        world.clock.pass_s(30)
        assert await world.media.confirm(id, CAROL) == soon  # repeated: no later
        world.clock.pass_s(30)
        await world.tidy.expire()
        assert world.blobs() == []
        with pytest.raises(MediaExpired):
            await world.media.find(id, facts.name)


async def test_a_crash_between_blob_and_ledger_loses_nothing(
    world: MediaWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await world.slot(len(DATA))
    await world.send(token, DATA)

    async def dies(*_: object) -> None:
        raise RuntimeError("as if killed")

    monkeypatch.setattr(world.media.ledger, "finish", dies)
    with pytest.raises(RuntimeError):
        await world.media.done(token)
    assert len(world.blobs()) == 1
    await world.restart()
    link, facts = await world.media.done(token)
    assert await world.download(link.split("/")[2], facts) == DATA
    assert (len(world.blobs()), world.spooled()) == (1, [])


async def test_unknown_tokens_and_links_are_not_found(world: MediaWorld) -> None:
    _, id, facts = await world.upload(b"x")
    for wrong in ("", "x", "a" * 64, "a" * 10_000, "\ud800", "../media.db"):
        with pytest.raises(NotFound):
            await world.media.offset(wrong)
        with pytest.raises(NotFound):
            await world.media.find(wrong, facts.name)
    with pytest.raises(NotFound):
        await world.media.find(id, "another name")
