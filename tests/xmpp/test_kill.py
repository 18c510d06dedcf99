"""kill -9 through XMPP: what `<a/>` acknowledged is there afterwards, once and in order; and what a
client has not acknowledged comes again.
"""

import asyncio
import random
from pathlib import Path

from bench import accounts
from bench.server import Server
from tests.xmpp.talk import CLIENT, SM, Ended, Talker, connected

PAIRS = 6
ROUNDS = 4


async def log_in(server: Server, n: int, present: bool = True) -> Talker:
    wire = await connected(server.ready, "tls")
    talker = Talker(wire, accounts.address_of(n), "localhost")
    talker.features = await wire.open("localhost")
    await talker.login(accounts.key_of(n))
    await talker.bind("r")
    enabled = await talker.enable()
    assert enabled.get("resume") == "true"
    if present:
        await talker.say("<presence/>")
    return talker


class Sender:
    """Numbers its messages; `promised` is the highest that the server has acknowledged."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.next = 1
        self.promised = 0
        self._first = 1  # of this stream

    async def live(self, server: Server) -> None:
        try:
            talker = await log_in(server, self.n, present=False)
            # What was not acknowledged is sent again, as clients do.
            self.next = self._first = self.promised + 1
            peer = accounts.address_of(self.n + PAIRS)
            while True:
                for _ in range(3):
                    await talker.say(
                        f"<message to='{peer}@localhost' type='chat' id='{self.next}'>"
                        f"<body>{self.next}</body></message>"
                    )
                    self.next += 1
                await talker.say(f"<r xmlns='{SM}'/>")
                answer = await talker.hear("a")
                self.promised = self._first - 1 + int(answer.get("h", "0"))
        except (Ended, OSError, TimeoutError):
            return


class Receiver:
    def __init__(self, n: int) -> None:
        self.n = n
        self.shown: list[int] = []

    async def live(self, server: Server, until: int = 0) -> None:
        """`until`: this number has come."""
        try:
            talker = await log_in(server, self.n)
            h = 1  # its own presence comes first
            await talker.hear("presence")
            while not until or not self.shown or self.shown[-1] < until:
                element = await talker.next()
                if element.tag == f"{{{SM}}}r":
                    await talker.say(f"<a xmlns='{SM}' h='{h}'/>")
                elif element.tag.startswith(f"{{{CLIENT}}}"):
                    h += 1
                    body = element.findtext(f"{{{CLIENT}}}body")
                    if body:
                        self.shown.append(int(body))
        except (Ended, OSError, TimeoutError):
            return


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    server = Server(tmp_path)
    accounts.create(server.data, 2 * PAIRS, xmpp=True)
    senders = [Sender(n) for n in range(PAIRS)]
    receivers = [Receiver(n + PAIRS) for n in range(PAIRS)]
    with server:
        for _ in range(ROUNDS):
            lives = [asyncio.create_task(sender.live(server)) for sender in senders]
            lives += [asyncio.create_task(receiver.live(server)) for receiver in receivers]
            enough = sum(s.promised for s in senders) + chance.randrange(60, 240)
            async with asyncio.timeout(60):
                while sum(s.promised for s in senders) < enough:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert server.process is not None
            server.process.kill()
            server.process.wait()
            await asyncio.gather(*lives)
            server.start()
        for sender, receiver in zip(senders, receivers, strict=True):
            await receiver.live(server, until=sender.promised)
            # Sent again may be shown again, but nothing is missing, and the first time is in order.
            first = list(dict.fromkeys(receiver.shown))
            assert first == list(range(1, len(first) + 1))
            assert len(first) >= sender.promised
