"""Files on the real server: an upload survives kill -9 in its middle, and workers end with it."""

import asyncio
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.edge.http.test_media import basic
from tests.node.test_sign_up import SignUpServer
from tests.services.media import samples

NUMBER = "+4915112345679"
DATA = os.urandom(6_000_000)
SENT = 4_000_000


class Uploader:
    def __init__(self, server: SignUpServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.auth: dict[str, str] = {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.ready['http']}{path}"

    async def slot(self, data: bytes, type: str) -> str:
        told = {"name": "a.bin", "size": len(data), "type": type}
        told["sha256"] = hashlib.sha256(data).hexdigest()
        async with self.session.post(self.url("/v1/media"), json=told, headers=self.auth) as answer:
            assert answer.status == 201
            upload: str = (await answer.json())["upload"]
            return upload

    async def send(self, upload: str, data: bytes, offset: int) -> int:
        headers = {"Upload-Offset": str(offset)}
        async with self.session.patch(self.url(upload), data=data, headers=headers) as answer:
            assert answer.status == 204
            return int(answer.headers["Upload-Offset"])

    async def have(self, upload: str) -> int:
        async with self.session.head(self.url(upload)) as answer:
            assert answer.status == 200
            return int(answer.headers["Upload-Offset"])

    async def done(self, upload: str) -> dict[str, Any]:
        async with self.session.post(self.url(upload + "/done")) as answer:
            assert answer.status == 200
            told: dict[str, Any] = await answer.json()
            return told

    async def get(self, link: str) -> bytes:
        async with self.session.get(self.url(link)) as answer:
            assert answer.status == 200
            return await answer.read()

    async def half(self, upload: str) -> None:
        """A piece that never ends; returns when the server has some of it on disk."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.server.ready["http"])
        head = f"PATCH {upload} HTTP/1.1\r\nHost: x\r\nUpload-Offset: 1000000\r\n"
        writer.write(f"{head}Content-Length: {len(DATA) - 1_000_000}\r\n\r\n".encode())
        writer.write(DATA[1_000_000:SENT])
        folder = self.server.data / "media/incoming"
        async with asyncio.timeout(20):
            while not any(has(path, 2_000_000) for path in folder.iterdir()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # a file tells nobody
        self.writer = writer


def test_an_upload_goes_on_after_kill_9_in_its_middle(tmp_path: Path) -> None:
    server = SignUpServer(tmp_path)
    with server:
        asyncio.run(interrupted(server))


async def interrupted(server: SignUpServer) -> None:
    async with aiohttp.ClientSession() as session:
        person = Uploader(server, session)
        signed = await server.sign_up(NUMBER)
        person.auth = basic(NUMBER, signed["device"], signed["key"])
        upload = await person.slot(DATA, "application/octet-stream")
        assert await person.send(upload, DATA[:1_000_000], 0) == 1_000_000
        await person.half(upload)
        assert server.process is not None
        server.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(server.process.wait)
        person.writer.close()
        await asyncio.to_thread(server.start)
        have = await person.have(upload)
        assert 2_000_000 < have <= SENT
        assert await person.send(upload, DATA[have:], have) == len(DATA)
        told = await person.done(upload)
        assert await person.done(upload) == told
        assert await person.get(told["link"]) == DATA
        await a_photo(person)


async def a_photo(person: Uploader) -> None:
    photo = samples.picture("JPEG", (2_000, 1_500))
    upload = await person.slot(photo, "image/jpeg")
    await person.send(upload, photo, 0)
    told = await person.done(upload)
    assert told["thumbnail"]
    workers = children(person.server.pid)
    assert workers
    await asyncio.to_thread(person.server.stop)
    assert [pid for pid in workers if lives(pid)] == []
    await asyncio.to_thread(person.server.start)
    assert not samples.has_place(await person.get(told["link"]))


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def has(path: Path, size: int) -> bool:
    return path.stat().st_size > size
