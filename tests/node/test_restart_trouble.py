"""A restart that comes to nothing: the old process goes on, whatever happened to the next one; and
a process that is killed at any step leaves one server, or none and everything safe.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from bench import accounts
from bench.server import Server
from tests.node import ending
from tests.node.company import Company, until
from tests.node.restarting import Knocker, end, holders, is_alive, pid_of, restart
from whimbrel.node import steps
from whimbrel.storage.opening import FILE
from whimbrel.storage.schema import STEPS

PAIRS = 3
PATIENT = "[restart]\nprepare_s = 20.0\nhealthy_s = 5.0\n"


class Mortal(Server):
    """`end_at(step, deed)`: one of the two processes ends there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, PATIENT)
        self.command = ("-m", "tests.node.ending")

    def end_at(self, step: str, deed: str) -> None:
        (self.folder / "end-at").write_text(f"{step}:{deed}")

    def settings(self, old: str, new: str) -> None:
        """Change the configuration that the next process will read."""
        path = self.folder / "whimbrel.toml"
        before = path.read_text()
        path.write_text(before.replace(old, new))
        assert path.read_text() != before


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mortal]:
    monkeypatch.setenv(ending.VARIABLE, str(tmp_path / "end-at"))
    running = Mortal(tmp_path)
    accounts.create(running.data, 2 * PAIRS)
    running.start()
    try:
        yield running
    finally:
        end(running)


@asynccontextmanager
async def under_load(server: Mortal) -> AsyncIterator[Company]:
    """People talk, and others knock; in the end nobody has noticed anything."""
    ports = [server.ready[name] for name in ("native", "xmpp_tls")]
    async with Company(server, PAIRS) as company, Knocker(ports) as knocker:
        await company.talks(50)
        yield company
        await company.settles()
        company.judge()
        assert knocker.refused == 0


async def goes_on(server: Mortal, company: Company, *whys: str) -> None:
    """The restart fails for this reason, and this process serves on."""
    outcome = await restart(server)
    assert outcome.code == 1, outcome.said
    for why in whys:
        assert why in outcome.said
    assert pid_of(server) == server.pid
    assert holders(server.data) == [server.pid]
    assert not alive_children(server)
    await company.talks(50)


def alive_children(server: Server) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(pid) for pid in children if is_alive(int(pid))]


# ---- the next process comes to nothing -----------------------------------------------------


async def test_what_is_wrong_with_the_next_process_is_named_and_changes_nothing(
    server: Mortal,
) -> None:
    native = server.ready["native"]
    async with under_load(server) as company:
        server.settings('level = "warning"', 'level = "loud"')
        await goes_on(server, company, "not restarted", "log.level: write")
        server.settings('level = "loud"', 'level = "warning"')
        server.settings("native_plain = 0", f"native_plain = {native}")
        await goes_on(server, company, "listen: ", "in use")
        server.settings(f"native_plain = {native}", "native_plain = 0")
        server.end_at("import", "raise")
        await goes_on(server, company, "exit code 1", "RuntimeError: as the test has asked for")
        outcome = await restart(server, python=str(server.folder / "no-python"))
        assert outcome.code == 1
        assert "no-python: No such file or directory" in outcome.said
        assert (await restart(server)).code == 0


async def test_another_port_is_opened_and_the_old_one_closed(server: Mortal) -> None:
    server.settings("native_plain = 0", "native_plain = -1")
    assert (await restart(server)).code == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.ready["native_plain"])
    await asyncio.open_connection("127.0.0.1", server.ready["native"])


def set_schema(server: Mortal, schema: int) -> None:
    with apsw.Connection(str(server.data / FILE)) as db:
        db.set_busy_timeout(20_000)
        db.execute("UPDATE meta SET schema = ?", (schema,))


async def test_a_database_of_another_schema_is_refused_or_wants_a_word(server: Mortal) -> None:
    newest = len(STEPS)
    async with under_load(server) as company:
        set_schema(server, newest + 1)
        await goes_on(server, company, f"has schema {newest + 1}")
        set_schema(server, newest - 1)
        await goes_on(server, company, f"from schema {newest - 1} to {newest}", "--migrate")
        set_schema(server, newest)


@pytest.mark.parametrize("deed", ["kill", pytest.param("raise", marks=pytest.mark.soak)])
async def test_the_next_process_ends_at_any_step(server: Mortal, deed: str) -> None:
    async with under_load(server) as company:
        for step in steps.NEXT:
            server.end_at(step, deed)
            await goes_on(server, company, "process ")


async def test_a_next_process_that_hangs_with_the_database_in_hand(server: Mortal) -> None:
    async with under_load(server) as company:
        for step in ("taking over", "serves"):
            server.end_at(step, "stop")
            await goes_on(server, company, "was ended: it does not answer in time")


@pytest.mark.soak
async def test_a_next_process_that_hangs_before(server: Mortal) -> None:
    async with under_load(server) as company:
        for step in ("adopted", "ready to take over"):
            server.end_at(step, "stop")
            await goes_on(server, company, "was ended: it does not answer in time")


# ---- the old process is killed -------------------------------------------------------------


@pytest.mark.parametrize(
    "at", [("prepared", "let go", "handed over"), pytest.param(steps.OLD, marks=pytest.mark.soak)]
)
async def test_the_old_process_is_killed_at_any_step(server: Mortal, at: tuple[str, ...]) -> None:
    """Before the lock was handed over none is left (whoever watches the server starts another);
    after it there is one, and it serves.
    """
    async with Company(server, PAIRS) as company:
        await company.talks(50)
        server.native_port = int(server.ready["native"])
        for step in at:
            assert server.process is not None
            server.end_at(step, "kill")
            await restart(server)
            await asyncio.to_thread(server.process.wait, 30)
            assert server.process.returncode == -signal.SIGKILL
            if step in ("handed over", "serving"):
                await until(lambda: pid_of(server) != server.pid, "the next one serves")
                assert holders(server.data) == [pid_of(server)]
                await company.talks(50)
                os.kill(pid_of(server), signal.SIGTERM)  # nobody waits for it
            await until(lambda: not strays(server), "none is left")
            await asyncio.to_thread(server.start)
            await company.talks(50)
        await company.settles()
        company.judge()


def strays(server: Mortal) -> list[int]:
    """Processes that were started on this folder, and live."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if str(server.data).encode() in line and is_alive(int(process.name)):
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("step", ["taking over", pytest.param("adopted", marks=pytest.mark.soak)])
async def test_a_signal_during_a_restart_ends_both(server: Mortal, step: str) -> None:
    assert server.process is not None
    server.end_at(step, "stop")
    order = asyncio.create_task(restart(server))
    await until(lambda: not (server.folder / "end-at").exists(), step)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(server.process.wait, 60)
    assert server.process.returncode == 0
    assert not strays(server)
    assert (await order).code != 0
    server.start()


async def test_killed_just_after_a_restart_nothing_is_lost(server: Mortal) -> None:
    """kill -9 of the next process when the old one has gone: as of any server."""
    async with Company(server, PAIRS) as company:
        await company.talks(50)
        assert (await restart(server)).code == 0
        os.kill(pid_of(server), signal.SIGKILL)
        assert server.process is not None
        await asyncio.to_thread(server.process.wait, 30)
        server.native_port = int(server.ready["native"])
        await asyncio.to_thread(server.start)
        await company.talks(50)
        await company.settles()
        company.judge()
