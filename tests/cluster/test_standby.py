"""A synchronous standby: what was acknowledged is there after the primary is gone.

DELIVERY.md, "Commit": a commit that waits for a standby and is cancelled succeeds with a warning;
that is no acknowledgement.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests import postgres
from tests.cluster.parts import Node, batch_of, eventually, in_shard, plain
from tests.node.doctor.test_doctor import levels
from tests.storage.samples import inbox
from whimbrel.domain.errors import Unready
from whimbrel.domain.ports import Outcome
from whimbrel.node.doctor import installation
from whimbrel.storage.postgres.connections import connect

BOB = in_shard(7)


Pair = tuple[postgres.PostgresServer, postgres.PostgresServer]


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """A primary, and a standby without which nothing is acknowledged."""
    postgres.require()
    primary = postgres.PostgresServer.make().start()
    standby = primary.copy().start()
    try:
        yield primary, standby
    finally:
        standby.remove()
        primary.remove()


@pytest.fixture
def pair(servers: Pair) -> Pair:
    """Both up, in step, whatever the test before did to the standby."""
    primary, standby = servers
    if standby.process is None:
        standby.start()
    postgres.run(_synchronous(primary))
    return servers


async def _synchronous(primary: postgres.PostgresServer) -> None:
    db = await plain(primary.url("postgres"))
    await db.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    await db.execute("SELECT pg_reload_conf()")
    await eventually(lambda: _synced(db))
    await db.close()


async def _synced(db: Any) -> bool:
    return "sync" in [
        row[0] for row in await db.fetch("SELECT sync_state FROM pg_stat_replication")
    ]


@pytest_asyncio.fixture
async def node(pair: Pair, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    name = f"t{abs(hash(request.node.name))}"
    node = await Node.start(postgres.database_of(pair[0], name), "only", [7])
    yield node
    for task in list(node.store._tasks):
        task.cancel()
    node.owner.db.terminate()
    if node.store._db is not None:
        node.store._db.terminate()


async def waits_for_the_standby(db: Any, pid: int) -> bool:
    return bool(
        await db.fetchval("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1", pid)
    )


async def test_a_commit_that_gave_up_waiting_for_the_standby_is_no_commit(
    pair: Pair, node: Node
) -> None:
    standby = pair[1]
    standby.kill()
    db = await plain(node.url)
    answer = node.commit(batch_of(node.touched(BOB), inbox(BOB, 1)))
    pid = node.pid
    await eventually(lambda: waits_for_the_standby(db, pid))
    await db.execute("SELECT pg_cancel_backend($1)", pid)
    outcome, why = await answer
    assert outcome is Outcome.UNKNOWN
    assert "canceling wait" in why
    assert await db.fetchval("SELECT count(*) FROM inbox") == 1  # here, and nowhere else
    assert (await node.commit(batch_of(node.touched(BOB), inbox(BOB, 2))))[0] is Outcome.FAILED
    await db.close()


async def test_recovery_waits_for_a_standby_too(pair: Pair, node: Node) -> None:
    """Own shards are not taken again by a commit that only this machine has."""
    standby = pair[1]
    standby.kill()
    db = await plain(node.url)
    recovering = asyncio.ensure_future(node.recover())
    await eventually(lambda: waits_for_the_standby(db, node.owner.db.get_server_pid()))
    assert not recovering.done()
    standby.start()
    assert await recovering == (True, "")
    assert await node.commit(batch_of(node.touched(BOB), inbox(BOB, 1))) == (Outcome.COMMITTED, "")
    await db.close()


async def test_a_standby_is_not_taken_for_the_primary(
    pair: Pair,
) -> None:
    primary, standby = pair
    with pytest.raises(Unready):
        await connect(standby.url("postgres"), patience_s=5)
    both = f"postgresql://whimbrel@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"
    db = await connect(both)
    assert not await db.fetchval("SELECT pg_is_in_recovery()")
    await db.close()


async def test_the_doctor_sees_whether_commits_wait_for_somebody_who_is_there(pair: Pair) -> None:
    async def seen() -> dict[str, str]:
        return levels(await installation._database(primary.url("postgres")))

    primary, standby = pair
    assert (await seen())["standbys"] == "good"
    standby.kill()

    async def is_bad() -> bool:
        return (await seen())["standbys"] == "bad"

    await eventually(is_bad)


async def test_what_was_acknowledged_is_on_the_standby_that_takes_over(
    pair: Pair, node: Node
) -> None:
    primary, standby = pair
    acknowledged = []
    q = 0
    db, pid = await plain(node.url), node.pid
    while True:
        q += 1
        answer = node.commit(batch_of(node.touched(BOB), inbox(BOB, q)))
        if q == 20:  # in the middle of commits, as a machine would end
            standby.kill()
        if q >= 20:
            await eventually(lambda answer=answer: answer.done() or waits_for_the_standby(db, pid))
            if not answer.done():
                break  # it hangs, as it should: nobody is told anything
        outcome, why = await answer
        assert outcome is Outcome.COMMITTED, why
        acknowledged.append(q)
    assert len(acknowledged) >= 19
    standby.start()
    primary.kill()
    assert (await answer)[0] in (Outcome.UNKNOWN, Outcome.COMMITTED)
    standby.run("pg_ctl", "promote", "-D", str(standby.data), "-w")
    db.terminate()
    db = await plain(standby.url(node.url.rpartition("/")[2]))
    rows = {row[0] for row in await db.fetch("SELECT q FROM inbox")}
    assert set(acknowledged) <= rows
    await db.close()
