"""Real faults on the real server: each breaks one thing for a while and mends it.

A fault gets a running server and people who talk; it returns the seconds from the moment at
which the trouble was over until the server was ready again. What people saw is judged by
their ledger (tests/node/kill.py).
"""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench import accounts
from bench.server import Server
from tests.node.company import Company, until
from tests.node.kill import kill
from tests.node.test_disk_full import readiness, room, wait_for

PAIRS = 5
TALK = 60  # messages acknowledged before and after
SHORT_WAITS = "idle_ping_s = 0.5\nidle_timeout_s = 1.5\nhello_timeout_s = 1.0\nreattach_s = 1.0\n"


@dataclass(frozen=True)
class Fault:
    name: str
    play: Callable[[Server, Company], Awaitable[float]]
    command: tuple[str, ...] = ()  # another start than the usual one
    limits: str = ""


async def killed(server: Server, company: Company) -> float:
    """kill -9, then started again."""
    kill(server)
    began = time.monotonic()
    await asyncio.to_thread(server.start)
    return time.monotonic() - began


async def disk_full(server: Server, company: Company) -> float:
    """No file of the process may grow, then there is room again."""
    room(server, 0)
    await wait_for(server, 503)
    room(server, -1)
    return await _ready_again(server)


async def fsync_fails(server: Server, company: Company) -> float:
    """Every fsync is an input/output error; a failed one is never taken for a success."""
    os.kill(server.pid, signal.SIGUSR1)
    await wait_for(server, 503)
    silent = company.ledger.count()
    for _ in range(3):
        await wait_for(server, 503)
    assert company.ledger.count() - silent <= 0, "a mark although nothing reached the disk"
    os.kill(server.pid, signal.SIGUSR1)
    return await _ready_again(server)


async def no_descriptors(server: Server, company: Company) -> float:
    """Not one more file or connection may be opened; who is connected goes on talking."""
    used = len(os.listdir(f"/proc/{server.pid}/fd"))
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, hard))
    before = _cpu_s(server)
    strangers = [_knock(server) for _ in range(20)]
    await asyncio.gather(*strangers)
    await company.talks(TALK)
    assert _cpu_s(server) - before < 20, "it spins"
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
    return await _ready_again(server)


async def stopped(server: Server, company: Company) -> float:
    """SIGSTOP for longer than every time-out of the sessions, then SIGCONT."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(4.0)  # the fault itself is that time passes
    finally:
        os.kill(server.pid, signal.SIGCONT)
    return await _ready_again(server)


async def clock_jumps(server: Server, company: Company) -> float:
    """The wall clock goes two hours forward, four back, then right again."""
    for _ in range(3):
        os.kill(server.pid, signal.SIGUSR2)
        await company.talks(TALK)
    return await _ready_again(server)


BROKEN = ("-m", "tests.faults.broken_server")
FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill -9", killed),
        Fault("disk full, and room again", disk_full),
        Fault("fsync fails, and works again", fsync_fails, BROKEN),
        Fault("no file descriptors left", no_descriptors),
        Fault("SIGSTOP beyond every time-out", stopped, limits=SHORT_WAITS),
        Fault("wall clock +2 h, -2 h, right", clock_jumps, BROKEN),
    )
}


@dataclass
class Row:
    """One line of the fault table; all but `acknowledged` and the times must be 0."""

    name: str
    rounds: int
    verdict: dict[str, int]
    ready_s: list[float]


async def suffer(fault: Fault, folder: Path, rounds: int) -> Row:
    """Talk, break, mend, talk, `rounds` times; then everything settles and is judged."""
    server = Server(folder, limits=fault.limits)
    server.command = fault.command or server.command
    accounts.create(server.data, 2 * PAIRS)
    await asyncio.to_thread(server.start)
    server.native_port = int(server.ready["native"])
    times = []
    try:
        async with Company(server, PAIRS) as company:
            for _ in range(rounds):
                await company.talks(TALK)
                times.append(await fault.play(server, company))
                await company.talks(TALK)
            await company.settles()
            verdict = company.ledger.verdict()
    finally:
        await asyncio.to_thread(server.stop)
    return Row(fault.name, rounds, verdict, times)


async def _ready_again(server: Server) -> float:
    began = time.monotonic()
    await until(lambda: readiness(server)[0] == 200, "ready again")
    return time.monotonic() - began


async def _knock(server: Server) -> None:
    """A connection that may be refused, or wait."""
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", int(server.ready["native"])), 2.0
        )
        writer.close()
    except (OSError, TimeoutError):
        pass


def _cpu_s(server: Server) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
