"""A restart as the old process does it: start the next one, let go, see it serve, or go on.

`RestartDesk` listens for the command on a socket in the data folder; `Successor` is the next
process. main.py is the loop that uses both. Law: whatever the next one does, or does not, there is
one server afterwards; this one lets go of the database only when the next one has said that it is
prepared, and takes it again only when the next one has ended. docs/decisions/0021.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec
import structlog

from whimbrel.domain.discreet import discreet, stack_of
from whimbrel.edge.sockets import ListenSockets
from whimbrel.node import steps, succession
from whimbrel.node.config import Restart
from whimbrel.node.keeping import Keeping
from whimbrel.node.succession import Adopt, Gone, HandedOver, Prepared, Refused, Serving, TakeOver

log = structlog.get_logger("whimbrel.node")

SOCKET = "control.socket"
LINE_BYTES_MAX = 4_096
WORDS_MAX = 600  # characters of what a process said before it ended
END_S = 5.0  # from SIGTERM to SIGKILL
_PEER = struct.Struct("3i")  # SO_PEERCRED: pid, uid, gid


class RestartFailed(Exception):
    """Why, for the operator. The old process goes on."""


class Wish(msgspec.Struct):
    """What `whimbrel restart` sends: one line of JSON.

    python: another interpreter than this process runs on. migrate: the database may be changed in
    a way that this version cannot go back from.
    """

    python: str = ""
    migrate: bool = False


class Line(msgspec.Struct, omit_defaults=True):
    """What it hears, one a line. over: this is the last one; failed: and nothing came of it."""

    text: str
    over: bool = False
    failed: bool = False
    __repr__ = discreet


class Order:
    """One command that was taken; `say` and `end` are heard by whoever gave it, if still there."""

    def __init__(self, wish: Wish, writer: asyncio.StreamWriter) -> None:
        self.wish = wish
        self.who = ""  # as the system knows them
        self.result = ""  # what it came to
        self._writer = writer

    def say(self, text: str) -> None:
        self._write(Line(text))

    def end(self, text: str, failed: bool = False) -> None:
        self.result = text
        self._write(Line(text, True, failed))
        self._writer.close()

    def _write(self, line: Line) -> None:
        with suppress(OSError):
            self._writer.write(msgspec.json.encode(line) + b"\n")

    async def heard(self) -> None:
        """What was said has left; this process may end now."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()


class RestartDesk:
    """Takes one order at a time; others are refused by name while it is worked on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SOCKET
        self._orders: asyncio.Queue[Order] = asyncio.Queue(1)
        self._server: asyncio.Server | None = None
        self.busy = ""  # what is being done

    async def open(self) -> None:
        """Take the place of whoever listened here before, another process or this one."""
        self.close(remove=False)
        folder = os.open(self._path.parent, os.O_PATH | os.O_CLOEXEC)
        try:  # by this way, because a socket's whole path may have only 107 bytes
            name = f"/proc/self/fd/{folder}/{SOCKET}"
            with suppress(FileNotFoundError):
                os.unlink(name)
            self._server = await asyncio.start_unix_server(self._serve, name)
            os.chmod(name, 0o600)
        finally:
            os.close(folder)

    async def next(self) -> Order:
        return await self._orders.get()

    def close(self, remove: bool) -> None:
        """remove: nobody listens here from now on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if remove:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = Order(Wish(), writer)
        pair = writer.get_extra_info("socket")
        _, uid, _ = _PEER.unpack(pair.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        order.who = f"user {uid}"
        if uid not in (0, os.geteuid()):
            order.end("only the user of the server, or root, may restart it", failed=True)
            return
        try:
            async with asyncio.timeout(10.0):
                text = await reader.readuntil(b"\n")
            order.wish = msgspec.json.decode(text[:LINE_BYTES_MAX], type=Wish)
        except (TimeoutError, EOFError, ValueError, OSError):
            order.end("this is no order that this version understands", failed=True)
            return
        if self.busy:
            order.end(f"a restart is under way: {self.busy}", failed=True)
            return
        self.busy = "it has just begun"
        self._orders.put_nowait(order)


class Successor:
    """The next process, from its start to its first answer or its end."""

    def __init__(self, order: Order, sockets: ListenSockets, settings: Restart) -> None:
        self._order = order
        self._sockets = sockets
        self._settings = settings
        self._said: IO[bytes] = tempfile.TemporaryFile()  # what it prints until it takes over  # noqa: SIM115
        self._pair: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.keeping = Keeping()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def prepare(self) -> None:
        """Start it, and wait until it has everything but the database. Raises RestartFailed."""
        async with self._or_fails():
            await self._prepare()

    @contextlib.asynccontextmanager
    async def _or_fails(self) -> AsyncIterator[None]:
        """A mistake of ours in here must not end the process that serves. Raises RestartFailed,
        when the next process has ended.
        """
        try:
            yield
        except RestartFailed:
            await self.end(at_once=True)
            raise
        except Exception as error:
            log.error("restart", error=type(error).__name__, stack=stack_of(error))
            await self.end(at_once=True)
            raise RestartFailed(f"internal ({type(error).__name__}), see the log") from error

    async def _prepare(self) -> None:
        mine, its = socket.socketpair()
        self._pair = mine
        with its:
            try:
                self._process = self._start(its.fileno())
            except OSError as error:
                raise RestartFailed(f"{error.filename}: {error.strerror}") from error
        self._order.say(f"process {self.pid} prepares")
        steps.reached("started")
        places = [place for place, _ in self._sockets.all]
        fds = [one.fileno() for _, one in self._sockets.all]
        try:
            await self._send(Adopt(places), [*fds, 2])
            word, _ = await self._receive(self._settings.prepare_s)
        except Gone as gone:
            raise RestartFailed(await self._why(gone)) from None
        steps.reached("prepared")
        self._may_go_on(word)

    def _start(self, fd: int) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, succession.VARIABLE: str(fd), **self.keeping.environment}
        handed = (fd, self.keeping.fd) if self.keeping.fd >= 0 else (fd,)
        return subprocess.Popen(
            command_of(self._order.wish), stderr=self._said, env=environment, pass_fds=handed
        )

    def _may_go_on(self, word: object) -> None:
        if isinstance(word, Refused):
            raise RestartFailed(word.why)
        if not isinstance(word, Prepared):
            raise RestartFailed(f"process {self.pid} says something unexpected")
        now, wanted = word.schema
        if now != wanted and not self._order.wish.migrate:
            raise RestartFailed(
                f"version {word.version} changes the database from schema {now} to {wanted}, and"
                " there is no way back from that: make a backup, then: whimbrel restart --migrate"
            )
        self._order.say(f"process {self.pid} is prepared (version {word.version})")

    async def take_over(self, handed: HandedOver) -> float:
        """It gets the lock. Seconds during which nobody was served. Raises RestartFailed, when
        it has ended.
        """
        async with self._or_fails():
            return await self._take_over(handed)

    async def _take_over(self, handed: HandedOver) -> float:
        try:
            await self._send(TakeOver(handed.carried), [handed.lock.fd])
            steps.reached("handed over")
            word, _ = await self._receive(self._settings.healthy_s)
        except Gone as gone:
            raise RestartFailed(await self._why(gone)) from None
        if not isinstance(word, Serving):
            raise RestartFailed(word.why if isinstance(word, Refused) else "it is not understood")
        steps.reached("serving")
        return word.at_s - handed.frozen_s

    async def _why(self, gone: Gone) -> str:
        """It ends here, if it has not; what it said last."""
        assert self._process is not None
        ended = self._process.poll()
        if ended is None and str(gone) == succession.ENDED:  # its descriptors close before it ends
            with suppress(subprocess.TimeoutExpired):
                ended = await asyncio.to_thread(self._process.wait, END_S)
        words = self._last_words()
        await self.end(at_once=True)
        if ended is None:
            return f"process {self.pid} was ended: {gone}"
        how = f"signal {-ended}" if ended < 0 else f"exit code {ended}"
        return f"process {self.pid} has ended ({how}). {words}".rstrip(". ")

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-WORDS_MAX:] if lines else ""

    def signal(self, number: int) -> None:
        """What is asked of this process is asked of the next one."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def ended(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    async def end(self, at_once: bool = False) -> None:
        """Returns when it has ended: only then may this process touch the database."""
        if self._process is not None and self._process.poll() is None:
            if not at_once:
                self._process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(self._process.wait, END_S)
            self._process.kill()
            await self.ended()
        self.close()
        self.keeping.give_up()

    def close(self) -> None:
        if self._pair is not None:
            self._pair.close()
            self._pair = None
        self._said.close()

    async def _send(self, word: succession.Word, fds: list[int]) -> None:
        assert self._pair is not None
        await asyncio.to_thread(succession.send, self._pair, word, fds)

    async def _receive(self, timeout_s: float) -> tuple[object, list[int]]:
        assert self._pair is not None
        return await asyncio.to_thread(succession.receive, self._pair, timeout_s)


def command_of(wish: Wish) -> list[str]:
    """The command by which this process was started, with the interpreter that is wanted."""
    if wish.python:
        return [wish.python, "-m", "whimbrel", *sys.argv[1:]]
    return [sys.executable, *sys.orig_argv[1:]]
