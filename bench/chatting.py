"""Pairs that chat: throughput and latency with both check marks durable.

Closed loops (50 pairs x window 10, 500 pairs x window 1) find the cost and the most there
is; the open loop (500 messages a second over 500 pairs) finds the delay when there is room.
"""

import asyncio

from bench import load
from bench.figures import Figure, Figures
from bench.meter import Meter, Usage
from bench.server import Server
from bench.ways import Way
from bench.world import run, world


async def talkers(server: Server, way: Way, count: int) -> list[load.Talk]:
    return await load.pairs(count, way.port_of(server), way.context(), client=way.client)


async def measured(server: Server, talks: list[load.Talk], seconds: float) -> tuple[int, Usage]:
    """Messages completed while `seconds` pass, and what they cost."""
    for talk in talks:
        talk.latencies.clear()
    before = sum(talk.done for talk in talks)
    meter = Meter(server.pid)
    await asyncio.sleep(seconds)
    return sum(talk.done for talk in talks) - before, meter.read()


def latencies_ms(talks: list[load.Talk]) -> list[float]:
    return [value * 1e3 for talk in talks for value in talk.latencies]


def closed(way: Way, pairs: int, window: int, warm_s: float, seconds: float) -> Figures:
    """Everybody keeps `window` messages under way."""

    async def scene() -> Figures:
        talks = await talkers(server, way, pairs)
        await load.closed_loop(talks, window, warm_s)
        done, usage = await measured(server, talks, seconds)
        delays = latencies_ms(talks)
        await load.finish(talks)
        name = f"{way.name}_{pairs}x{window}"
        return {
            f"{name}_cpu_us_per_message": Figure(usage.per(done), usage.bound()),
            f"{name}_messages_per_s": Figure(done / usage.wall_s),
            f"{name}_p50_ms": Figure(load.percentile(delays, 0.5)),
            f"{name}_p99_ms": Figure(load.percentile(delays, 0.99)),
            f"{name}_generator_us_per_message": Figure(usage.generator_s / done * 1e6),
        }

    with world(2 * pairs) as server:
        return run(scene)


def opened(way: Way, pairs: int, per_s: int, warm_s: float, seconds: float) -> Figures:
    """`per_s` messages a second at fixed times, spread over all pairs."""

    async def scene() -> Figures:
        talks = await talkers(server, way, pairs)
        sending = asyncio.ensure_future(load.open_loop(talks, per_s, warm_s + seconds + 1))
        await asyncio.sleep(warm_s)
        done, usage = await measured(server, talks, seconds)
        delays = latencies_ms(talks)
        await sending
        await load.finish(talks)
        name = f"{way.name}_{per_s}ps"
        return {
            f"{name}_delivered_p50_ms": Figure(load.percentile(delays, 0.5), usage.bound()),
            f"{name}_delivered_p99_ms": Figure(load.percentile(delays, 0.99)),
            f"{name}_cpu_us_per_message": Figure(usage.per(done)),
        }

    with world(2 * pairs) as server:
        return run(scene)
