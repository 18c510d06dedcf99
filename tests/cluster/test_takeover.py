"""DELIVERY.md, "Takeover" and "Commit", sentence by sentence, on a real PostgreSQL.

Where PostgreSQL offers a simpler way that loses rows, the test shows that it does (MEASURED.md).
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.cluster.parts import (
    Node,
    Owner,
    batch_of,
    eventually,
    in_shard,
    plain,
    waits_for_a_lock,
)
from tests.storage.samples import inbox
from whimbrel.cluster import table
from whimbrel.cluster.shards import Holdings
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import InboxUpto
from whimbrel.domain.wants import FlightsWant
from whimbrel.storage.postgres.connections import connect
from whimbrel.storage.postgres.statements import COMMIT, arguments

BOB = in_shard(7)
CARL = in_shard(9)
ALL = FlightsWant(BOB, 0, 1 << 60, 100)


@pytest_asyncio.fixture
async def old(url: str) -> AsyncIterator[Node]:
    """The owner of shards 7 and 9."""
    node = await Node.start(url, "old", [7, 9])
    yield node
    await node.close()


@pytest_asyncio.fixture
async def new(url: str) -> AsyncIterator[Node]:
    node = await Node.start(url, "new")
    yield node
    await node.close()


@pytest_asyncio.fixture
async def db(url: str) -> AsyncIterator[Any]:
    connection = await plain(url)
    yield connection
    await connection.close()


async def numbers(node: Node, owner: int = BOB) -> list[int]:
    return [row[0] for row in await node.get(FlightsWant(owner, 0, 1 << 60, 100))]


# ---- taking -----------------------------------------------------------------------------------


async def test_a_shard_whose_owner_is_alive_cannot_be_taken(old: Node, new: Node) -> None:
    await new.owner.take([7, 8, 9])
    assert set(new.owner.epochs) == {8}


async def test_a_shard_whose_owners_lease_is_over_is_taken_in_the_next_epoch(
    old: Node, new: Node
) -> None:
    await old.owner.expire()
    await new.owner.take([7])
    assert new.owner.epochs == {7: old.owner.epochs[7] + 1}


async def test_the_clock_that_decides_is_that_of_the_moment_not_of_the_transaction(
    old: Node, new: Node, db: Any
) -> None:
    """The lease ends while the takeover waits for a lock: now() would still call it alive."""
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM node WHERE id = $1 FOR UPDATE", old.owner.me.number)
    taking = asyncio.ensure_future(new.owner.take([7]))
    pid = new.owner.db.get_server_pid()
    await eventually(lambda: waits_for_a_lock(old.owner.db, pid))
    await db.execute(
        "UPDATE node SET expires = clock_timestamp() WHERE id = $1", old.owner.me.number
    )
    begun = await db.fetchval("SELECT xact_start FROM pg_stat_activity WHERE pid = $1", pid)
    expires = await db.fetchval("SELECT expires FROM node WHERE id = $1", old.owner.me.number)
    assert begun < expires
    await held.commit()
    await taking
    assert set(new.owner.epochs) == {7}


async def test_a_takeover_waits_for_a_renewal_under_way_and_believes_it(
    old: Node, new: Node, db: Any
) -> None:
    await old.owner.expire()
    renewal = db.transaction()
    await renewal.start()
    await table._extend(db, old.owner.me, 60.0)
    taking = asyncio.ensure_future(new.owner.take([7]))
    await eventually(lambda: waits_for_a_lock(old.owner.db, new.owner.db.get_server_pid()))
    await renewal.commit()
    await taking
    assert new.owner.epochs == {}


async def test_a_renewal_waits_for_a_takeover_under_way_and_hears_what_it_lost(
    old: Node, new: Node, db: Any
) -> None:
    """So its list of shards is read after the lock was had, in a statement of its own."""
    await old.owner.expire()
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM shard WHERE id = 7 FOR SHARE")  # keeps the takeover under way
    taking = asyncio.ensure_future(new.owner.take([7]))
    await eventually(lambda: waits_for_a_lock(db, new.owner.db.get_server_pid()))
    renewing = asyncio.ensure_future(table.renew(old.owner.db, old.owner.me))
    await eventually(lambda: waits_for_a_lock(db, old.owner.db.get_server_pid()))
    await held.commit()
    await taking
    answer = await renewing
    assert (answer.owners[7], answer.owners[9]) == (new.owner.me.number, old.owner.me.number)
    holdings = Holdings(old.owner.me.number)
    holdings.renewed(0, 0, await table.look(db))
    holdings.taken(0, 0, old.owner.epochs)
    assert holdings.renewed(1, 1, answer) == {7}


async def test_a_takeover_does_not_wait_for_ever_for_a_commit(
    old: Node, new: Node, db: Any
) -> None:
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM shard WHERE id = 7 FOR SHARE")
    await old.owner.expire()
    with pytest.raises(asyncpg.LockNotAvailableError):
        await new.owner.take([7, 9])
    await new.owner.take([9])
    assert set(new.owner.epochs) == {9}
    await held.rollback()


async def test_who_holds_locks_and_does_nothing_is_thrown_out(
    old: Node, new: Node, url: str
) -> None:
    """idle_in_transaction_session_timeout: a node that stopped in the middle of a batch."""
    stopped = await connect(url)
    await stopped.execute("BEGIN")
    await stopped.fetch("SELECT FROM shard WHERE id = 7 FOR SHARE")
    await old.owner.expire()

    async def taken() -> bool:
        try:
            await new.owner.take([7])
        except asyncpg.LockNotAvailableError:
            return False
        return 7 in new.owner.epochs

    assert not await taken()
    await eventually(taken)
    await eventually(stopped.is_closed)


async def test_two_nodes_that_take_the_same_shards_share_none(
    old: Node, new: Node, url: str
) -> None:
    third = await Owner.claim(url, "third")
    await old.owner.expire()
    shards = range(64)
    await asyncio.gather(new.owner.take(shards), third.take(shards))
    assert new.owner.epochs.keys() & third.epochs.keys() == set()
    assert new.owner.epochs.keys() | third.epochs.keys() == set(shards)
    await third.db.close()


# ---- the fence --------------------------------------------------------------------------------


async def test_who_lost_a_shard_writes_nothing_of_any_kind(old: Node, new: Node) -> None:
    mine = old.touched(BOB, CARL)
    assert await old.commit(batch_of(mine, inbox(BOB, 1), inbox(CARL, 1))) == (
        Outcome.COMMITTED,
        "",
    )
    await old.owner.expire()
    await new.owner.take([7])
    outcome, _ = await old.commit(batch_of(mine, inbox(CARL, 2), InboxUpto(CARL, 1)))
    assert outcome is Outcome.FENCED  # it is still the owner of Carl, but Bob ran in that batch
    assert await numbers(new, CARL) == [1]


async def test_a_batch_that_wrote_nothing_is_fenced_too(old: Node, new: Node) -> None:
    await old.owner.expire()
    await new.owner.take([7])
    assert (await old.commit(batch_of(old.touched(BOB))))[0] is Outcome.FENCED


async def test_a_shard_that_came_back_does_not_pass_with_the_epoch_of_before(
    old: Node, new: Node
) -> None:
    before = old.touched(BOB)
    await old.owner.expire()
    await new.owner.take([7])
    await new.owner.expire()
    await old.owner.take([7])
    assert (await old.commit(batch_of(before, inbox(BOB, 1))))[0] is Outcome.FENCED


async def test_a_refused_fence_is_no_error_for_the_database(old: Node, new: Node, url: str) -> None:
    """Why row counts are compared: the statement succeeds."""
    await old.owner.expire()
    await new.owner.take([7])
    db = await connect(url)
    assert await db.fetchval(COMMIT, *arguments(batch_of(old.touched(BOB), inbox(BOB, 1)))) is False
    await db.close()


async def test_a_batch_behind_a_takeover_waits_and_is_refused(
    old: Node, new: Node, db: Any
) -> None:
    takeover = db.transaction()
    await takeover.start()
    await db.execute("UPDATE shard SET owner = 999, epoch = epoch + 1 WHERE id = 7")
    answer = old.commit(batch_of(old.touched(BOB), inbox(BOB, 1)))
    await eventually(lambda: waits_for_a_lock(db, old.pid))
    await takeover.commit()
    assert (await answer)[0] is Outcome.FENCED
    assert await numbers(new) == []


async def test_a_batch_behind_a_takeover_that_was_given_up_is_written(old: Node, db: Any) -> None:
    """However long it waited: no time-out of ours ends a commit."""
    takeover = db.transaction()
    await takeover.start()
    await db.execute("UPDATE shard SET owner = 999, epoch = epoch + 1 WHERE id = 7")
    answer = old.commit(batch_of(old.touched(BOB), inbox(BOB, 1)))
    await eventually(lambda: waits_for_a_lock(db, old.pid))
    await takeover.rollback()
    assert await answer == (Outcome.COMMITTED, "")


async def test_shards_are_locked_ascending_in_whatever_order_actors_ran(old: Node, db: Any) -> None:
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM shard WHERE id = 7 FOR UPDATE")
    answer = old.commit(batch_of(old.touched(CARL, BOB), inbox(BOB, 1)))
    await eventually(lambda: waits_for_a_lock(db, old.pid))
    # It waits for 7 and holds nothing of 9 yet.
    assert len(await db.fetch("SELECT FROM shard WHERE id = 9 FOR UPDATE NOWAIT")) == 1
    await held.rollback()
    assert (await answer)[0] is Outcome.COMMITTED


# ---- loading ----------------------------------------------------------------------------------


async def begun(url: str, node: Node, q: int) -> Any:
    """The old owner's transaction: its rows are written, its commit is still to come."""
    db = await plain(url)
    await db.execute("BEGIN")
    values = arguments(batch_of(node.touched(BOB), inbox(BOB, q)))
    assert await db.fetchval(COMMIT, *values) is True
    return db


async def test_a_takeover_sees_what_the_old_owner_was_committing(
    old: Node, new: Node, url: str, db: Any
) -> None:
    writer = await begun(url, old, 1)
    await old.owner.expire()
    taking = asyncio.ensure_future(new.owner.take([7]))
    await eventually(lambda: waits_for_a_lock(db, new.owner.db.get_server_pid()))
    await writer.execute("COMMIT")
    await taking
    assert await numbers(new) == [1]
    await writer.close()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
async def test_loading_in_the_transaction_that_waited_would_miss_rows(
    level: str, old: Node, url: str, db: Any
) -> None:
    """What PostgreSQL does, and why the load comes in a transaction of its own: the snapshot of
    the raising statement (and of a REPEATABLE READ transaction) is older than the old commit."""
    writer = await begun(url, old, 1)
    taker = await plain(url)
    await taker.execute(f"BEGIN ISOLATION LEVEL {level}")
    if level == "REPEATABLE READ":
        await taker.fetch("SELECT count(*) FROM inbox")
        await writer.execute("COMMIT")
        count = await taker.fetchval("SELECT count(*) FROM inbox")
    else:
        raising = asyncio.ensure_future(
            taker.fetchval(
                """WITH raised AS (UPDATE shard SET epoch = epoch + 1 WHERE id = 7 RETURNING id)
 SELECT (SELECT count(*) FROM inbox) FROM raised"""
            )
        )
        await eventually(lambda: waits_for_a_lock(db, taker.get_server_pid()))
        await writer.execute("COMMIT")
        count = await raising
    assert count == 0
    assert await db.fetchval("SELECT count(*) FROM inbox") == 1
    await taker.close()
    await writer.close()


async def test_for_key_share_would_let_the_old_owner_write(old: Node, db: Any, url: str) -> None:
    """What PostgreSQL does, and why the fence locks FOR SHARE."""
    other = await plain(url)
    for lock, conflicts in (("KEY SHARE", False), ("SHARE", True)):
        fence = db.transaction()
        await fence.start()
        await db.fetch(f"SELECT FROM shard WHERE id = 7 FOR {lock}")
        await other.execute("SET lock_timeout = 50")
        try:
            await other.execute("UPDATE shard SET epoch = epoch + 1 WHERE id = 7")
            assert not conflicts
        except asyncpg.LockNotAvailableError:
            assert conflicts
        await fence.rollback()
    await other.close()


# ---- outcomes that nobody knows ---------------------------------------------------------------


async def test_a_backend_that_was_ended_during_the_commit_leaves_it_unknown(
    old: Node, db: Any
) -> None:
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM shard WHERE id = 7 FOR UPDATE")
    answer = old.commit(batch_of(old.touched(BOB), inbox(BOB, 1)))
    await eventually(lambda: waits_for_a_lock(db, old.pid))
    await db.execute("SELECT pg_terminate_backend($1)", old.pid)
    assert (await answer)[0] is Outcome.UNKNOWN
    await held.rollback()
    assert await old.recover() == (True, "")
    assert await old.commit(batch_of(old.touched(BOB), inbox(BOB, 2))) == (Outcome.COMMITTED, "")
    assert await numbers(old) == [2]


async def test_a_commit_that_was_cancelled_is_unknown(old: Node, db: Any) -> None:
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM shard WHERE id = 7 FOR UPDATE")
    answer = old.commit(batch_of(old.touched(BOB), inbox(BOB, 1)))
    await eventually(lambda: waits_for_a_lock(db, old.pid))
    await db.execute("SELECT pg_cancel_backend($1)", old.pid)
    assert (await answer)[0] is Outcome.UNKNOWN
    await held.rollback()


async def test_a_row_that_appears_late_is_waited_for_before_anything_is_loaded(
    old: Node, db: Any
) -> None:
    """The connection is lost, the backend does not know: it commits when its lock comes free.
    Taking the shards again waits for it, so nothing is loaded before it has ended."""
    held = db.transaction()
    await held.start()
    await db.execute(
        """INSERT INTO inbox SELECT $1, 1, 0, 0, 0, 0, 0, 0, 0, '', NULL""", BOB
    )  # the same key: the backend waits for our end
    answer = old.commit(batch_of(old.touched(BOB), inbox(BOB, 1)))
    pid = old.pid
    await eventually(lambda: waits_for_a_lock(db, pid))
    old.store._db._transport.abort()
    assert (await answer)[0] is Outcome.UNKNOWN
    sound, why = await old.recover()
    assert not sound
    assert "locked by another node" in why
    await held.rollback()
    await eventually(lambda: _recovers(old))
    assert await numbers(old) == [1]  # late, but seen


async def _recovers(node: Node) -> bool:
    return (await node.recover())[0]


async def test_after_an_unknown_commit_its_epoch_is_worth_nothing(old: Node, db: Any) -> None:
    """A commit that is still on its way to the database meets the fence."""
    on_its_way = batch_of(old.touched(BOB), inbox(BOB, 1))
    await old.recover()
    assert (await old.commit(on_its_way))[0] is Outcome.FENCED


async def test_a_shard_that_was_given_up_is_free_at_once_and_fenced(old: Node, new: Node) -> None:
    before = old.touched(BOB)
    await table.give(old.owner.db, old.owner.me, [7])
    assert (await old.commit(batch_of(before, inbox(BOB, 1))))[0] is Outcome.FENCED
    await new.owner.take([7])
    assert new.owner.epochs == {7: before[BOB] + 2}


async def test_a_process_whose_number_was_given_away_can_neither_renew_nor_take(
    old: Node, url: str
) -> None:
    again = await Owner.claim(url, "old")
    assert again.me.number == old.owner.me.number
    assert again.me.incarnation == old.owner.me.incarnation + 1
    for call in (
        table.renew(old.owner.db, old.owner.me),
        table.take(old.owner.db, old.owner.me, [7]),
        table.retake(old.owner.db, old.owner.me),
    ):
        with pytest.raises(table.Lost):
            await call
    await again.take([7])
    assert (await old.commit(batch_of(old.touched(BOB))))[0] is Outcome.FENCED
    await again.db.close()


async def test_a_dead_nodes_number_goes_to_another_identity_a_living_ones_does_not(
    old: Node, url: str
) -> None:
    other = await Owner.claim(url, "other")
    assert other.me.number != old.owner.me.number
    await old.owner.expire()
    third = await Owner.claim(url, "third")
    assert third.me.number == old.owner.me.number
    assert third.me.incarnation > old.owner.me.incarnation
    await other.db.close()
    await third.db.close()
