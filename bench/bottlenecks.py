"""Four bottlenecks on purpose, one after the other, on a real server; what its alerts say.

`python -m bench.bottlenecks` prints for each the text of the alert, the seconds from the cause to
the alert, and from the end of the cause until the alert has cleared itself; both by the server's
own stamps. The thresholds are those of the configuration as it comes, `hold_s` 3 s, `clear_s` 10 s;
the limits of what one connection may send are wide, as in all measurements here.
"""

import argparse
import asyncio
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import aiohttp
import msgspec

from bench import accounts
from bench.load import client_of, closed_loop, connect_to, finish, ignore, pairs
from bench.raw import RawClient, client_context
from bench.server import Server
from whimbrel.edge.http.shapes import AlertLine, Alerts
from whimbrel.protocol import wire

PEOPLE = 20
PATIENCE_S = 60.0
FLOOD_FRAMES = 2_000
LONG = msgspec.Raw(msgspec.msgpack.encode(wire.Content(text="a long message " * 60)))


class Told(NamedTuple):
    """What the server said of one bottleneck. fired_s, cleared_s: see the module."""

    cause: str
    alert: AlertLine
    fired_s: float
    cleared_s: float


class World:
    """One server and the ports to it."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.tls: ssl.SSLContext = client_context()
        self.native = int(server.ready["native"])
        self.clients: list[RawClient] = []  # closed at the end
        self._http = http
        self._url = f"http://127.0.0.1:{server.ready['http']}/admin/alerts"
        self._token = (server.data / "admin.token").read_text(encoding="ascii").strip()

    async def client(self, n: int) -> RawClient:
        client = await connect_to(client_of(n, self.tls, ignore), self.native)
        self.clients.append(client)
        return client

    async def alerts(self) -> Alerts:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._http.get(self._url, headers=headers) as answer:
            return msgspec.json.decode(await answer.read(), type=Alerts)

    async def wait_for(self, name: str, active: bool, since_s: float) -> AlertLine:
        """The change of this alert; raises TimeoutError with what was seen instead."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            seen = await self.alerts()
            for line in seen.history:
                if line.name == name and line.active == active and line.at_s >= since_s:
                    return line
            if time.monotonic() > end_s:
                others = ", ".join(f"{line.name} {line.text}" for line in seen.history)
                raise TimeoutError(f"{name} was not told; what was: {others or 'nothing'}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def slow_disk(world: World) -> AsyncIterator[None]:
    """Every fsync takes 0.8 s longer, while a few people talk."""
    talks = await pairs(2, world.native, world.tls)
    os.kill(world.server.pid, signal.SIGUSR1)
    talking = asyncio.create_task(closed_loop(talks, 1, PATIENCE_S))
    try:
        yield
    finally:
        os.kill(world.server.pid, signal.SIGUSR1)
        talking.cancel()
        await finish(talks)


@asynccontextmanager
async def hot_actor(world: World) -> AsyncIterator[None]:
    """One account is told more than it can take: a client gone wild repeats read marks."""
    client = await world.client(8)
    flooding = asyncio.create_task(_flood(client))
    try:
        yield
    finally:
        flooding.cancel()
        client.close()


async def _flood(client: RawClient) -> None:
    while not client.closed.done():
        if client.unsent_bytes < 1_000_000:
            for _ in range(FLOOD_FRAMES):
                client.send(wire.Read(accounts.address_of(9), 1))
            client.flush()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def slow_reader(world: World) -> AsyncIterator[None]:
    """A client stops reading while somebody writes to it more than its window holds."""
    reader, writer = await world.client(10), await world.client(11)
    reader.on_batch = _confirm
    reader.stop_reading()
    for _ in range(400):
        writer.submit(reader.account, LONG)
    writer.flush()
    try:
        yield
    finally:
        reader.read_on()


def _confirm(client: RawClient, messages: list[object]) -> None:
    for message in messages:
        if isinstance(message, wire.Message):
            client.last = message.q
    if client.last:
        client.send(wire.Confirm(client.last))


@asynccontextmanager
async def loop_hog(world: World) -> AsyncIterator[None]:
    """Something counts in the event loop, 0.8 s at a time."""
    os.kill(world.server.pid, signal.SIGUSR2)
    try:
        yield
    finally:
        os.kill(world.server.pid, signal.SIGUSR2)


Cause = Callable[[World], AbstractAsyncContextManager[None]]
CAUSES: dict[str, tuple[Cause, str]] = {
    "slow disk": (slow_disk, "commit_ms"),
    "hot actor": (hot_actor, "mailbox_length"),
    "slow reader": (slow_reader, "window_percent"),
    "loop hog": (loop_hog, "loop_lag_ms"),
}


async def play(world: World, cause: str) -> Told:
    """Cause it, wait for its alert, end it, wait until the alert has cleared itself."""
    begin, name = CAUSES[cause]
    started_s = time.time()
    async with begin(world):
        fired = await world.wait_for(name, True, started_s)
        ended_s = time.time()
    cleared = await world.wait_for(name, False, ended_s)
    return Told(cause, fired, fired.at_s - started_s, cleared.at_s - ended_s)


async def play_all(server: Server) -> list[Told]:
    async with aiohttp.ClientSession() as http:
        world = World(server, http)
        try:
            return [await play(world, cause) for cause in CAUSES]
        finally:
            for client in world.clients:
                client.close()


def hampered(alerts: str = "") -> Server:
    """A server that can be hampered, with accounts; `alerts`: lines of the section [alerts]."""
    server = Server(limits=f"\n[alerts]\n{alerts}\n")
    server.command = ("-m", "bench.hampered")
    accounts.create(server.data, PEOPLE)
    return server


def shown(told: Told) -> str:
    line = told.alert
    return (
        f"{told.cause}\n"
        f"    {line.name}, {line.owner}: {line.text}\n"
        f"    likely cause: {line.cause}\n"
        f"    fired after {told.fired_s:.1f} s,"
        f" cleared {told.cleared_s:.1f} s after its cause had ended"
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("bench.bottlenecks", description=__doc__)
    parser.parse_args(arguments)
    with hampered() as server:
        for told in asyncio.run(play_all(server)):
            print(shown(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
