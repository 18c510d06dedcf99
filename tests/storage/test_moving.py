"""From SQLite to PostgreSQL: everything arrives, also after an interruption; a lie is found."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres as server
from tests.storage.holder import sqlite
from tests.storage.holder_postgres import postgres
from tests.storage.samples import (
    ALICE,
    BOB,
    CARL,
    account,
    counter,
    dead_letter,
    device,
    inbox,
    pair,
    sent,
    signup,
)
from whimbrel.domain.errors import Unready
from whimbrel.domain.rows import STORED, ArchiveRow, DocumentRow, RosterRow
from whimbrel.domain.wants import (
    ArchiveWant,
    DeadLetters,
    DeskWant,
    DocumentWant,
    InboxWant,
    OwnersOpen,
    PairWant,
    RosterWant,
    SentWant,
    Totals,
    UserWant,
)
from whimbrel.storage import moving
from whimbrel.storage.postgres.connections import connect

WANTS = (
    UserWant(ALICE, (BOB, CARL)),
    UserWant(BOB),
    PairWant(ALICE, BOB),
    SentWant(ALICE, 1, 2),
    InboxWant(BOB, 0, 99, 99, 9_999),
    RosterWant(ALICE),
    DocumentWant(ALICE, "vcard"),
    ArchiveWant(ALICE, 0, 0, 1 << 60, 9),
    DeskWant(),
    DeadLetters(9),
    OwnersOpen(0, 9),
)


def _quiet(what: str, done: int, total: int) -> None:
    assert done <= total


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A row of every kind, and more inbox rows than fit two slices."""
    held = sqlite(tmp_path / "data")
    held.put(account(ALICE, hidden=True), account(BOB, deleted=True), device(ALICE, scram=b"s"))
    held.put(device(BOB, 2), pair(ALICE, BOB, owed=True, blocked=True), pair(BOB, ALICE))
    held.put(sent(ALICE, 1, BOB, ref="r"), sent(ALICE, 2, BOB, state=STORED, body=None))
    held.put(*(inbox(BOB, q) for q in range(1, 8)))
    held.put(RosterRow(ALICE, BOB, "bob", "Bob", b"\x90", 3, b"<x/>"))
    held.put(DocumentRow(ALICE, "vcard", 5, b"v"), ArchiveRow(ALICE, 9, BOB, "bob", True, b"a"))
    held.put(signup("+491"), counter("a", 5), dead_letter(1), dead_letter(2))
    held.close()
    (tmp_path / "data" / "scram.secret").write_text("ab" * 32)
    return tmp_path / "data"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(moving, "SLICE", 3)
    address = server.fresh_database()
    yield address
    server.give_back(address)


def run(folder: Path, url: str, progress: Any = _quiet) -> moving.Moved:
    return asyncio.run(moving.move(folder, url, progress))


def answers(folder: Path) -> list[Any]:
    held = sqlite(folder)
    found: list[Any] = held.load(*WANTS)
    held.close()
    return found


def test_everything_answers_as_before(folder: Path, url: str) -> None:
    moved = run(folder, url)
    assert moved.rows["inbox"] == 7
    held = postgres(url)
    assert held.load(*WANTS) == answers(folder)
    assert held.get(Totals())["dead_letters"] == 2
    assert held.store.era == moved.era == 1
    assert held.execute("SELECT value FROM secret WHERE name = 'scram.secret'")[0][0] == "ab" * 32
    held.put(inbox(BOB, 8), dead_letter(3))  # and it goes on
    assert [row.at_us for row in held.get(DeadLetters(9))] == [3, 2, 1]
    held.close()


def test_an_interrupted_move_goes_on_behind_its_last_slice(folder: Path, url: str) -> None:
    class PoweredOff(Exception):
        pass

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "copying inbox":
            raise PoweredOff

    with pytest.raises(PoweredOff):
        run(folder, url, interrupt)
    moved = run(folder, url)
    assert moved.resumed > 0
    held = postgres(url)
    assert held.load(*WANTS) == answers(folder)
    held.close()


def test_the_last_slice_of_a_run_that_was_killed_is_waited_for(folder: Path, url: str) -> None:
    """Its process is dead, but the database has not ended its transaction yet."""

    name = str(folder.resolve())

    async def play() -> moving.Moved:
        killed = await connect(url)
        await killed.execute("SET idle_in_transaction_session_timeout = 0")
        await killed.execute("SELECT pg_advisory_lock($1)", moving.LOCK)
        await killed.execute(moving._PROGRESS)
        source = moving.Source(folder)
        rows, position = next(source.slices(moving.TABLES[0], None))
        source.close()
        last_slice = killed.transaction()
        await last_slice.start()
        await moving._bring(killed, moving.TABLES[0], rows, name, position)
        again = asyncio.create_task(moving.move(folder, url, _quiet))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        while not again.done() and not await killed.fetchval(waits):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await last_slice.commit()
        await killed.close()
        return await again

    moved: moving.Moved = server.run(play())
    assert moved.resumed == moved.rows["account"] == 2


def test_a_copy_that_differs_is_not_called_moved(folder: Path, url: str) -> None:
    """A row that changed between copying and comparing stands for every way to go wrong."""

    def spoil(what: str, done: int, total: int) -> None:
        if what == "comparing pair":
            server.run(server._execute(url, "UPDATE sent SET body = 'x' WHERE id = 1"))

    with pytest.raises(Unready, match="differs in table sent"):
        run(folder, url, spoil)


def test_what_is_not_empty_is_not_moved_into(folder: Path, url: str) -> None:
    server.run(
        server._execute(url, "INSERT INTO account SELECT 1,1,1,1,1,1,1,1,1,1,false,false,'x'")
    )
    with pytest.raises(Unready, match="holds accounts already"):
        run(folder, url)


def test_a_server_that_runs_is_not_moved(folder: Path, url: str) -> None:
    held = sqlite(folder)
    with pytest.raises(Unready, match="in use by process"):
        run(folder, url)
    held.close()
