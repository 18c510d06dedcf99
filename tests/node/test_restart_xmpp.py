"""`whimbrel restart` under load for XMPP clients with stream management: every session resumes on
the next process, and what they write and read is there once, and in order.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from websockets.exceptions import WebSocketException

from bench import accounts
from bench.server import Server
from tests.node.company import until
from tests.node.restarting import end, restart
from tests.xmpp.talk import CLIENT, SM, Ended, Talker, connected

PAIRS = 4
WINDOW = 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    accounts.create(running.data, 2 * PAIRS, xmpp=True)
    running.start()
    try:
        yield running
    finally:
        end(running)


class Resuming:
    """A client that never binds twice: it resumes, or `failed` says that it could not."""

    def __init__(self, server: Server, n: int, transport: str) -> None:
        self.server = server
        self.n = n
        self.transport = transport
        self.token = ""
        self.h = 0  # stanzas that came
        self.resumed = 0
        self.failed = ""
        self.stop = False
        self.talker: Talker | None = None

    async def live(self) -> None:
        while not self.stop:
            try:
                await self._connect()
                while True:
                    await self._take(await self._talker.wire.next())
            except (Ended, OSError, TimeoutError, WebSocketException):
                continue

    @property
    def _talker(self) -> Talker:
        assert self.talker is not None
        return self.talker

    async def _connect(self) -> None:
        wire = await connected(self.server.ready, self.transport)
        self.talker = talker = Talker(wire, accounts.address_of(self.n), "localhost")
        talker.features = await wire.open("localhost")
        await talker.login(accounts.key_of(self.n))
        if not self.token:
            await talker.bind("r")
            self.token = (await talker.enable()).get("id", "")
            await talker.say("<presence/>")
            self.on_begin()
        else:
            await talker.say(f"<resume xmlns='{SM}' previd='{self.token}' h='{self.h}'/>")
            answer = await wire.next()
            if answer.tag != f"{{{SM}}}resumed":
                self.failed = self.failed or answer.tag
                self.stop = True
                return
            self.resumed += 1
            self.on_handled(int(answer.get("h", "0")))
        await self.on_connected()

    async def _take(self, element: Element) -> None:
        if element.tag == f"{{{SM}}}r":
            await self._talker.say(f"<a xmlns='{SM}' h='{self.h}'/>")
        elif element.tag == f"{{{SM}}}a":
            self.on_handled(int(element.get("h", "0")))
            await self.on_connected()
        elif element.tag.startswith(f"{{{CLIENT}}}"):
            self.h += 1
            body = element.findtext(f"{{{CLIENT}}}body")
            if body:
                self.on_body(int(body))

    def on_begin(self) -> None: ...
    def on_handled(self, h: int) -> None: ...
    async def on_connected(self) -> None: ...
    def on_body(self, number: int) -> None: ...


class Sender(Resuming):
    """Writes numbers. What the server has not handled is said again when it has resumed."""

    handled = 1  # its presence
    said = 1
    sending = True

    def on_handled(self, h: int) -> None:
        assert h >= self.handled, "the server has forgotten what it acknowledged"
        self.handled = h

    async def on_connected(self) -> None:
        if self.resumed != self._known:
            self._known = self.resumed
            self.said = self.handled  # all that came after it is gone
        most = self.handled + WINDOW
        while self.said < most and (self.sending or self.said < self.wanted):
            self.said += 1
            self.wanted = max(self.wanted, self.said)
            to = accounts.address_of(self.n + PAIRS)
            await self._talker.say(
                f"<message to='{to}@localhost' type='chat'><body>{self.said - 1}</body></message>"
            )
        if self.handled < self.wanted:
            await self._talker.say(f"<r xmlns='{SM}'/>")

    _known = 0
    wanted = 1


class Receiver(Resuming):
    def __init__(self, server: Server, n: int, transport: str) -> None:
        super().__init__(server, n, transport)
        self.shown: list[int] = []

    def on_body(self, number: int) -> None:
        self.shown.append(number)


async def test_every_session_resumes_and_nothing_is_lost_or_comes_twice(server: Server) -> None:
    ways = ["tls", "websocket"]
    senders = [Sender(server, n, ways[n % 2]) for n in range(PAIRS)]
    receivers = [Receiver(server, n + PAIRS, ways[n % 2]) for n in range(PAIRS)]
    clients: list[Resuming] = [*senders, *receivers]
    tasks = [asyncio.create_task(client.live()) for client in clients]

    def all_live() -> bool:
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return True

    def shown() -> int:
        return sum(len(each.shown) for each in receivers)

    async def talk(more: int) -> None:
        enough = shown() + more
        await until(
            lambda: (
                sum(len(r.shown) for r in receivers) >= enough or any(c.failed for c in clients)
            ),
            "shown",
        )

    try:
        await talk(100)
        for times in (1, 2, 3):
            assert (await restart(server)).code == 0
            await until(
                lambda: all_live() and all(c.resumed >= times or c.failed for c in clients),  # noqa: B023
                "resumed",
            )
            await talk(100)
        assert [client.failed for client in clients] == [""] * len(clients)
        for sender in senders:
            sender.sending = False
        await until(
            lambda: all(
                len(r.shown) >= s.wanted - 1 for s, r in zip(senders, receivers, strict=True)
            ),
            "everything shown",
        )
        for sender, receiver in zip(senders, receivers, strict=True):
            assert receiver.shown == list(range(1, sender.wanted))
            assert (sender.resumed, receiver.resumed) == (3, 3)
    finally:
        for client in clients:
            client.stop = True
            if client.talker is not None:
                client.talker.wire.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
