"""A whole node in this process, for strangers with bad manners and two people who only chat.

Real sockets, real TLS, real SQLite; ports are free ones. The two people (`chat`) show that
nobody else is harmed; `count` and `gone` show what the server noticed and what it kept.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from bench import accounts, load
from bench.raw import RawClient, client_context, connect, frame
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.edge.session import Session
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Web
from whimbrel.node.samples import NO_PROBE
from whimbrel.protocol import wire

PEOPLE = 8  # 0 and 1 chat; the others are the test's
PATIENCE_S = 20.0
NO_WEB = Web()
_decode = msgspec.msgpack.Decoder(wire.ToDevice).decode
BODY = load.BODY


async def until(holds: Callable[[], object], what: str) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert holds(), what


async def open_stream(
    port: int, context: ssl.SSLContext | None, local: str, narrow: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """From the network address `local`; `narrow`: its kernel takes little."""
    end = socket.socket()
    end.setblocking(False)
    if narrow:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    end.bind((local, 0))
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    return await asyncio.open_connection(
        sock=end, ssl=context, server_hostname="" if context else None
    )


class Stranger:
    """A bare connection: bytes out, frames in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *messages: wire.Wire) -> None:
        self.writer.write(b"".join(frame(message) for message in messages))

    def raw(self, data: bytes) -> None:
        with suppress(RuntimeError):  # uvloop's word for a connection the server has ended
            self.writer.write(data)

    def hang_up(self) -> None:
        """Says that nothing more will come, and goes on listening."""
        with suppress(RuntimeError, OSError):
            self.writer.write_eof()

    async def next(self) -> Any:
        """The next message; None when the server has closed."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                size = int.from_bytes(await self.reader.readexactly(4), "big")
                return _decode(await self.reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                return None

    async def answers(self, kind: type, count: int) -> Sequence[Any]:
        return [await self.next_of(kind) for _ in range(count)]

    async def next_of(self, kind: type) -> Any:
        """Skips what is not of this kind."""
        while True:
            message = await self.next()
            if message is None or isinstance(message, kind):
                return message

    async def error(self) -> str:
        """The code of the error that ends the connection, and the end itself."""
        message = await self.next()
        while message is not None and not isinstance(message, wire.Error | wire.Replaced):
            message = await self.next()
        assert message is not None, "closed without a word"
        if isinstance(message, wire.Replaced):
            assert await self.next() is None, "an answer after the end"
            return "replaced"
        assert message.fatal
        assert await self.next() is None, "an answer after the end"
        return str(message.code)

    def stop_reading(self) -> None:
        """Takes nothing from the network any more; the kernel's buffers fill up."""
        cast(asyncio.ReadTransport, self.writer.transport).pause_reading()

    def go_on_reading(self) -> None:
        cast(asyncio.ReadTransport, self.writer.transport).resume_reading()

    def close(self) -> None:
        self.writer.close()


class House:
    way = "native"  # how strangers come; the fixture `way` tries every one

    def __init__(self, node: Node) -> None:
        self.node = node
        self._strangers: list[Stranger] = []
        self._people: list[RawClient] = []
        self._talks: list[load.Talk] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._faults: list[str] = []  # what came out of a callback of the loop
        asyncio.get_running_loop().set_exception_handler(self._on_fault)

    def _on_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ---- people who behave ---------------------------------------------------------------

    async def move_in(self) -> None:
        self._talks = await load.pairs(1, self.node.ports["native"], client_context())
        for talk in self._talks:
            assert talk.sender is not None
            self._people.append(talk.sender)

    async def chat(self, count: int = 20) -> None:
        """The two exchange so many messages; each gets both marks."""
        talk = self._talks[0]
        assert talk.sender is not None
        enough = talk.done + count
        for _ in range(count):
            talk.send()
        talk.sender.flush()
        await until(lambda: talk.done >= enough, "the two could not chat")

    async def log_in(self, n: int, on_batch: Any = load.ignore, last: int = 0) -> RawClient:
        client = load.client_of(n, client_context(), on_batch)
        client.last = last
        self._people.append(client)
        return await connect(client, "127.0.0.1", self.node.ports["native"])

    # ---- people who do not ---------------------------------------------------------------

    async def stranger(
        self,
        *,
        tls: bool = False,
        context: ssl.SSLContext | None = None,
        local: str = "127.0.0.1",
        narrow: bool = False,
    ) -> Stranger:
        """`local` and `narrow` as in open_stream."""
        if self.way == "websocket":
            from tests.edge.browser import raw_socket

            return await raw_socket(self, tls=tls, local=local, narrow=narrow)
        port = self.node.ports["native" if tls or context else "native_plain"]
        if tls and context is None:
            context = client_context()
        reader, writer = await open_stream(port, context, local, narrow)
        stranger = Stranger(reader, writer)
        self.keep(stranger)
        return stranger

    def keep(self, stranger: Stranger) -> None:
        """It is closed with the house."""
        self._strangers.append(stranger)

    def at_the_end(self, close: Callable[[], Awaitable[None]]) -> None:
        self._closers.append(close)

    async def guest(
        self, n: int, *, tls: bool = False, narrow: bool = False, **hello: Any
    ) -> Stranger:
        """A stranger who has logged in as account n."""
        stranger = await self.stranger(tls=tls, narrow=narrow)
        stranger.send(hello_of(n, **hello))
        welcome = await stranger.next()
        assert isinstance(welcome, wire.Welcome), welcome
        return stranger

    # ---- what the server knows -----------------------------------------------------------

    def session_of(self, n: int) -> Session:
        number = account_number(accounts.address_of(n))
        attached = self.node.engine.cells[number].state.attached
        sink = self.node.sessions.sinks[attached[1].session]
        assert isinstance(sink, Session)
        return sink

    def count(self, name: str) -> int:
        return self.node.listener.counts[name]

    async def counted(self, name: str, times: int = 1) -> None:
        await until(lambda: self.count(name) >= times, name)

    async def gone(self) -> None:
        """Only the two are left; nothing of a stranger stays in memory."""
        table = self.node.listener
        await until(lambda: len(table) == 2, "sessions are left over")
        assert table.statistics()["silent"] == 0
        assert len(self.node.sessions.sinks) == 2

    def unharmed(self) -> None:
        """No bug of ours came to light."""
        assert self.count("internal") == 0
        assert not self._faults, self._faults
        assert self.node.engine.counts["crashes"] == 0
        assert self.node.engine.counts["dead_letters"] == 0
        assert self.node.engine.ready

    async def close(self) -> None:
        for person in self._people:
            person.close()
        for close in self._closers:
            await close()
        for stranger in self._strangers:
            stranger.close()
            with suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await stranger.writer.wait_closed()
        await self.node.stop()


def hello_of(n: int, **changes: Any) -> wire.Hello:
    fields: dict[str, Any] = {
        "version": wire.VERSION,
        "account": accounts.address_of(n),
        "device": 1,
        "key": accounts.key_of(n),
    }
    return wire.Hello(**{**fields, **changes})


@asynccontextmanager
async def house(
    folder: Path, people: int = PEOPLE, *, web: Web = NO_WEB, **limits: Any
) -> AsyncIterator[House]:
    """With the two people inside; `limits` as in domain/limits.py."""
    accounts.create(folder, people)
    config = Config(
        probe=NO_PROBE,
        listen=Listen(
            host="127.0.0.1", native=0, native_plain=0, https=0, http=0, xmpp=0, xmpp_tls=0
        ),
        web=web,
        limits=Limits(**limits),
    )
    node = Node(config, folder)
    await node.start()
    built = House(node)
    try:
        await built.move_in()
        yield built
        await built.chat()
        built.unharmed()
    finally:
        await built.close()
