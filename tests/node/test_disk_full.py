"""A disk that is full while the server runs: nobody hears anything false, nothing is lost,
and the server goes on by itself as soon as there is room.

The disk is full for this process only: no file may grow or be written beyond a limit
(RLIMIT_FSIZE), set and taken back from outside while it runs. Both ends of a full disk are
tried: no byte at all, also for the log; and room for the log, but not for the database.
"""

import asyncio
import json
import resource
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bench import accounts
from bench.load import client_of, ignore
from bench.raw import client_context, connect
from bench.server import Server
from tests.node.company import Company
from tests.node.kill import kill

PAIRS = 5


def room(server: Server, size: int) -> None:
    """No file may be written beyond this size; -1: no limit."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def readiness(server: Server) -> tuple[int, str]:
    try:
        url = f"http://127.0.0.1:{server.ready['http']}/ready"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def wait_for(server: Server, status: int) -> str:
    """Until /ready says so; what else it says."""
    async with asyncio.timeout(60):
        while True:
            code, text = await asyncio.to_thread(readiness, server)
            if code == status:
                return text
            await asyncio.sleep(0.05)


async def logins_are_refused(server: Server, times: int) -> None:
    """By name; and by then everything that had left the server before has been read."""
    for _ in range(times):
        stranger = client_of(0, client_context(), ignore)
        with pytest.raises(ConnectionError, match="try-again"):
            await connect(stranger, "127.0.0.1", int(server.ready["native"]))
        stranger.close()


@pytest.mark.parametrize("size", [0, 65_536], ids=["no-byte", "no-growth"])
@pytest.mark.parametrize("killed", [False, True], ids=["goes-on", "killed-while-full"])
def test_a_full_disk_stops_all_marks_and_loses_nothing(
    tmp_path: Path, size: int, killed: bool
) -> None:
    async def play() -> None:
        async with Company(server, PAIRS) as company:
            await company.talks(100)
            room(server, size)
            reason = json.loads(await wait_for(server, 503))["error"]["message"]
            assert "disk" in reason
            await logins_are_refused(server, 3)
            silent = company.ledger.count(), dict(company.ledger.marked)
            await logins_are_refused(server, 20)
            assert (company.ledger.count(), dict(company.ledger.marked)) == silent
            if killed:
                kill(server)
                await asyncio.to_thread(server.start)
            else:
                room(server, -1)
                await wait_for(server, 200)
            await company.talks(100)
            await company.settles()
            company.judge()

    server = Server(tmp_path)
    accounts.create(server.data, 2 * PAIRS)
    with server:
        server.native_port = int(server.ready["native"])
        asyncio.run(play())
