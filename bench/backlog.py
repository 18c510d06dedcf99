"""A backlog: one person with 100,000 waiting messages comes back while others chat.

The server is started anew before the person comes, so that memory which the making of the
backlog left behind does not hide what the collecting needs.
"""

import asyncio
import contextlib
import time
from typing import NamedTuple

from bench import load
from bench.accounts import address_of
from bench.figures import Figure, Figures, short
from bench.mailing import collectors, mailers, sent_to_inboxes
from bench.meter import Meter, Usage
from bench.raw import client_context
from bench.server import Server
from bench.waiting import settled
from bench.world import run, world

PAIRS = 50
SENDERS = 20
WINDOW = 32
PERSON = 2 * PAIRS + SENDERS  # the account after all others
PATIENCE_S = 300.0
WATCH_S = 0.1


class Collected(NamedTuple):
    """What the collecting showed."""

    seconds: float
    before_kib: float
    peak_kib: float
    alone_ms: list[float]  # delays of the others before
    beside_ms: list[float]  # ... and meanwhile
    usage: Usage


def backlog(waiting: int, per_s: int, alone_s: float) -> Figures:
    """`waiting` messages for one; PAIRS others chat at `per_s` messages a second in all."""
    limits = f"inbox_messages_max = {2 * waiting}\n"
    with world(PERSON + 1, limits) as server:
        run(lambda: _make(server, waiting))
        server.stop()
        server.start()
        found = run(lambda: _collect(server, waiting, per_s, alone_s))
    name = f"backlog_{short(waiting)}"
    memory = f"PSS {found.before_kib / 1024:.1f}, at most {found.peak_kib / 1024:.1f} MiB"
    growth_mib = (found.peak_kib - found.before_kib) / 1024
    return {
        f"{name}_growth_mib": Figure(growth_mib, memory),
        f"{name}_others_p99_ms": Figure(
            load.percentile(found.beside_ms, 0.99), found.usage.bound()
        ),
        f"{name}_others_max_ms": Figure(max(found.beside_ms)),
        f"{name}_others_alone_p99_ms": Figure(load.percentile(found.alone_ms, 0.99)),
        f"{name}_seconds": Figure(found.seconds),
        f"{name}_cpu_us_per_message": Figure(found.usage.per(waiting), "the others' included"),
    }


async def _make(server: Server, waiting: int) -> None:
    """Several senders, each with its share."""
    lists = [[address_of(PERSON)] * (waiting // SENDERS)] * SENDERS
    senders = await mailers(lists, 2 * PAIRS, server.ready["native"], client_context())
    await sent_to_inboxes(senders, server, waiting, WINDOW, PATIENCE_S)


async def _collect(server: Server, waiting: int, per_s: int, alone_s: float) -> Collected:
    port, context = server.ready["native"], client_context()
    talks = await load.pairs(PAIRS, port, context)
    chatting = asyncio.ensure_future(load.open_loop(talks, per_s, PATIENCE_S))
    await asyncio.sleep(1)
    before = await settled(server.pss_kib, 10.0)
    alone = await _delays(talks, alone_s)
    peak = before
    meter, started = Meter(server.pid), time.monotonic()
    client = (await collectors(1, PERSON, port, context))[0]
    while client.state.received < waiting:
        if client.closed.done():
            raise RuntimeError(f"closed after {client.state.received} of {waiting} messages")
        if time.monotonic() - started > PATIENCE_S:
            raise TimeoutError(f"{client.state.received} of {waiting} messages collected")
        await asyncio.sleep(WATCH_S)
        peak = max(peak, server.pss_kib())
    seconds, usage = time.monotonic() - started, meter.read()
    beside = [value * 1e3 for talk in talks for value in talk.latencies]
    await asyncio.sleep(1)
    peak = max(peak, server.pss_kib())
    chatting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await chatting
    await load.finish(talks)
    return Collected(seconds, before, peak, alone, beside, usage)


async def _delays(talks: list[load.Talk], seconds: float) -> list[float]:
    """Milliseconds to the second mark; starts the talks' lists anew before and after."""
    for talk in talks:
        talk.latencies.clear()
    await asyncio.sleep(seconds)
    delays = [value * 1e3 for talk in talks for value in talk.latencies]
    for talk in talks:
        talk.latencies.clear()
    return delays
