"""Where no network namespaces can be had: TCP relays on loopback that can be stopped or slowed.

    python -m trial.faults.relays

Each node reaches PostgreSQL and NATS through relays of its own. What is cut is held back, not
lost, as TCP would have it once packets go through again; only whole ways can be cut. Orders are
lines of JSON on stdin: ["open", node, service, host, port] is answered with a port, ["rules",
[[from, to, part lost, held back (s)], ...]], always all of them, with 0. Ends with stdin.
"""

import asyncio
import contextlib
import json
import sys
from typing import Any

CHUNK = 65_536
HELD_MAX = 256  # chunks on one way; then the sender's TCP waits

Way = tuple[str, str]


class Ways:
    """What may pass in which direction."""

    def __init__(self) -> None:
        self._cut: set[Way] = set()
        self._held_s: dict[Way, float] = {}
        self._changed = asyncio.Event()

    def rule(self, rules: list[tuple[str, str, float, float]]) -> None:
        self._cut = {(a, b) for a, b, lost, _ in rules if lost >= 1}
        self._held_s = {(a, b): held_s for a, b, _, held_s in rules}
        self._changed.set()
        self._changed = asyncio.Event()

    def held_s(self, way: Way) -> float:
        return self._held_s.get(way, 0.0)

    async def open(self, *ways: Way) -> None:
        while self._cut.intersection(ways):
            await self._changed.wait()


class Relay:
    """From one node to one port of a service."""

    def __init__(self, ways: Ways, node: str, service: str, host: str, port: int) -> None:
        self._ways = ways
        self._there, self._back = (node, service), (service, node)
        self._target = host, port
        self._server: asyncio.Server

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            await self._ways.open(self._there, self._back)
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            with contextlib.closing(far_writer):
                pumps = [
                    asyncio.create_task(self._pump(reader, far_writer, self._there)),
                    asyncio.create_task(self._pump(far_reader, writer, self._back)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        """Ends when either side has ended."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_MAX)
        write = asyncio.create_task(self._write(held, writer, way))
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(CHUNK):
                await held.put((loop.time() + self._ways.held_s(way), data))
            await held.join()
        finally:
            write.cancel()

    async def _write(
        self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: Way
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, data = await held.get()
            if due_s > loop.time():
                await asyncio.sleep(due_s - loop.time())
            await self._ways.open(way)
            writer.write(data)
            await writer.drain()
            held.task_done()


async def main() -> None:
    ways = Ways()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    relays: list[Relay] = []  # kept: their servers end with them
    while line := await orders.readline():
        answer: Any = 0
        order = json.loads(line)
        if order[0] == "open":
            relays.append(Relay(ways, *order[1:]))
            answer = await relays[-1].start()
        else:
            ways.rule(order[1])
        print(answer, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
