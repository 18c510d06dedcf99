"""Connections: what an idle authenticated one holds in memory, and what a login costs."""

import resource

from bench import load
from bench.figures import Figure, Figures
from bench.meter import Meter
from bench.raw import RawClient
from bench.waiting import settled, until
from bench.ways import NATIVE_TLS, Way
from bench.world import run, world

WARM = 200  # logins before the first reading, so that what is loaded once is loaded
SETTLE_S = 30.0


def raise_open_files(wanted: int) -> None:
    """Raises RuntimeError if the system allows fewer. The server inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"at most {hard} open files are allowed here, {wanted} are needed")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def idle(way: Way, count: int) -> Figures:
    """(PSS with `count` connections - PSS before) / count, each with session and actor."""

    async def scene() -> Figures:
        port, context, client = way.port_of(server), way.context(), way.client
        await leave(await load.log_in(count, WARM, port, context, load.ignore, client=client))
        before = await settled(server.pss_kib, SETTLE_S)
        clients = await load.log_in(0, count, port, context, load.ignore, client=client)
        after = await settled(server.pss_kib, SETTLE_S)
        gone = sum(client.closed.done() for client in clients)
        if gone:
            raise RuntimeError(f"{gone} of {count} connections were closed")
        await leave(clients)
        bound = f"PSS {before / 1024:.1f} -> {after / 1024:.1f} MiB with {count:,} connections"
        name = f"{way.name}_idle_kib_per_connection"
        return {name: Figure((after - before) / count, bound)}

    raise_open_files(count + WARM + 500)
    with world(count + WARM) as server:
        return run(scene)


async def leave(clients: list[RawClient]) -> None:
    for client in clients:
        client.close()
    await until(lambda: all(client.closed.done() for client in clients), 30, "clients gone")


def logins(people: int, seconds: float, at_once: int = 50) -> Figures:
    """Batches of `at_once` logins; each connects, hears the welcome and leaves.

    Everybody logs in once before, so that no account is read from the store meanwhile.
    """

    async def scene() -> Figures:
        port, context = NATIVE_TLS.port_of(server), NATIVE_TLS.context()

        async def batch(first: int) -> None:
            await leave(await load.log_in(first, at_once, port, context, load.ignore, at_once))

        for first in range(0, people, at_once):
            await batch(first)
        meter, done = Meter(server.pid), 0
        while meter.read().wall_s < seconds:
            await batch(done % people)
            done += at_once
        usage = meter.read()
        return {
            "native_tls_login_cpu_ms": Figure(usage.per(done) / 1e3, usage.bound()),
            "native_tls_logins_per_s": Figure(done / usage.wall_s),
            "native_tls_login_generator_cpu_ms": Figure(usage.generator_s / done * 1e3),
        }

    with world(people) as server:
        return run(scene)
