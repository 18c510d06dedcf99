"""What only the PostgreSQL store has: several connections, migrations, wiping, names of errors."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests import postgres as server
from tests.storage.holder_postgres import PostgresHolder, postgres
from tests.storage.samples import ALICE, BOB, account, dead_letter, inbox, pair, sent, signup
from whimbrel.domain.errors import Unready
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import (
    DELIVERED,
    READ,
    STORED,
    DeviceGone,
    DocumentRow,
    InboxUpto,
    RosterRow,
    SentMarks,
    SentState,
)
from whimbrel.domain.wants import (
    DeadLetters,
    DocumentWant,
    InboxWant,
    PairWant,
    RosterWant,
    SentWant,
    UserWant,
)
from whimbrel.storage.postgres.connections import connect, where
from whimbrel.storage.postgres.schema import STEPS, migrate
from whimbrel.storage.postgres.statements import ARGUMENTS_MAX, FUNCTION, HOT


@pytest.fixture
def held() -> Any:
    holder = postgres(server.fresh_database())
    yield holder
    holder.close()
    server.give_back(holder.url)


# ---- rows --------------------------------------------------------------------------------------


def test_what_a_row_sees_twice_in_one_batch_happens_in_order(held: PostgresHolder) -> None:
    """One statement would do only one of the changes."""
    held.put(sent(ALICE, 1, BOB), sent(ALICE, 2, BOB))
    held.put(
        SentState(ALICE, 1, STORED, "", 500),
        SentState(ALICE, 1, DELIVERED, "", 600),
        SentState(ALICE, 2, STORED, "", 501),
        SentMarks(ALICE, BOB, 0, 2, DELIVERED, "", 700),
        SentMarks(ALICE, BOB, 0, 2, READ, "", 800),
    )
    one, two = (held.get(SentWant(ALICE, 1, id)) for id in (1, 2))
    assert (one.stored_us, one.delivered_us, one.read_us, one.state) == (500, 600, 800, READ)
    assert (two.stored_us, two.delivered_us, two.read_us, two.state) == (501, 700, 800, READ)


def test_rare_and_usual_rows_of_one_batch_are_one_transaction(held: PostgresHolder) -> None:
    contact = RosterRow(ALICE, BOB, "bob", "Bob", b"\x90", 1, b"")
    held.put(account(ALICE), inbox(BOB, 1), contact, DocumentRow(ALICE, "vcard", 1, b"x"))
    assert held.get(RosterWant(ALICE)) == [contact]
    outcome, why = held.commit(
        account(ALICE, tail=9), RosterRow(ALICE, BOB, "bob", "B.", b"\x90", 1, b""), inbox(BOB, 1)
    )
    assert outcome is Outcome.FAILED
    assert "contradicts" in why
    assert held.recover() == (True, "")
    assert held.get(RosterWant(ALICE)) == [contact]
    assert held.get(UserWant(ALICE)).account.tail == 3
    assert held.get(DocumentWant(ALICE, "vcard")).body == b"x"


def test_a_value_that_no_column_holds_fails_the_batch_and_names_no_value(
    held: PostgresHolder,
) -> None:
    outcome, why = held.commit(signup("+49\0secret"))
    assert outcome is Outcome.FAILED
    assert "secret" not in why
    outcome, why = held.commit(inbox(BOB, 1 << 70))
    assert outcome is Outcome.FAILED
    assert held.recover() == (True, "")
    outcome, why = held.commit(inbox(BOB, 1), sent(ALICE, 1, BOB, state=1 << 20))
    assert outcome is Outcome.FAILED
    assert held.recover() == (True, "")
    assert held.get(UserWant(ALICE)).open == []


def test_dead_letters_and_removals_go_with_usual_rows(held: PostgresHolder) -> None:
    for at in range(7):
        held.put(dead_letter(at), inbox(BOB, at + 1), DeviceGone(ALICE, at))
    assert len(held.get(DeadLetters(10))) == 5


def test_the_function_has_room_for_more_columns() -> None:
    assert sum(len(kind.fields) for kind in HOT) + 2 <= ARGUMENTS_MAX


def test_many_wants_of_many_owners_are_each_answered_with_their_own(held: PostgresHolder) -> None:
    held.put(account(ALICE), account(BOB), pair(ALICE, BOB), pair(BOB, ALICE))
    held.put(*(inbox(BOB, q, body=b"b" * q) for q in (1, 2, 3)), inbox(ALICE, 7))
    found = held.load(
        PairWant(BOB, ALICE),
        InboxWant(BOB, 0, 99, 99, 999),
        PairWant(ALICE, BOB),
        InboxWant(ALICE, 0, 99, 99, 999),
        InboxWant(BOB, 1, 2, 99, 999),
        PairWant(BOB, ALICE),
    )
    assert (found[0].row.owner, found[2].row.owner, found[5]) == (BOB, ALICE, found[0])
    assert [[row.q for row, _ in found[n][0]] for n in (1, 3, 4)] == [[1, 2, 3], [7], [2]]


def test_statements_of_the_hot_path_never_walk_a_table(held: PostgresHolder) -> None:
    """Also while tables are empty: plans are made then, and kept."""
    held.put(account(ALICE), inbox(BOB, 1), sent(ALICE, 1, BOB), pair(ALICE, BOB))
    held.put(SentMarks(ALICE, BOB, 0, 1, DELIVERED, "", 1), InboxUpto(BOB, 1), account(ALICE))
    held.get(UserWant(ALICE, (BOB,)))
    held.get(InboxWant(BOB, 0, 9, 9, 9))
    counts = held.execute(
        """SELECT relname, seq_scan FROM pg_stat_user_tables
 WHERE relname IN ('account', 'sent', 'inbox', 'pair', 'device', 'shard') ORDER BY relname"""
    )
    before = {row[0]: row[1] for row in counts}
    for n in range(2, 40):
        held.put(inbox(BOB, n), InboxUpto(BOB, n - 1), account(ALICE), pair(ALICE, BOB))
        held.get(UserWant(ALICE, (BOB,)))
    held.close()  # a backend reports its numbers at its end
    counts = held.execute("SELECT relname, seq_scan FROM pg_stat_user_tables")
    after = {row[0]: row[1] for row in counts if row[0] in before}
    assert {
        name: after[name] - count for name, count in before.items() if after[name] > count + 2
    } == {}


# ---- the database's trouble ----------------------------------------------------------------------


def test_a_reader_that_lost_its_connection_reads_on_a_new_one(held: PostgresHolder) -> None:
    held.put(account(ALICE))
    held.get(UserWant(ALICE))
    held.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    )
    assert held.get(UserWant(ALICE)).account == account(ALICE)


@pytest.fixture(scope="module")
def own() -> Iterator[server.PostgresServer]:
    """A server that a test may kill, and whose files it may read."""
    server.require()
    made = server.PostgresServer.make("wal_recycle = off\nmin_wal_size = 32MB\n").start()
    yield made
    made.remove()


def test_after_a_recovery_nothing_is_read_over_an_old_connection(held: PostgresHolder) -> None:
    """It may lead to a primary that is none any more, and go on to answer."""

    def readers() -> set[int]:
        found = held.execute(
            """SELECT pid FROM pg_stat_activity WHERE datname = current_database()
 AND query LIKE '%LEFT JOIN pair p%' AND pid <> pg_backend_pid()"""
        )
        return {row[0] for row in found}

    for _ in range(6):
        held.get(UserWant(ALICE))
    before = readers()
    assert before
    assert held.recover() == (True, "")
    for _ in range(100):
        held.get(UserWant(ALICE))
        if not readers() & before:  # a backend takes a moment to notice its end
            break
    assert not readers() & before
    assert readers()


def test_a_database_that_is_away_fails_by_name_and_comes_back(own: server.PostgresServer) -> None:
    held = postgres(server.database_of(own, "away"))
    held.put(account(ALICE))
    own.kill()
    assert held.commit(account(ALICE, tail=4))[0] is Outcome.UNKNOWN
    assert held.commit(account(ALICE, tail=4))[0] is Outcome.FAILED
    sound, why = held.recover()
    assert not sound
    assert "cannot be reached" in why
    assert isinstance(held.load(UserWant(ALICE)), Unready)
    own.start()
    assert held.recover() == (True, "")
    assert held.get(UserWant(ALICE)).account == account(ALICE)
    held.put(account(ALICE, tail=5))
    held.close()


async def test_a_password_is_in_no_error() -> None:
    url = "postgresql://whimbrel:s3cret@127.0.0.1:1/chat"
    with pytest.raises(Unready) as caught:
        await connect(url)
    assert "s3cret" not in str(caught.value)
    assert "chat" in where(url)


# ---- migrations ----------------------------------------------------------------------------------


async def migrated(url: str, steps: tuple[str, ...] = STEPS) -> int:
    db = await connect(url)
    try:
        return await migrate(db, url, steps)
    finally:
        await db.close()


async def test_many_nodes_that_start_at_once_make_the_tables_once() -> None:
    url = server.fresh_database(tables=False)
    assert await asyncio.gather(*(migrated(url) for _ in range(6))) == [1] * 6
    db = await asyncpg.connect(url)
    assert await db.fetchval("SELECT count(*) FROM shard") == 4_096
    assert await db.fetchval("SELECT count(*) FROM pg_proc WHERE proname = $1", FUNCTION) == 1
    await db.close()
    server.drop_database(url)


async def test_a_later_step_is_applied_once_and_an_older_version_refuses_by_name() -> None:
    url = server.fresh_database(tables=False)
    await migrated(url)
    newer = (*STEPS, "ALTER TABLE account ADD COLUMN colour bigint NOT NULL DEFAULT 0")
    await asyncio.gather(*(migrated(url, newer) for _ in range(3)))
    known = len(STEPS)
    with pytest.raises(Unready, match=rf"schema {known + 1}.*knows only up to schema {known}"):
        await migrated(url)
    server.drop_database(url)


async def test_a_failed_step_leaves_the_old_schema() -> None:
    url = server.fresh_database(tables=False)
    await migrated(url)
    broken = (*STEPS, "CREATE TABLE half(x int); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrated(url, broken)
    assert await migrated(url) == 1
    server.drop_database(url)


async def test_a_database_of_somebody_else_is_left_alone() -> None:
    url = server.fresh_database(tables=False)
    db = await asyncpg.connect(url)
    await db.execute("CREATE TABLE customers(name text)")
    with pytest.raises(Unready, match="not those of Whimbrel"):
        await migrated(url)
    assert [
        row[0]
        for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ] == ["customers"]
    await db.close()
    server.drop_database(url)


async def test_a_running_node_goes_on_while_a_newer_one_migrates() -> None:
    """Rows only gain columns with defaults, and each version calls its own function."""
    url = server.fresh_database(tables=False)
    held = await asyncio.to_thread(postgres, url)
    await migrated(url, (*STEPS, "ALTER TABLE inbox ADD COLUMN colour bigint NOT NULL DEFAULT 7"))
    await asyncio.to_thread(held.put, inbox(BOB, 1))
    assert await asyncio.to_thread(held.recover) == (True, "")
    await asyncio.to_thread(held.close)
    server.drop_database(url)


# ---- law 4 ---------------------------------------------------------------------------------------

MARK = b"a giant monster is attacking the golden gate bridge"


def _files_with(folder: Path, text: bytes) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text in path.read_bytes()
    ]


def test_a_wiped_body_is_in_no_table_after_a_full_vacuum_and_a_checkpoint(
    own: server.PostgresServer,
) -> None:
    """As far as PostgreSQL goes (docs/cluster.md): a plain vacuum frees the place without
    overwriting it, and the log keeps what was written until it is recycled."""
    held = postgres(server.database_of(own, "wiped"))
    held.put(inbox(BOB, 1, body=MARK), inbox(BOB, 2, body=b"stays"))
    held.execute("CHECKPOINT")
    assert any(name.startswith("base/") for name in _files_with(own.data, MARK))
    held.put(InboxUpto(BOB, 1))
    assert [row.body for row, _ in held.get(InboxWant(BOB, 0, 9, 9, 999))[0]] == [b"stays"]
    held.execute("VACUUM FULL inbox")
    held.execute("CHECKPOINT")
    assert [n for n in _files_with(own.data, MARK) if not n.startswith("pg_wal")] == []
    held.close()
