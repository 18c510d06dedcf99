"""Files by HTTP: the contract that browser clients are written against, and its refusals."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import yarl

from tests.edge.http.sign_up_world import NUMBER, SignUpWorld, running
from tests.services.media import samples
from tests.services.media.world import MediaWorld, world_in
from whimbrel.edge.http.inside import HttpLimits
from whimbrel.edge.http.ranges import wanted

DATA = os.urandom(700_000)


class Person(SignUpWorld):
    """Somebody with a device and its key."""

    auth: dict[str, str]
    files: MediaWorld

    async def slot(self, size: int, name: str = "a.bin", **more: Any) -> tuple[int, Any]:
        told = {"name": name, "size": size, "type": "application/octet-stream", **more}
        return await self.post("/v1/media", told, headers=self.auth)

    async def send(self, upload: str, data: Any, offset: int = 0) -> tuple[int, Any]:
        headers = {"Upload-Offset": str(offset)}
        return await self.call("PATCH", upload, data=data, headers=headers)

    async def upload(self, data: bytes, name: str = "a.bin", **more: Any) -> Any:
        status, slot = await self.slot(len(data), name, **more)
        assert status == 201, slot
        assert (await self.send(slot["upload"], data))[0] == 204
        status, told = await self.post(slot["upload"] + "/done")
        assert status == 200, told
        return told

    async def file(self, link: str, **headers: str) -> tuple[int, bytes]:
        async with self.client.get(self.url(link), headers=headers) as answer:
            self.headers = answer.headers
            return answer.status, await answer.read()


def basic(address: str, device: int, key: str) -> dict[str, str]:
    packed = base64.b64encode(f"{address}/{device}:{key}".encode()).decode()
    return {"Authorization": f"Basic {packed}"}


@pytest_asyncio.fixture
async def person(tmp_path: Path) -> AsyncIterator[Any]:
    settings = {"file_bytes_max": 1_000_000, "free_bytes_min": 1, "day_count_max": 30}
    async with world_in(tmp_path, **settings) as files, running(media=files.media) as world:
        world.__class__ = Person
        world.files = files  # type: ignore[attr-defined]
        pin = await world.pin()
        _, signed = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": pin})
        world.auth = basic(NUMBER, signed["device"], signed["key"])  # type: ignore[attr-defined]
        yield world


async def test_the_whole_way_of_a_photo(person: Person) -> None:
    photo = samples.picture("JPEG", (800, 600), orientation=6)
    status, slot = await person.post(
        "/v1/media",
        {
            "name": "Höhle 1.jpg",
            "size": len(photo),
            "type": "image/jpeg",
            "sha256": hashlib.sha256(photo).hexdigest(),
        },
        headers=person.auth,
    )
    assert status == 201
    assert set(slot) == {"upload", "chunk_max", "expires_at"}
    assert slot["upload"].startswith("/v1/uploads/")
    half = len(photo) // 2
    assert (await person.send(slot["upload"], photo[:half]))[0] == 204
    assert person.headers["Upload-Offset"] == str(half)
    status, _ = await person.call("HEAD", slot["upload"])
    assert (status, person.headers["Upload-Offset"]) == (200, str(half))
    status, answer = await person.send(slot["upload"], b"xx", 1)
    assert (status, answer["error"]["code"]) == (409, "wrong-offset")
    assert person.headers["Upload-Offset"] == str(half)
    status, answer = await person.post(slot["upload"] + "/done")
    assert (status, answer["error"]["code"]) == (409, "wrong-offset")
    assert person.headers["Upload-Offset"] == str(half)
    assert (await person.send(slot["upload"], photo[half:], half))[0] == 204
    assert person.headers["Upload-Offset"] == str(len(photo))
    status, told = await person.post(slot["upload"] + "/done")
    assert status == 200
    assert await person.post(slot["upload"] + "/done") == (200, told)
    assert told["link"].startswith("/m/")
    assert told["link"].endswith("/H%C3%B6hle%201.jpg")
    assert (told["type"], told["name"]) == ("image/jpeg", "Höhle 1.jpg")
    assert (told["width"], told["height"]) == (600, 800)
    assert 0 < len(base64.b64decode(told["thumbnail"])) <= 8_192
    assert 6 <= len(told["blur"]) <= 40
    status, found = await person.file(told["link"])
    assert status == 200
    assert (len(found), hashlib.sha256(found).hexdigest()) == (told["size"], told["sha256"])
    assert not samples.has_place(found)
    assert samples.CAMERA.encode() not in found
    assert samples.pixels(found) == samples.pixels(photo)


async def test_who_shows_no_key_or_a_wrong_one_gets_no_slot(person: Person) -> None:
    body = {"name": "a", "size": 1, "type": "text/plain"}
    for headers in (
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
        {"Authorization": "Bearer " + person.auth["Authorization"][6:]},
        basic(NUMBER, 1, "wrong"),
        basic(NUMBER, 1, ""),
        basic(NUMBER, 99, "wrong"),
        basic("nobody", 1, "wrong"),
        basic("../..", 1, "wrong"),
    ):
        status, answer = await person.post("/v1/media", body, headers=headers)
        assert (status, answer["error"]["code"]) == (401, "not-authorized")


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ({"size": 1_000_001}, 413, "too-big"),
        ({"type": "nonsense"}, 415, "wrong-type"),
        ({"type": "text/html; charset=utf-8"}, 415, "wrong-type"),
        ({"size": 0}, 400, "bad-message"),
        ({"size": -1}, 400, "bad-message"),
        ({"size": "1"}, 400, "bad-message"),
        ({"sha256": "abc"}, 400, "bad-message"),
        ({"name": "x" * 256}, 400, "bad-message"),
    ],
)
async def test_a_slot_is_refused_by_name(
    person: Person, told: dict[str, Any], status: int, code: str
) -> None:
    size = told.pop("size", 1)
    found, answer = await person.slot(size, **told)
    assert (found, answer["error"]["code"]) == (status, code)


async def test_the_quota_is_told_with_a_time(person: Person) -> None:
    answers = [await person.slot(1) for _ in range(31)]
    refused = [answer for status, answer in answers if status != 201]
    assert {answer["error"]["code"] for answer in refused} == {"rate-limited"}  # open ones
    for _, answer in answers[:20]:
        await person.call("DELETE", answer["upload"])
    answers = [await person.slot(1) for _ in range(11)]
    assert [status for status, _ in answers] == [201] * 10 + [429]
    assert answers[-1][1]["error"]["code"] == "quota-exceeded"
    assert int(person.headers["Retry-After"]) > 0


async def test_a_wrong_checksum_is_told_and_the_upload_begins_again(person: Person) -> None:
    _, slot = await person.slot(4, sha256=hashlib.sha256(b"good").hexdigest())
    await person.send(slot["upload"], b"evil")
    status, answer = await person.post(slot["upload"] + "/done")
    assert (status, answer["error"]["code"]) == (422, "bad-checksum")
    await person.call("HEAD", slot["upload"])
    assert person.headers["Upload-Offset"] == "0"


async def test_a_piece_that_is_none_is_refused(person: Person) -> None:
    _, slot = await person.slot(4)
    for offset in ("", "x", "-1", "²", "9" * 30):
        headers = {"Upload-Offset": offset}
        status, answer = await person.call("PATCH", slot["upload"], data=b"abcd", headers=headers)
        assert (status, answer["error"]["code"]) == (400, "bad-message")
    status, answer = await person.send(slot["upload"], b"abcde")
    assert (status, answer["error"]["code"]) == (413, "too-big")

    async def in_chunks() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"de"

    status, answer = await person.send(slot["upload"], in_chunks())
    assert (status, answer["error"]["code"]) == (413, "too-big")


async def test_a_connection_that_breaks_loses_only_what_had_not_come(person: Person) -> None:
    _, slot = await person.slot(len(DATA))
    head = f"PATCH {slot['upload']} HTTP/1.1\r\nHost: x\r\nUpload-Offset: 0\r\n"
    head += f"Content-Length: {len(DATA)}\r\nConnection: close\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", person.server.plain_port)
    writer.write(head.encode() + DATA[:500_000])
    await writer.drain()
    spool = person.files.folder / "media/incoming"
    async with asyncio.timeout(10):
        while not any(path.stat().st_size for path in spool.iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a file tells nobody
    writer.transport.abort()
    await person.call("HEAD", slot["upload"])
    have = int(person.headers["Upload-Offset"])
    assert 0 < have <= 500_000
    assert (await person.send(slot["upload"], DATA[have:], have))[0] == 204
    _, told = await person.post(slot["upload"] + "/done")
    assert (await person.file(told["link"]))[1] == DATA


async def test_unknown_and_cancelled_uploads(person: Person) -> None:
    for method in ("PATCH", "DELETE"):
        status, answer = await person.call(
            method, "/v1/uploads/guess", headers={"Upload-Offset": "0"}
        )
        assert (status, answer["error"]["code"]) == (404, "not-found")
    assert (await person.call("HEAD", "/v1/uploads/guess"))[0] == 404
    _, slot = await person.slot(4)
    assert (await person.call("DELETE", slot["upload"]))[0] == 204
    status, answer = await person.send(slot["upload"], b"abcd")
    assert (status, answer["error"]["code"]) == (410, "expired")


# ---- downloads --------------------------------------------------------------------------


async def test_a_file_can_be_cached_but_only_privately_and_never_run(person: Person) -> None:
    told = await person.upload(samples.picture("PNG"), "a.png", type="image/png")
    for method in ("GET", "HEAD"):
        async with person.client.request(method, person.url(told["link"])) as answer:
            headers = answer.headers
            body = await answer.read()
        assert answer.status == 200
        assert len(body) == (told["size"] if method == "GET" else 0)
        assert headers["Content-Length"] == str(told["size"])
        assert headers["Content-Type"] == "image/png"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert headers["Cache-Control"] == "private, max-age=2592000, immutable"
        assert headers["Content-Disposition"].startswith("inline;")
    tag = headers["ETag"]
    assert (await person.file(told["link"], **{"If-None-Match": tag}))[0] == 304
    assert (await person.file(told["link"], **{"If-None-Match": f'"x", W/{tag}'}))[0] == 304
    assert (await person.file(told["link"], **{"If-None-Match": '"x"'}))[0] == 200


HOSTILE = b"<script>alert(document.domain)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("text/html", HOSTILE),
        ("image/svg+xml", SVG),
        ("application/xhtml+xml", HOSTILE),
        ("text/javascript", b"alert(1)"),
        ("application/pdf", b"%PDF-1.4"),
        ("image/png", HOSTILE),
        ("image/jpeg", SVG),
        ("video/mp4", HOSTILE),
        ("text/plain", HOSTILE),
        ("application/wasm", b"\0asm"),
    ],
)
async def test_what_a_browser_might_run_is_only_to_be_saved(
    person: Person, type: str, data: bytes
) -> None:
    told = await person.upload(data, "a.html", type=type)
    assert told["type"] == "application/octet-stream"
    assert (await person.file(told["link"]))[1] == data
    assert person.headers["Content-Type"] == "application/octet-stream"
    assert person.headers["Content-Disposition"].startswith("attachment;")
    assert person.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in person.headers["Content-Security-Policy"]


async def test_a_picture_that_says_to_be_html_is_a_picture(person: Person) -> None:
    """Bytes that are both (GIF and script) come as what they begin with."""
    told = await person.upload(b"GIF89a=1;alert(1)//", "a.gif", type="text/html")
    assert told["type"] == "image/gif"
    assert "thumbnail" not in told


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "file"),
        ("..", "file"),
        ("", "file"),
        ("a\r\nSet-Cookie: x=y", "aSet-Cookie: x=y"),
        ('a"; filename="b.exe', 'a"; filename="b.exe'),
        ("\u202efdp.exe", "fdp.exe"),
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("a\x00b.txt", "ab.txt"),
        ("ä" * 200 + ".jpg", "ä" * 58 + ".jpg"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("?#&", "?#&"),
    ],
)
async def test_names_are_one_harmless_segment(person: Person, name: str, kept: str) -> None:
    told = await person.upload(b"data", name)
    assert told["name"] == kept
    assert told["link"].count("/") == 3
    assert len(told["link"]) <= 512
    url = yarl.URL(person.url(told["link"]), encoded=True)
    async with person.client.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"data")
        disposition = answer.headers["Content-Disposition"]
    assert disposition == f"attachment; filename*=UTF-8''{quote(kept, safe='')}"


async def test_ranges(person: Person) -> None:
    link = (await person.upload(DATA))["link"]
    size = len(DATA)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-5", size - 5, size),
        (f"bytes=-{size * 2}", 0, size),
        (f"bytes=100-{size * 2}", 100, size),
    ):
        status, data = await person.file(link, Range=asked)
        assert (status, data) == (206, DATA[start:end])
        assert person.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert person.headers["Content-Length"] == str(end - start)
    for asked in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0"):
        status, _ = await person.file(link, Range=asked)
        assert status == 416
        assert person.headers["Content-Range"] == f"bytes */{size}"
    for asked in ("bytes=", "bytes=a-b", "bytes=5-2", "lines=0-1", "bytes=0-1,3-4", "bytes=--1"):
        assert await person.file(link, Range=asked) == (200, DATA)
    tag = person.headers["ETag"]
    assert (await person.file(link, Range="bytes=0-1", **{"If-Range": tag}))[0] == 206
    assert (await person.file(link, Range="bytes=0-1", **{"If-Range": '"old"'}))[0] == 200


@pytest.mark.parametrize("header", ["bytes=0-" + "9" * 400, "bytes=" + "0-1," * 900, "bytes=٣-"])
def test_strange_ranges_are_none(header: str) -> None:
    assert wanted(header, 100) is None


async def test_a_link_is_found_only_as_it_was_told_and_as_long_as_it_lives(person: Person) -> None:
    link = (await person.upload(b"data"))["link"]
    for wrong in (link + "x", link[:-1], link.replace("/m/", "/m/0"), "/m/x/a.bin"):
        assert (await person.file(wrong))[0] == 404
    person.files.clock.pass_s(30 * 86_400)
    status, _ = await person.call("GET", link)
    assert status == 410
    assert (await person.call("GET", link))[1]["error"]["code"] == "expired"


async def test_a_blob_that_has_vanished_is_a_clear_answer(person: Person) -> None:
    link = (await person.upload(b"data"))["link"]
    for path in (person.files.folder / "media/blobs").iterdir():
        path.unlink()
    assert (await person.call("GET", link))[0] == 404


async def test_a_recipient_confirms_with_a_key(person: Person) -> None:
    link = (await person.upload(b"data", recipients=1))["link"]
    id = link.split("/")[2]
    assert (await person.post(f"/m/{id}/confirm"))[0] == 401
    status, answer = await person.post(f"/m/{id}/confirm", headers=person.auth)
    assert status == 200
    assert set(answer) == {"expires_at"}
    assert (await person.post("/m/guess/confirm", headers=person.auth))[0] == 404


async def test_files_have_a_rate_of_their_own(tmp_path: Path) -> None:
    limits = HttpLimits(requests_burst=1, media_requests_burst=3)
    async with world_in(tmp_path) as files, running(media=files.media, http=limits) as world:
        for _ in range(3):
            assert (await world.get("/m/x/y"))[0] == 404
        assert (await world.get("/m/x/y"))[0] == 429
        assert (await world.get("/health"))[0] == 200
        assert (await world.get("/health"))[0] == 429


async def test_a_server_without_media_says_not_found() -> None:
    async with running() as world:
        for path in ("/v1/media", "/v1/uploads/x/done", "/m/x/confirm"):
            body = {"name": "a", "size": 1, "type": "text/plain"}
            assert (await world.post(path, body))[0] == 404
        assert (await world.get("/m/x/y"))[0] == 404
