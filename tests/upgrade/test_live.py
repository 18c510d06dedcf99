"""Live upgrades of a real server under traffic: people on both front ends, good and bad versions.

Nobody is disconnected, nothing is lost, doubled or out of order, whatever is loaded, tried and
taken back. The bad versions here pass all checks, because only these people meet their bugs.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench import accounts, versions
from bench.server import Server
from tests.node.company import Company, until
from tests.node.kill import kill
from whimbrel.node.upgrade.dialogues import Stream

PAIRS = 8
CLIENT = 2 * PAIRS  # an account that comes by XMPP
SETTINGS = """
[upgrade]
canary_share = 0.4
canary_s = 4
watch_s = 2
worlds = 0
"""
QUICK = """
[upgrade]
canary_share = 1.0
canary_s = 0
watch_s = 0
worlds = 0
"""
NAME = "<query xmlns='jabber:iq:version'/>"


def ask(
    server: Server, path: str, body: dict[str, Any] | None = None, of: str = "upgrades"
) -> dict[str, Any]:
    admin = json.loads((server.data / "admin.json").read_text())
    request = urllib.request.Request(
        f"{admin['url']}/admin/{of}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {admin['token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def cli(server: Server, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "whimbrel.cli.main", *words, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class Scene:
    def __init__(self, server: Server, company: Company, folder: Path) -> None:
        self.server = server
        self.company = company
        self.folder = folder
        self.stream = Stream(asyncio.Event())
        self._trees = 0

    async def settle_in(self) -> None:
        await self.company.talks(100)
        name, key = accounts.address_of(CLIENT), accounts.key_of(CLIENT)
        await self.stream.log_in(int(self.server.ready["xmpp_plain"]), name, key)
        self.connections = [person.client for person in self.company.people]

    async def upgrade(self, edits: Sequence[versions.Edit]) -> dict[str, Any]:
        """Begin, and talk until it is over; how it ended."""
        self._trees += 1
        place = await asyncio.to_thread(
            versions.tree, self.folder / f"tree{self._trees}", list(edits)
        )
        await asyncio.to_thread(ask, self.server, "", {"path": str(place), "who": "a test"})
        last: dict[str, Any] = {}
        while not last.get("ended_s"):
            last = (await asyncio.to_thread(ask, self.server, ""))["last"]
            await asyncio.sleep(0.1)
        await self.company.talks(100)
        return last

    async def server_name(self) -> str:
        answer = await self.stream.ask("get", "localhost", NAME)
        found = re.search("<name>([^<]*)</name>", answer)
        assert found is not None
        return found.group(1)

    def nobody_was_disconnected(self) -> None:
        """The very connections of the beginning, on both front ends (server_name asks there)."""
        assert [person.client for person in self.company.people] == self.connections
        assert not any(c is None or c.closed.done() for c in self.connections)


@asynccontextmanager
async def scene(folder: Path, settings: str) -> AsyncIterator[Scene]:
    server = Server(folder / "server", settings)
    (folder / "server").mkdir()
    accounts.create(server.data, 2 * PAIRS + 1, xmpp=True)
    await asyncio.to_thread(server.start)
    server.native_port = int(server.ready["native"])
    try:
        async with Company(server, PAIRS) as company:
            found = Scene(server, company, folder)
            await found.settle_in()
            yield found
            await company.settles()
            company.judge()
            found.stream.close()
    finally:
        await asyncio.to_thread(server.stop)
    assert "Traceback" not in server.said()


async def test_a_good_version_comes_and_goes_under_traffic(tmp_path: Path) -> None:
    async with scene(tmp_path, SETTINGS) as live:
        assert await live.server_name() == "Whimbrel"
        last = await live.upgrade([*versions.GOOD, *versions.COUNTS])
        assert (last["result"], last["failed_new"], last["affected"]) == ("accepted", 0, 0)
        submits = next(each for each in last["measures"] if each["message"] == "Submit")
        assert submits["old_calls"] > 10
        assert submits["new_calls"] > 10
        assert not [note for note in last["notes"] if "Submit" in note]
        assert await live.server_name() == "Whimbrel, renewed"
        back = await asyncio.to_thread(cli, live.server, "rollback")
        assert back.returncode == 0
        assert "rolled back: back to" in back.stdout
        await live.company.talks(200)
        assert await live.server_name() == "Whimbrel"
        live.nobody_was_disconnected()
        history = (await asyncio.to_thread(cli, live.server, "upgrade", "--history")).stdout
        assert "(as installed)" in history
        assert history.count("accepted") == history.count("rolled back") == 1
        assert "by a test" in history


async def test_bad_versions_are_rolled_back_and_nothing_is_lost(tmp_path: Path) -> None:
    patient = SETTINGS.replace("canary_s = 4", "canary_s = 60")  # it ends when something is bad
    async with scene(tmp_path, patient) as live:
        for plant, said in (
            ("raises on one message in fifty", "failed on the new version only (Submit: KeyError)"),
            ("20 times slower", "times as long"),
            ("breaks the shape of the state", "failed on the new version only"),
            ("an effect that is none", "Submit: WrongEffects"),
        ):
            last = await live.upgrade(versions.SLY[plant])
            assert last["result"] == "rolled back", (plant, last)
            assert last["text"].startswith("canary: "), (plant, last)
            assert said in last["text"], (plant, last)
            assert [step["result"] for step in last["steps"]] == ["ok"] * 7
        live.nobody_was_disconnected()
        assert await live.server_name() == "Whimbrel"
        state = await asyncio.to_thread(ask, live.server, "")
        assert state["number"] == 0
        alerts = await asyncio.to_thread(ask, live.server, "", None, "alerts")
        (alert,) = [one for one in alerts["active"] if one["name"] == "upgrades_undone"]
        assert "went back by themselves" in alert["text"]
        assert alert["cause"].startswith("canary: ")
    assert not list((live.server.data / "upgrades").glob("0*.zip"))


async def test_a_feature_that_fails_gives_way_and_the_request_is_answered(tmp_path: Path) -> None:
    """Only in front of these people: the self-test asks as "carol"."""
    fails = versions.Edit(
        "edge/xmpp/features/disco.py",
        "    ns = names.VERSION\n",
        "    ns = names.VERSION\n    if session.address != 'carol':\n        raise KeyError('x')\n",
    )
    async with scene(tmp_path, SETTINGS.replace("0.4", "1.0")) as live:
        upgrading = asyncio.create_task(live.upgrade([fails]))
        while not upgrading.done():
            assert await live.server_name() == "Whimbrel"
            await asyncio.sleep(0.05)
        last = await upgrading
        assert last["result"] == "rolled back"
        assert "XMPP jabber:iq:version query server: KeyError" in last["text"]
        live.nobody_was_disconnected()


async def test_an_accepted_version_is_there_after_a_restart_unless_starts_end_early(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, QUICK) as live:
        assert (await live.upgrade(versions.GOOD))["result"] == "accepted"
        server = live.server
        assert (await live.upgrade(versions.COUNTS))["result"] == "accepted"
        assert (await live.upgrade([]))["result"] == "accepted"
        for number, name in ((2, "Whimbrel"), (1, "Whimbrel, renewed")):
            await asyncio.to_thread(cli, server, "rollback")
            assert (await asyncio.to_thread(ask, server, ""))["number"] == number
            assert await live.server_name() == name
        await live.company.talks(100)
        live.nobody_was_disconnected()
        await live.company.settles()
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert ask(server, "")["number"] == 1
        for _ in range(3):  # starts that end early: kill -9
            kill(server)
            await asyncio.to_thread(server.start)
        state = ask(server, "")
        assert state["number"] == 0
        newest = ask(server, "/history")["upgrades"][0]
        assert (newest["result"], newest["who"]) == ("left out", "the server")
        assert "3 starts in a row ended early" in newest["text"]


async def test_what_is_watched_ends_when_an_operator_says_so_and_with_the_server(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, SETTINGS.replace("watch_s = 2", "watch_s = 600")) as live:
        upgrading = asyncio.create_task(live.upgrade(versions.GOOD))
        await until(lambda: _phase(live.server) == "watch", "watched")
        assert await live.server_name() == "Whimbrel, renewed"
        assert (await asyncio.to_thread(cli, live.server, "upgrade", ".")).stderr.startswith(
            "whimbrel: An upgrade is under way"
        )
        assert (await asyncio.to_thread(cli, live.server, "rollback")).returncode == 0
        assert (await upgrading)["result"] == "rolled back"
        assert await live.server_name() == "Whimbrel"
        live.nobody_was_disconnected()
        again = await asyncio.to_thread(cli, live.server, "rollback")
        assert "No upgrade is under way" in again.stderr


def _phase(server: Server) -> str:
    last = ask(server, "")["last"]
    return str(last["phase"]) if last else ""


async def test_watching_a_folder_loads_what_is_saved(tmp_path: Path) -> None:
    """`whimbrel upgrade --watch`: good, broken, good again, each told on the terminal."""
    place = await asyncio.to_thread(versions.tree, tmp_path / "tree", [])
    async with scene(tmp_path, SETTINGS) as live:
        command = [sys.executable, "-m", "whimbrel.cli.main", "upgrade", str(place), "--watch"]
        command += ["--data", str(live.server.data)]
        watcher = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        try:
            await _told(watcher, "all accounts have it")
            versions.edit(place, versions.GOOD)
            await _told(watcher, "all accounts have it")
            assert await live.server_name() == "Whimbrel, renewed"
            versions.edit(place, [versions.Edit("logic/submit.py", "", "def broken(:\n")])
            await _told(watcher, "refused: source: whimbrel.logic.submit line")
            assert await live.server_name() == "Whimbrel, renewed"
            live.nobody_was_disconnected()
        finally:
            watcher.terminate()
            await watcher.wait()


async def _told(watcher: asyncio.subprocess.Process, what: str) -> None:
    assert watcher.stdout is not None
    async with asyncio.timeout(60):
        async for line in watcher.stdout:
            if what in line.decode():
                return
    raise AssertionError(f"not told: {what}")
