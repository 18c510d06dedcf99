"""Law 4 on the real server: what every device confirmed is in no file of the data folder."""

import asyncio
import secrets
import time
from pathlib import Path

import msgspec
import pytest

from bench import accounts
from bench.raw import client_context
from bench.server import Server
from tests.node.kill import Ledger, Person, kill
from whimbrel.protocol import wire

_pack = msgspec.msgpack.Encoder().encode
DEADLINE_S = 30.0


class Writer(Person):
    """Sends bodies that can be found again, if they are anywhere."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.sending = False

    def send(self, text: str) -> None:
        assert self.client is not None
        c = self.next_c
        self.next_c = c + 1
        body = msgspec.Raw(_pack(wire.Content(text=f"{self.address} {c}", sealed=text)))
        self.unanswered[c] = body
        self.client.send(wire.Submit(c, self.peer, body))
        self.client.flush()


def found(folder: Path, needles: list[str]) -> list[str]:
    """Which needles are in which file, of all files there are."""
    hits = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            hits += [f"{path.name}: {n[:12]}" for n in needles if n.encode() in data]
    return hits


async def until(condition: object, what: str) -> None:
    assert callable(condition)
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
        await asyncio.sleep(0.02)


def bodies(count: int, size: int) -> list[str]:
    return [secrets.token_hex(size // 2) for _ in range(count)]


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_after_the_confirm_a_body_is_found_in_no_file(tmp_path: Path, killed: bool) -> None:
    small, large = bodies(200, 64), bodies(10, 40_000)
    asyncio.run(_play(tmp_path, [*small, *large], killed))


async def _play(folder: Path, texts: list[str], killed: bool) -> None:
    server = Server(folder)
    accounts.create(server.data, 2)
    await asyncio.to_thread(server.start)
    server.native_port = int(server.ready["native"])
    context = client_context()

    ledger = Ledger()
    alice = Writer(ledger, 0, accounts.address_of(1), True)
    bob = Writer(ledger, 1, accounts.address_of(0), False)
    tasks = [asyncio.create_task(alice.live(server.native_port, context))]
    try:
        await until(lambda: alice.client and alice.client.welcome.done(), "welcome")
        needles = [text[:40] for text in texts]
        for text in texts[:100]:  # for somebody who is not there
            alice.send(text)
        await until(lambda: not alice.unanswered, "all stored")
        assert found(server.data, needles[:100]), "bodies wait on disk, or the search is blind"
        if killed:
            kill(server)
            await asyncio.to_thread(server.start)
        tasks.append(asyncio.create_task(bob.live(server.native_port, context)))
        await until(lambda: bob.client and bob.client.welcome.done(), "welcome")
        await until(lambda: not alice.unanswered, "nothing to repeat")
        for text in texts[100:]:  # and live
            alice.send(text)
        await until(lambda: not alice.unanswered and not alice.waiting, "all delivered")
        await until(lambda: not found(server.data, needles), "wiped")
        assert ledger.verdict()["lost"] == 0
    finally:
        for person in (alice, bob):
            person.stop = True
            if person.client is not None:
                person.client.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(server.stop)
    assert found(server.data, [text[:40] for text in texts]) == []
