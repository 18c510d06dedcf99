"""The same laws over a folder and over a store that speaks S3 (moto's server, in this process)."""

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer

from tests.services.media import samples
from tests.services.media.world import ALICE, MediaWorld, world_in
from whimbrel.domain.errors import TooBig, Unready, WrongOffset
from whimbrel.domain.media import MediaSettings
from whimbrel.services.media.blobs import PART_BYTES, make_blobs

BUCKET = "whimbrel"
SECRET = "a-very-secret-access-key"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def options(endpoint: str) -> dict[str, Any]:
    return {
        "bucket": BUCKET,
        "region": "us-east-1",
        "endpoint": endpoint,
        "access_key_id": "someone",
        "secret_access_key": SECRET,
        "client_options": {"allow_http": True},
    }


def client(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="someone",
        aws_secret_access_key=SECRET,
    )


@pytest_asyncio.fixture(params=["folder", "s3"])
async def world(request: Any, tmp_path: Path) -> AsyncIterator[MediaWorld]:
    settings: dict[str, Any] = {}
    if request.param == "s3":
        endpoint = request.getfixturevalue("endpoint")
        client(endpoint).create_bucket(Bucket=BUCKET)
        settings = {"store": "s3", "options": options(endpoint), "direct": True}
    async with world_in(tmp_path, **settings) as world:
        yield world
        await world.media.blobs.delete(await stored(world))


async def stored(world: MediaWorld) -> list[str]:
    return [name async for some in world.media.blobs.names(2) for name, _ in some]


async def test_a_large_file_goes_in_and_parts_of_it_come_out(world: MediaWorld) -> None:
    data = os.urandom(2 * PART_BYTES + 12_345)
    _, id, facts = await world.upload(data)
    assert await world.download(id, facts) == data
    served = await world.media.find(id, facts.name)
    middle = [piece async for piece in world.media.read(served, 5_000_000, 6_000_001)]
    assert b"".join(middle) == data[5_000_000:6_000_001]
    assert len(await stored(world)) == 1
    assert world.spooled() == []


async def test_a_photo_is_clean_before_it_is_in_the_store(world: MediaWorld) -> None:
    _, id, facts = await world.upload(samples.picture("JPEG"), "a.jpg", type="image/jpeg")
    assert facts.thumbnail
    assert not samples.has_place(await world.download(id, facts))


async def test_all_names_come_in_slices_and_removing_twice_is_no_error(world: MediaWorld) -> None:
    blobs = world.media.blobs
    for number in (3, 1, 4, 0, 2):
        file = world.media.spool.folder / "x"
        file.write_bytes(b"x")
        await blobs.put(f"{number:064x}", file)
    slices = [some async for some in blobs.names(2)]
    assert max(map(len, slices)) <= 2
    found = sorted(line for some in slices for line in some)
    assert [int(name, 16) for name, _ in found] == [0, 1, 2, 3, 4]
    now_s = datetime.now(UTC).timestamp()
    assert all(abs(now_s - changed_s) < 60 for _, changed_s in found)
    first = found[:2]
    await blobs.delete([name for name, _ in first])
    await blobs.delete([name for name, _ in first])
    assert len(await stored(world)) == 3
    with pytest.raises(FileNotFoundError):
        await blobs.size(first[0][0])
    with pytest.raises(FileNotFoundError):
        [piece async for piece in blobs.read(first[0][0], 0, 1)]


async def test_expired_files_and_strangers_leave_the_store(world: MediaWorld) -> None:
    file = world.media.spool.folder / "x"
    file.write_bytes(b"stranger")
    await world.media.blobs.put("f" * 64, file)
    await world.upload(b"data")
    world.clock.us = int((datetime.now(UTC).timestamp() + 2 * 86_400) * 1_000_000)
    await world.tidy.orphans()
    assert "f" * 64 not in await stored(world)
    assert len(await stored(world)) == 1
    await world.tidy.expire()
    world.clock.pass_s(31 * 86_400)
    await world.tidy.expire()
    assert await stored(world) == []


# ---- straight to the store --------------------------------------------------------------


@pytest_asyncio.fixture
async def direct(endpoint: str, tmp_path: Path) -> AsyncIterator[MediaWorld]:
    client(endpoint).create_bucket(Bucket=BUCKET)
    settings = {"store": "s3", "options": options(endpoint), "direct": True}
    async with world_in(tmp_path, **settings) as world:
        yield world


async def put(url: str, data: bytes) -> int:
    async with aiohttp.ClientSession() as session, session.put(url, data=data) as answer:
        return answer.status


async def test_a_file_put_straight_into_the_store_is_checked_and_cleaned_too(
    direct: MediaWorld, endpoint: str
) -> None:
    photo = samples.picture("JPEG")
    slot = await direct.media.slot(ALICE, "a.jpg", len(photo), "image/jpeg", "", 0)
    assert slot.direct.startswith(endpoint)
    assert SECRET not in slot.direct
    with pytest.raises(WrongOffset):
        await direct.media.done(slot.token)
    assert await put(slot.direct, photo) == 200
    link, facts = await direct.media.done(slot.token)
    assert not samples.has_place(await direct.download(link.split("/")[2], facts))
    listed = client(endpoint).list_objects_v2(Bucket=BUCKET, Prefix="direct/")
    assert listed["KeyCount"] == 0


async def test_a_file_put_straight_that_is_larger_than_announced_is_removed(
    direct: MediaWorld, endpoint: str
) -> None:
    slot = await direct.media.slot(ALICE, "a", 4, "text/plain", "", 0)
    assert await put(slot.direct, b"12345") == 200
    with pytest.raises(TooBig):
        await direct.media.done(slot.token)
    listed = client(endpoint).list_objects_v2(Bucket=BUCKET, Prefix="direct/")
    assert listed["KeyCount"] == 0


async def test_a_store_that_is_away_is_named_without_its_secrets(tmp_path: Path) -> None:
    told = options("http://127.0.0.1:1") | {
        "retry_config": {"max_retries": 0},
    }
    blobs = make_blobs(MediaSettings(store="s3", options=told), tmp_path)
    with pytest.raises(Unready) as refusal:
        await blobs.size("a" * 64)
    assert SECRET not in str(refusal.value)
    with pytest.raises(Unready) as refusal:
        make_blobs(MediaSettings(store="s3", options={**told, "nonsense": SECRET}), tmp_path)
    assert SECRET not in str(refusal.value)
