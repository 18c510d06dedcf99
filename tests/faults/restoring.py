"""A backup is taken under load, more is acknowledged, the machine is lost, the backup returns.

People use the client library with files of their own, as `whimbrel chat` does. What was
acknowledged after the backup is in nobody's database any more: the phones bring it back.
"""

import asyncio
import shutil
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from bench import accounts
from bench.server import Server
from tests.faults.faults import Row
from tests.node.company import until
from tests.node.kill import kill
from whimbrel.client import Backoff, Client, Pinned, SentMessage
from whimbrel.client.sqlite_store import SqliteClientStore
from whimbrel.edge.certificate import Certificate
from whimbrel.protocol.wire import ALPN
from whimbrel.storage.backup import back_up, restore

PEOPLE = 4
EACH = 15  # messages of each person before, and after the backup


class Phone:
    """One person, who writes to the next one and shows what comes."""

    def __init__(self, n: int, server: Server, folder: Path) -> None:
        self.peer = accounts.address_of((n + 1) % PEOPLE)
        self.address = accounts.address_of(n)
        self.sent: list[SentMessage] = []
        self.screen: dict[str, list[str]] = defaultdict(list)
        self.client = Client(
            self.address,
            1,
            accounts.key_of(n),
            "127.0.0.1",
            int(server.ready["native"]),
            store=SqliteClientStore(folder / f"phone-{n}.db"),
            trust=Pinned(_fingerprint(server)),
            backoff=Backoff(0.05, 0.2),
        )

    async def show(self) -> None:
        async for message in self.client.messages():
            self.screen[message.sender].append(message.text)

    async def write(self, count: int) -> None:
        for _ in range(count):
            text = f"{len(self.sent) + 1} of {self.address}"
            self.sent.append(await self.client.send(self.peer, text))


def _fingerprint(server: Server) -> str:
    folder = server.data
    return Certificate(folder / "certificate.pem", folder / "certificate-key.pem", ALPN).fingerprint


async def restored(folder: Path, rounds: int) -> Row:
    server = Server(folder)
    accounts.create(server.data, PEOPLE)
    await asyncio.to_thread(server.start)
    server.native_port = int(server.ready["native"])
    phones = [Phone(n, server, folder) for n in range(PEOPLE)]
    for phone in phones:
        await phone.client.__aenter__()
    shows = [asyncio.create_task(phone.show()) for phone in phones]
    times = []
    try:
        for number in range(rounds):
            times.append(await _one_round(server, phones, folder / f"backup-{number}"))
        verdict = await _judged(phones)
    finally:
        for show in shows:
            show.cancel()
        await asyncio.gather(*shows, return_exceptions=True)
        for phone in phones:
            await phone.client.close()
        await asyncio.to_thread(server.stop)
    return Row("lost, restored from a backup under load", rounds, verdict, times)


async def _one_round(server: Server, phones: list[Phone], target: Path) -> float:
    copying = asyncio.create_task(
        asyncio.to_thread(back_up, server.data, target, lambda done, total: None)
    )
    await asyncio.gather(*(phone.write(EACH) for phone in phones))
    await copying
    await asyncio.gather(*(phone.write(EACH) for phone in phones))
    await asyncio.gather(*(sent.stored for phone in phones for sent in phone.sent))
    kill(server)
    shutil.rmtree(server.data)  # the disk is gone
    began = time.monotonic()
    await asyncio.to_thread(restore, target, server.data, False)
    await asyncio.to_thread(server.start)
    return time.monotonic() - began


async def _judged(phones: list[Phone]) -> dict[str, int]:
    """Every message that anybody saw a mark of is on its recipient's screen, once, in order."""
    by_address = {phone.address: phone for phone in phones}
    for phone in phones:
        seen = by_address[phone.peer].screen[phone.address]
        await until(lambda seen=seen, phone=phone: len(set(seen)) >= len(phone.sent), "shown")  # type: ignore[misc]
    async with asyncio.timeout(60):
        await asyncio.gather(*(sent.delivered for phone in phones for sent in phone.sent))
    lost = twice = disordered = lies = 0
    for phone in phones:
        seen = by_address[phone.peer].screen[phone.address]
        wrote = [sent.text for sent in phone.sent]
        lost += len(set(wrote) - set(seen))
        twice += len(seen) - len(set(seen))
        order = {text: n for n, text in enumerate(wrote)}
        disordered += sum(order[b] < order[a] for a, b in pairwise(seen))
        lies += len(set(seen) - set(wrote))
    return {
        "acknowledged": sum(len(phone.sent) for phone in phones),
        "lost": lost,
        "shown_twice": twice,
        "out_of_order": disordered,
        "marks_that_lie": lies,
    }
