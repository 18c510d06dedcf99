"""The audit explains every message of a busy server, and names each kind of damage."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from bench import accounts
from bench.server import Server
from tests.node.company import Company
from tests.node.kill import kill
from whimbrel.domain.errors import Unready
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import OPEN, STORED
from whimbrel.node.audit import run_audit
from whimbrel.node.clock import SystemClock
from whimbrel.storage.ledger import Audit
from whimbrel.storage.opening import FILE

SENDERS = 3


def audit_of(folder: Path) -> Audit:
    audit = run_audit(folder, Limits(), SystemClock().now_us())
    assert audit is not None
    return audit


async def _busy(folder: Path) -> list[Audit]:
    """Talk, audit beside it, kill, audit the leftovers, talk again, settle, audit."""
    audits = []
    server = Server(folder)
    accounts.create(server.data, 2 * SENDERS)
    await asyncio.to_thread(server.start)
    server.native_port = int(server.ready["native"])  # the same one after the kill
    try:
        async with Company(server, SENDERS) as company:
            await company.talks(300)
            audits.append(await asyncio.to_thread(audit_of, server.data))
            await company.talks(300)
            kill(server)
            audits.append(await asyncio.to_thread(audit_of, server.data))
            await asyncio.to_thread(server.start)
            await company.talks(300)
            await company.settles()
            audits.append(await asyncio.to_thread(audit_of, server.data))
    finally:
        await asyncio.to_thread(server.stop)
    return audits


def test_every_message_is_explained_while_people_talk_after_a_kill_and_at_rest(
    tmp_path: Path,
) -> None:
    audits = asyncio.run(_busy(tmp_path))
    for audit in audits:
        assert audit.unexplained == 0, audit.findings[:3]
        assert sum(audit.classes.values()) == audit.messages
    assert [audit.messages for audit in audits] == sorted(audit.messages for audit in audits)
    assert audits[0].messages >= 300
    assert audits[-1].classes["confirmed"] > audits[0].classes["confirmed"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's folder after it ended: ann wrote three messages, ben had one of them."""
    server = Server(tmp_path_factory.mktemp("ended"))
    accounts.create(server.data, 2)
    asyncio.run(_three_messages(server))
    return server.data


@pytest.fixture
def folder(ended: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(ended, tmp_path / "data")
    return tmp_path / "data"


async def _three_messages(server: Server) -> None:
    from bench.raw import RawClient, client_context
    from tests.node.kill import Ledger
    from tests.node.test_wipe import Writer, until

    await asyncio.to_thread(server.start)
    port, context = int(server.ready["native"]), client_context()
    ledger = Ledger()
    ann, ben = (Writer(ledger, n, accounts.address_of(1 - n), n == 0) for n in (0, 1))
    tasks = [asyncio.create_task(person.live(port, context)) for person in (ann, ben)]
    try:
        await until(lambda: ann.client and ann.client.welcome.done(), "welcome")
        await until(lambda: ben.client and ben.client.welcome.done(), "welcome")
        ann.send("one")
        await until(lambda: not ann.unanswered and not ann.waiting, "delivered")
        ben.stop = True
        assert isinstance(ben.client, RawClient)
        ben.client.close()
        tasks[1].cancel()
        ann.send("two")
        ann.send("three")
        await until(lambda: not ann.unanswered, "stored")
        await until(lambda: server.in_inboxes() == 2, "in ben's inbox")
    finally:
        ann.stop = True
        if ann.client is not None:
            ann.client.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(server.stop)


ANN, BEN = (account_number(accounts.address_of(n)) for n in (0, 1))
DAMAGE: dict[str, tuple[str, str]] = {
    "a message is gone from the inbox": (
        f"DELETE FROM inbox WHERE owner={BEN} AND q=(SELECT max(q) FROM inbox WHERE owner={BEN}"
        " AND kind=0)",
        "lost",
    ),
    "a sent row is gone": (
        f"DELETE FROM sent WHERE owner={ANN} AND id=(SELECT max(id) FROM sent)",
        "nobody sent it",
    ),
    "a confirm is forgotten": (
        f"UPDATE pair SET delivered_id=0 WHERE owner={BEN}",
        "two marks, but no device",
    ),
    "a message under way has lost its body": (
        f"UPDATE sent SET state={OPEN} WHERE state={STORED}",
        "without its body",
    ),
    "a message under way is forgotten": (
        f"UPDATE sent SET state={OPEN}, body=x'80', accepted_us=1 WHERE state={STORED}",
        "beyond its deadline",
    ),
    "a counter is off": (f"UPDATE account SET waiting=7 WHERE id={BEN}", "counts 7 waiting"),
    "a number is above the last one": (
        f"UPDATE device SET confirmed=999 WHERE account={ANN}",
        "above the account's last one",
    ),
    "a confirmed body is still there": (
        f"UPDATE device SET confirmed=(SELECT tail FROM account WHERE id={BEN})"
        f" WHERE account={BEN}",
        "not wiped",
    ),
    "messages wait for a deleted account": (
        f"UPDATE account SET deleted=1 WHERE id={BEN}",
        "deleted account",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(folder: Path, name: str) -> None:
    sql, words = DAMAGE[name]
    sound = audit_of(folder)
    assert (sound.unexplained, sound.messages) == (0, 3)
    assert (sound.classes["confirmed"], sound.classes["waiting"]) == (1, 2)
    db = apsw.Connection(str(folder / FILE))
    db.execute(sql)
    assert db.changes() > 0
    db.close()
    audit = audit_of(folder)
    assert audit.unexplained >= 1
    assert any(words in finding.what for finding in audit.findings), audit.findings


def whimbrel(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "whimbrel", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "120"},
        check=False,
    )


def test_the_command_says_so_and_ends_with_1(folder: Path) -> None:
    done = whimbrel("audit", "--data", str(folder))
    assert done.returncode == 0, done.stderr
    assert "0 unexplained of 3 messages, 2 accounts" in done.stdout
    db = apsw.Connection(str(folder / FILE))
    id = db.execute("SELECT max(id) FROM sent").fetchall()[0][0]
    db.execute(DAMAGE["a message is gone from the inbox"][0])
    db.close()
    done = whimbrel("audit", "--data", str(folder))
    assert done.returncode == 1
    assert f"message {id}" in done.stdout
    assert "2 unexplained of 3 messages" in done.stdout, "the lost one, and the counter"


def test_a_folder_without_a_database_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Unready, match="there is no database"):
        audit_of(tmp_path)
    for command in (("audit",), ("trace", "17")):
        done = whimbrel(*command, "--data", str(tmp_path))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "there is no database" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_timeline_of_a_message_is_told_without_its_text(folder: Path) -> None:
    db = apsw.Connection(str(folder / FILE))
    rows: Any = db.execute("SELECT id FROM sent ORDER BY id LIMIT 2").fetchall()
    (first,), (second,) = rows
    db.close()
    told = whimbrel("trace", str(first), "--data", str(folder)).stdout
    steps = [line.split()[1] for line in told.splitlines()[1:-1]]
    assert steps == ["accepted", "stored", "confirmed"]
    assert told.splitlines()[-1].split()[0] == "wiped"
    waits = whimbrel("trace", str(second), "--data", str(folder)).stdout
    assert waits.splitlines()[-1].split()[:2] == ["waiting", "for"]
    for text in ("one", "two", "three"):
        assert f" {text} " not in told + waits
    nobody = whimbrel("trace", "5", "--data", str(folder))
    assert nobody.returncode == 1
    assert "nobody has sent a message 5" in nobody.stderr


def test_a_running_server_adds_what_only_its_memory_knows(folder: Path) -> None:
    server = Server(folder.parent)
    server.start()
    try:
        db = apsw.Connection(str(folder / FILE), flags=apsw.SQLITE_OPEN_READONLY)
        id = db.execute("SELECT max(id) FROM sent").fetchall()[0][0]
        db.close()
        told = whimbrel("trace", str(id), "--data", str(folder))
        assert told.returncode == 0, told.stderr
        assert "waiting" in told.stdout
    finally:
        server.stop()


async def _audited_by_the_server(server: Server, seen: Callable[[dict[str, float]], bool]) -> None:
    import aiohttp
    import msgspec

    from tests.node.company import until

    admin = msgspec.json.decode((server.data / "admin.json").read_bytes())
    headers = {"Authorization": f"Bearer {admin['token']}"}
    stats: dict[str, float] = {}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def look() -> None:
            async with session.get(f"{admin['url']}/admin/stats") as answer:
                stats.update((await answer.json())["stats"])

        for _ in range(200):
            await look()
            if seen(stats):
                return
            await asyncio.sleep(0.05)
    await until(lambda: False, f"never: {stats.get('audit_runs')}")


def test_the_server_audits_itself_and_shouts(folder: Path) -> None:
    server = Server(folder.parent, limits="audit_every_s = 1")
    server.start()
    try:
        asyncio.run(_audited_by_the_server(server, lambda s: s["audit_runs"] >= 1))
        assert "unexplained" not in server.said()
    finally:
        server.stop()
    db = apsw.Connection(str(folder / FILE))
    db.execute(DAMAGE["a message is gone from the inbox"][0])
    db.close()
    server = Server(folder.parent, limits="audit_every_s = 1")
    server.start()
    try:
        asyncio.run(_audited_by_the_server(server, lambda s: s["audit_unexplained"] >= 1))
        assert "audit: unexplained" in server.said()
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.stop()
