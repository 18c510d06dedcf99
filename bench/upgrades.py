"""Live upgrades under load: `python -m bench.upgrades` prints what a server must show.

Ten upgrades and ten rollbacks in a row while people chat: connections dropped, messages lost or
doubled, the longest pause and p99. Then bad versions: which step catches each, after how long, how
many messages it touched. Latency is that of the second check mark, as the sender sees it.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench import accounts, load, versions
from bench.meter import Meter
from bench.raw import RawClient
from bench.server import Server
from bench.world import run
from whimbrel.protocol import wire

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(wire.Content).decode
PAIRS = 200
SETTINGS = """
[upgrade]
canary_share = {share}
canary_s = {canary}
watch_s = {watch}
worlds = {worlds}
"""
EACH_S = 1.5  # between an upgrade and its rollback


class Ledger:
    """What was sent and what was shown: numbers, per sender."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self.shown: dict[str, int] = {}
        self.doubled = self.disordered = self.refused = 0
        self.times: dict[tuple[str, int], float] = {}
        self.ids: dict[str, dict[int, int]] = {}  # sender -> id -> c
        self.delays: list[tuple[float, float]] = []  # (when, how long)

    def lost(self) -> int:
        return sum(sent - self.shown.get(name, 0) for name, sent in self.sent.items())


class Person:
    def __init__(self, ledger: Ledger, n: int, peer: str) -> None:
        self.ledger = ledger
        self.name = accounts.address_of(n)
        self.peer = peer
        self.client: RawClient | None = None

    def send(self) -> None:
        ledger, client = self.ledger, self.client
        assert client is not None
        c = client.next_c
        client.submit(self.peer, msgspec.Raw(_pack(wire.Content(text=f"{self.name} {c}"))))
        ledger.sent[self.name] += 1
        ledger.times[(self.name, c)] = time.perf_counter()
        client.flush()

    def on_batch(self, client: RawClient, messages: list[Any]) -> None:
        ledger, now = self.ledger, time.perf_counter()
        confirm = 0
        for message in messages:
            if isinstance(message, wire.Stored):
                ledger.stored[self.name] += 1
                ledger.ids.setdefault(self.name, {})[message.id] = message.c
            elif isinstance(message, wire.Message):
                if message.q <= client.last:
                    continue
                confirm = client.last = message.q
                sender, _, c = _unpack(message.body).text.partition(" ")
                before = ledger.shown.get(sender, 0)
                ledger.doubled += int(c) <= before
                ledger.disordered += int(c) > before + 1
                ledger.shown[sender] = int(c)
            elif isinstance(message, wire.Receipt):
                confirm = client.last = max(client.last, message.q)
                mine = ledger.ids.get(self.name, {})
                for id in [id for id in mine if id <= message.delivered]:
                    began = ledger.times.pop((self.name, mine.pop(id)), None)
                    if began is not None:
                        ledger.delays.append((now, now - began))
            elif isinstance(message, wire.Ping):
                client.send(wire.Pong(message.n))
            elif isinstance(message, wire.Refused | wire.Error):
                ledger.refused += 1
        if confirm:
            client.send(wire.Confirm(confirm))
            client.flush()


class Crowd:
    """Pairs that send at fixed times, whatever the server does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ledger = Ledger()
        self.people: list[Person] = []
        self.on = True

    async def come(self) -> None:
        port = int(self.server.ready["native_plain"])
        for n in range(2 * PAIRS):
            peer = accounts.address_of((n + PAIRS) % (2 * PAIRS))
            person = Person(self.ledger, n, peer)
            client = RawClient(person.name, accounts.key_of(n), 1, None, person.on_batch)
            person.client = client
            await client.loop.create_connection(lambda c=client: c, "127.0.0.1", port)  # type: ignore[misc]
            await client.welcome
            self.people.append(person)

    async def send(self, per_s: float) -> None:
        senders = self.people[:PAIRS]
        began, sent = time.perf_counter(), 0
        while self.on:
            due = int((time.perf_counter() - began) * per_s)
            while sent < due:
                senders[sent % PAIRS].send()
                sent += 1
            await asyncio.sleep(0.002)

    def dropped(self) -> int:
        return sum(p.client is None or p.client.closed.done() for p in self.people)

    async def settle(self) -> None:
        self.on = False
        end = time.monotonic() + 60
        while self.ledger.lost() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Span(NamedTuple):
    p50_ms: float
    p99_ms: float
    longest_ms: float
    messages: int


def span(ledger: Ledger, began: float, ended: float) -> Span:
    delays = sorted(delay * 1e3 for when, delay in ledger.delays if began <= when <= ended)
    if not delays:
        return Span(0, 0, 0, 0)
    return Span(
        load.percentile(delays, 0.5), load.percentile(delays, 0.99), delays[-1], len(delays)
    )


def ask(server: Server, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    admin = json.loads((server.data / "admin.json").read_text())
    request = urllib.request.Request(
        f"{admin['url']}/admin/upgrades{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {admin['token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


async def upgraded(server: Server, place: Path) -> dict[str, Any]:
    await asyncio.to_thread(ask, server, "", {"path": str(place), "who": "bench"})
    while True:
        await asyncio.sleep(0.05)
        last: dict[str, Any] = (await asyncio.to_thread(ask, server, ""))["last"]
        if last["ended_s"]:
            return last


def say(text: str) -> None:
    print(text, flush=True)


def told(name: str, found: Span) -> None:
    say(
        f"{name:<34} p50 {found.p50_ms:7.1f} ms  p99 {found.p99_ms:7.1f} ms  "
        f"longest {found.longest_ms:7.1f} ms  ({found.messages} messages)"
    )


async def many(server: Server, per_s: float, times: int, folder: Path) -> None:
    """Upgrades and rollbacks in a row."""
    trees = [
        versions.tree(folder / "good", versions.GOOD),
        versions.tree(folder / "counts", versions.COUNTS),
    ]
    crowd = Crowd(server)
    await crowd.come()
    sending = asyncio.ensure_future(crowd.send(per_s))
    await asyncio.sleep(5)
    quiet = time.perf_counter()
    meter = Meter(server.pid)
    await asyncio.sleep(10)
    calm = meter.read()
    began = time.perf_counter()
    told("before, nothing happens", span(crowd.ledger, quiet, began))
    pauses: list[tuple[float, float]] = []
    results: Counter[str] = Counter()
    meter = Meter(server.pid)
    changes: list[float] = []
    for number in range(times):
        last = await upgraded(server, trees[number % 2])
        changes.append(time.perf_counter())
        results[last["result"]] += 1
        pauses.append((last["pause_ms"], last["pause_cpu_ms"]))
        await asyncio.sleep(EACH_S)
        back = await asyncio.to_thread(ask, server, "/rollback", {"who": "bench"})
        changes.append(time.perf_counter())
        results[back["last"]["result"]] += 1
        await asyncio.sleep(EACH_S)
    ended = time.perf_counter()
    busy = meter.read()
    done = span(crowd.ledger, began, ended)
    told(f"{times} upgrades, {times} rollbacks", done)
    near = [
        (when, delay)
        for when, delay in crowd.ledger.delays
        if any(change - 0.5 <= when <= change + 1 for change in changes)
    ]
    ledger = Ledger()
    ledger.delays = near
    told("  within a second of a change", span(ledger, 0, ended))
    await crowd.settle()
    await sending
    ledger = crowd.ledger
    say(f"  results                          {dict(results)}")
    say(
        f"  rate reached                     "
        f"{done.messages / (ended - began):.0f} messages a second"
    )
    say(f"  connections dropped              {crowd.dropped()} of {len(crowd.people)}")
    say(
        f"  messages                         {sum(ledger.sent.values())} sent, "
        f"{ledger.lost()} lost, {ledger.doubled} doubled, {ledger.disordered} out of order, "
        f"{ledger.refused} refused"
    )
    say(
        f"  longest piece on the loop        {max(p for p, _ in pauses):.1f} ms wall, "
        f"{max(c for _, c in pauses):.1f} ms CPU"
    )
    say(
        f"  server CPU                       {calm.loop_s / calm.wall_s:.0%} before, "
        f"{busy.loop_s / busy.wall_s:.0%} during (the loop, of one core)"
    )


async def bad(server: Server, per_s: float, folder: Path) -> None:
    crowd = Crowd(server)
    await crowd.come()
    sending = asyncio.ensure_future(crowd.send(per_s))
    await asyncio.sleep(2)
    plants = [
        *((f"{name} (met by the checks)", versions.BAD[name]) for name in CHECKED),
        *((f"{name} (only in real traffic)", versions.SLY[name]) for name in SLY),
    ]
    for number, (name, edits) in enumerate(plants):
        place = versions.tree(folder / str(number), edits)
        began = time.perf_counter()
        last = await upgraded(server, place)
        took_s = time.perf_counter() - began
        steps: Sequence[dict[str, Any]] = last["steps"]
        checked_s = sum(step["seconds"] for step in steps)
        say(f"{name}")
        say(f"  {last['result']}: {last['text']}")
        say(
            f"  after {took_s:.1f} s in all, {checked_s:.1f} s of it checks; "
            f"run again on the old version: {last['affected']}; "
            f"served by the new one: {sum(m['new_calls'] for m in last['measures'])}"
        )
    await crowd.settle()
    await sending
    ledger = crowd.ledger
    say(
        f"all bad versions together: {sum(ledger.sent.values())} messages sent, "
        f"{ledger.lost()} lost, {ledger.doubled} doubled, {ledger.disordered} out of order, "
        f"{ledger.refused} refused; {crowd.dropped()} connections dropped"
    )


CHECKED = (
    "raises on one message in fifty",
    "breaks the shape of the state",
    "a migrate that raises",
)
SLY = ("raises on one message in fifty", "20 times slower", "breaks the shape of the state")


def main() -> None:
    parser = argparse.ArgumentParser("bench.upgrades", description=__doc__)
    parser.add_argument("--per-s", type=float, default=2_000, help="messages a second")
    parser.add_argument("--times", type=int, default=10, help="upgrades in a row")
    parser.add_argument("--worlds", type=int, default=6, help="of the simulator, for each")
    parser.add_argument("--only", choices=("many", "bad"), default="")
    options = parser.parse_args()
    say(
        f"{options.per_s:.0f} messages a second over {PAIRS} pairs, {os.cpu_count()} cores (shared)"
    )
    with tempfile.TemporaryDirectory(prefix="whimbrel-upgrades-") as name:
        for part, settings in (
            ("many", {"share": 0.25, "canary": 2, "watch": 2, "worlds": 0}),
            ("bad", {"share": 0.05, "canary": 20, "watch": 5, "worlds": options.worlds}),
        ):
            if options.only not in ("", part):
                continue
            server = Server(limits=SETTINGS.format(**settings))
            accounts.create(server.data, 2 * PAIRS)
            folder = Path(name) / part
            folder.mkdir()
            with server:
                if part == "many":
                    run(lambda: many(server, options.per_s, options.times, folder))  # noqa: B023
                else:
                    run(lambda: bad(server, options.per_s, folder))  # noqa: B023


if __name__ == "__main__":
    main()
