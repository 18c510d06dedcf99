"""`whimbrel restart` under load: the clients' view. Nothing is lost or doubled, nobody refused."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import accounts
from bench.raw import client_context
from bench.server import Server
from tests.node.company import Company, until
from tests.node.restarting import (
    Knocker,
    WebPerson,
    command,
    end,
    facts,
    holders,
    is_alive,
    pid_of,
    restart,
)

PAIRS = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    accounts.create(running.data, 4 * PAIRS)
    running.start()
    try:
        yield running
    finally:
        end(running)


class Both(Company):
    """Half of the pairs by TLS, half by WebSocket."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, PAIRS)
        first = 2 * PAIRS
        self.web = [
            WebPerson(self.ledger, n, accounts.address_of(first + (n + PAIRS) % (2 * PAIRS)), True)
            for n in range(2 * PAIRS)
        ]
        for n, person in enumerate(self.web):
            person.address = accounts.address_of(first + n)
            person.key = accounts.key_of(first + n)
            person.sends = person.sending = n < PAIRS
        self.people += self.web

    async def __aenter__(self) -> "Both":
        context = client_context()
        for person in self.people:
            port = self.server.ready["http" if person in self.web else "native"]
            self._tasks.append(asyncio.create_task(person.live(int(port), context)))
        return self


async def test_under_load_nothing_is_lost_doubled_or_refused(server: Server) -> None:
    ports = [server.ready[name] for name in ("native", "http", "https", "xmpp_tls")]
    pids = [pid_of(server)]
    async with Both(server) as company, Knocker(ports) as knocker:
        await company.talks(200)
        for _ in range(2):
            outcome = await restart(server)
            assert outcome.code == 0, outcome.said
            pids.append(pid_of(server))
            assert f"process {pids[-1]} serves" in outcome.said
            await company.talks(200)
        await company.settles()
        company.judge()
        assert knocker.refused == 0
        assert knocker.knocked > 100
    acts = (server.data / "acts.log").read_text()
    for pid in pids[1:]:
        assert f"process {pid} serves" in acts
    assert f'"who":"user {os.geteuid()}","what":"restart"' in acts
    assert len(set(pids)) == 3
    assert holders(server.data) == [pids[-1]]
    assert {**facts(server), "pid": 0} == {**server.ready, "pid": 0}, "the same ports and key"


async def test_who_started_the_server_goes_on_waiting_and_ends_it_by_a_signal(
    server: Server,
) -> None:
    assert server.process is not None
    said = await command(server)
    assert (said.code, said.said.count("\n")) == (0, 3), said
    assert (await restart(server)).code == 0
    assert server.process.poll() is None
    last = pid_of(server)
    assert last != server.pid
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, 30) == 0
    assert not is_alive(last)
    assert not (server.folder / "ready.json").exists()
    assert not (server.data / "admin.json").exists()
    assert not (server.data / "control.socket").exists()
    server.start()


async def test_a_server_that_dies_after_a_restart_takes_the_keeper_with_it(server: Server) -> None:
    assert (await restart(server)).code == 0
    assert server.process is not None
    os.kill(pid_of(server), signal.SIGKILL)
    assert await asyncio.to_thread(server.process.wait, 30) == 128 + signal.SIGKILL
    server.start()


def sizes(server: Server) -> tuple[int, int]:
    """(descriptors, KiB in memory) of the process that serves."""
    process = Path(f"/proc/{pid_of(server)}")
    lines = (process / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return len(list((process / "fd").iterdir())), int(status["VmRSS"].split()[0])


async def restart_in_a_row(server: Server, times: int) -> None:
    seen = []
    async with Company(server, PAIRS) as company:
        await company.talks(50)
        for _ in range(times):
            assert (await restart(server)).code == 0
            await company.talks(50)
            seen.append(sizes(server))
        await company.settles()
        company.judge()
    assert seen[-1][0] <= seen[0][0] + 2 * PAIRS, seen  # connections come and go
    assert seen[-1][1] <= seen[0][1] * 1.2, seen
    keeper = os.listdir(f"/proc/{server.pid}/fd")
    assert len(keeper) <= 5, keeper


async def test_restarts_in_a_row_keep_descriptors_and_memory(server: Server) -> None:
    await restart_in_a_row(server, 4)


@pytest.mark.soak
async def test_twenty_restarts_in_a_row_keep_descriptors_and_memory(server: Server) -> None:
    await restart_in_a_row(server, 20)


async def test_a_second_restart_during_a_restart_is_refused_by_name(
    server: Server,
) -> None:
    first = asyncio.create_task(restart(server))
    await until(lambda: children(server) or first.done(), "begun")
    second = await restart(server)
    assert second.code == 1
    assert "a restart is under way: " in second.said
    assert (await first).code == 0


def children(server: Server) -> list[str]:
    """The next process stands beside the old one."""
    return Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()


async def test_without_a_server_the_command_says_so(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.data.mkdir()
    outcome = await command(server)
    assert outcome.code == 1
    assert "no server runs on" in outcome.said


async def test_a_service_manager_is_told_of_the_new_main_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type=notify: READY, then MAINPID and the end of the old one, then STOPPING."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"\0whimbrel-test-{os.getpid()}"
        manager.bind(name)
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name[1:])
        server = Server(tmp_path)
        server.start()
        try:
            assert manager.recv(1_000) == b"READY=1"
            assert (await restart(server)).code == 0
            pid = pid_of(server)
            heard = {manager.recv(1_000), manager.recv(1_000)}
            assert heard == {b"READY=1", f"MAINPID={pid}\nREADY=1".encode()}
            assert server.process is not None
            assert await asyncio.to_thread(server.process.wait, 30) == 0
            assert is_alive(pid)
            os.kill(pid, signal.SIGTERM)
            assert await asyncio.to_thread(manager.recv, 1_000) == b"STOPPING=1"
            await until(lambda: not is_alive(pid), "ended")
        finally:
            end(server)
