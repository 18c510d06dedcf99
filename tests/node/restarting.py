"""What tests of restarts need: the command, who serves now, somebody who knocks at the doors."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench.raw import RawClient
from bench.server import COMMAND, Server
from bench.web import WebClient
from tests.node.kill import Person
from whimbrel.cli.restart import connected
from whimbrel.protocol import wire

_unpack = msgspec.json.Decoder(wire.Content).decode


class Outcome(msgspec.Struct):
    code: int
    said: str


async def restart(server: Server, **wish: Any) -> Outcome:
    """An order as the command gives it, without the command's own start."""
    return await asyncio.to_thread(_order, server.data, wish)


def _order(data: Path, wish: dict[str, Any]) -> Outcome:
    said = ""
    with connected(data) as pair:
        pair.settimeout(90)
        pair.sendall(json.dumps(wish).encode() + b"\n")
        with pair.makefile("rb") as answers, contextlib.suppress(ConnectionError):
            for answer in answers:
                line = json.loads(answer)
                said += line["text"] + "\n"
                if line.get("over"):
                    return Outcome(int(line.get("failed", False)), said)
    return Outcome(-1, said)


async def command(server: Server, *options: str) -> Outcome:
    """`whimbrel restart`, as an operator types it."""
    words = [sys.executable, *COMMAND, "restart", "--data", str(server.data), *options]
    process = await asyncio.create_subprocess_exec(
        *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return Outcome(process.returncode, said.decode())


def facts(server: Server) -> dict[str, Any]:
    found = json.loads((server.folder / "ready.json").read_text())
    assert isinstance(found, dict)
    return found


def pid_of(server: Server) -> int:
    """Who serves now."""
    return int(facts(server)["pid"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def holders(folder: Path) -> list[int]:
    """Processes that have the database of this folder open."""
    database = str((folder / "whimbrel.db").resolve())
    processes = (each for each in Path("/proc").iterdir() if each.name.isdigit())
    return [int(process.name) for process in processes if database in open_files(process)]


def open_files(process: Path) -> set[str]:
    """Of /proc/PID. What is closed, or who ends, while we look is left out."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(fd))
    return found


def end(server: Server) -> None:
    """The server, whoever serves now; the keeper, if there is one, ends with it."""
    with contextlib.suppress(OSError, ValueError):
        pid = pid_of(server)
        if is_alive(pid) and pid != server.pid:
            os.kill(pid, signal.SIGTERM)
    server.stop()


class Knocker:
    """Connects to every port, again and again, and counts who is not let in."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.knocked = 0
        self.refused = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Knocker":
        self._task = asyncio.create_task(self._knock())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _knock(self) -> None:
        while True:
            for port in self.ports:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                except ConnectionRefusedError:
                    self.refused += 1
                self.knocked += 1
            await asyncio.sleep(0.002)


class WebPerson(Person):
    """The same in a browser: JSON in a WebSocket."""

    def make_client(self, context: ssl.SSLContext) -> RawClient:
        return WebClient(self.address, self.key, 1, None, self.on_batch)

    def unpack(self, body: bytes) -> wire.Content:
        return _unpack(body)
