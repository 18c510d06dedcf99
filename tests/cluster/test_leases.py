"""Two and three keepers of leases over one real PostgreSQL: joining, leaving, dying, being late."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.parts import eventually, plain
from whimbrel.cluster import leases, table
from whimbrel.cluster.leases import LeaseKeeper
from whimbrel.domain.ids import SHARDS
from whimbrel.node.clock import SystemClock

LEASE_S = 5.0  # short, but not so short that a busy machine is late
RENEW_S = 0.5
MARGIN_S = 0.5


class Heard:
    """What a keeper told its watcher, and what the watcher owns by that."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self.keeper = keeper
        self.owned: set[int] = set()
        self.lost: list[frozenset[int]] = []
        self.moved: set[int] = set()
        self.when_lost: Callable[[], None] = lambda: None
        keeper.watch(self._gained, self._lost, self.moved.update)

    def _gained(self, shards: frozenset[int]) -> None:
        assert all(self.keeper.epoch(shard) >= 0 for shard in shards)
        self.owned |= shards

    def _lost(self, shards: frozenset[int]) -> None:
        assert all(self.keeper.epoch(shard) < 0 for shard in shards)
        self.owned -= shards
        self.lost.append(shards)
        self.when_lost()


class Cluster:
    """Keepers by identity; whoever was not stopped is stopped at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: dict[str, Heard] = {}

    async def join(self, identity: str, waits: bool = False) -> Heard:
        keeper = LeaseKeeper(
            self.url,
            identity,
            SystemClock(),
            address=identity,
            lease_s=LEASE_S,
            renew_s=RENEW_S,
            margin_s=MARGIN_S,
        )
        heard = self.heard[identity] = Heard(keeper)
        await keeper.start(waits)
        return heard

    async def leave(self, identity: str) -> None:
        await self.heard.pop(identity).keeper.stop()

    async def die(self, identity: str) -> None:
        """As kill -9 would: nothing is said to the database."""
        keeper = self.heard.pop(identity).keeper
        assert keeper._task is not None
        keeper._task.cancel()
        await asyncio.gather(keeper._task, return_exceptions=True)
        keeper._forget_timer()
        keeper._db.terminate()

    async def settled(self, *shares: int) -> None:
        """Until the keepers own so many shards each, and all of them together everything."""
        names = list(self.heard)

        def right() -> bool:
            owned = [self.heard[name].owned for name in names]
            return [len(each) for each in owned] == list(shares) and (
                len(set().union(*owned)) == SHARDS
            )

        await eventually(right)
        for name in names:
            heard = self.heard[name]
            assert heard.keeper.held == len(heard.owned)


@pytest_asyncio.fixture
async def cluster(url: str) -> AsyncIterator[Cluster]:
    made = Cluster(url)
    yield made
    for name in list(made.heard):
        await made.leave(name)


@pytest_asyncio.fixture
async def db(url: str) -> AsyncIterator[Any]:
    connection = await plain(url)
    yield connection
    await connection.close()


async def test_the_first_node_owns_everything_when_it_has_started(cluster: Cluster) -> None:
    first = await cluster.join("a")
    assert len(first.owned) == SHARDS
    assert {first.keeper.owner(shard) for shard in range(SHARDS)} == {first.keeper.node.number}
    assert set(first.keeper.nodes()) == {first.keeper.node.number}


async def test_nodes_that_join_are_given_equal_shares_and_nobody_else_moves(
    cluster: Cluster,
) -> None:
    first = await cluster.join("a")
    second = await cluster.join("b")
    await cluster.settled(2048, 2048)
    third = await cluster.join("c")
    await cluster.settled(1366, 1365, 1365)
    gone = {shard for lost in second.lost for shard in lost}
    assert gone <= third.owned  # what b gave went to c, not to a
    await eventually(
        lambda: all(first.keeper.owner(s) == third.keeper.node.number for s in third.owned)
    )
    assert third.owned <= first.moved


async def test_who_leaves_hands_over_without_waiting_for_the_lease_to_end(
    cluster: Cluster, db: Any
) -> None:
    await cluster.join("a")
    second = await cluster.join("b")
    await cluster.settled(2048, 2048)
    number = second.keeper.node.number
    epochs = await db.fetchval("SELECT sum(epoch) FROM shard")
    await cluster.leave("b")
    # Free at once, and its lease over: nobody has to wait for anything.
    assert await db.fetchval("SELECT count(*) FROM shard WHERE owner = $1", number) == 0
    assert await db.fetchval("SELECT expires <= clock_timestamp() FROM node WHERE id=$1", number)
    await cluster.settled(4096)
    assert await db.fetchval("SELECT sum(epoch) FROM shard") == epochs + 2 * 2048


async def test_a_node_that_drains_gives_everything_and_stays(cluster: Cluster) -> None:
    first = await cluster.join("a")
    await cluster.join("b")
    await cluster.settled(2048, 2048)
    await first.keeper.drain()
    await cluster.settled(0, 4096)
    assert first.keeper.nodes()[first.keeper.node.number].draining


async def test_shards_that_are_given_wait_for_commits_under_way(cluster: Cluster) -> None:
    first = await cluster.join("a")
    ends = asyncio.Event()
    asked: list[frozenset[int]] = []

    async def quiesce(shards: frozenset[int]) -> None:
        assert shards <= first.owned  # not told yet,
        assert {first.keeper.epoch(shard) for shard in shards} == {-1}  # but nothing new begins

    async def settle(shards: frozenset[int]) -> None:
        assert not shards & first.owned  # told as lost before
        asked.append(shards)
        await ends.wait()

    first.keeper.quiesce = quiesce
    first.keeper.settle = settle
    second = await cluster.join("b")
    await eventually(lambda: asked)
    assert second.owned == set()
    ends.set()
    await cluster.settled(2048, 2048)


async def test_a_dead_nodes_shards_are_taken_when_its_lease_is_over_not_before(
    cluster: Cluster, db: Any
) -> None:
    first = await cluster.join("a")
    second = await cluster.join("b")
    await cluster.settled(2048, 2048)
    number = second.keeper.node.number
    early: list[bool] = []
    await cluster.die("b")
    expires = await db.fetchval("SELECT expires FROM node WHERE id = $1", number)
    await cluster.settled(4096)
    taken = await db.fetchval("SELECT clock_timestamp()")
    early.append(taken < expires)
    assert early == [False]
    assert number not in first.keeper.nodes()


async def test_a_node_that_comes_back_under_its_identity_has_its_shards_at_once(
    cluster: Cluster, db: Any
) -> None:
    first = await cluster.join("a")
    number, epochs = first.keeper.node.number, [first.keeper.epoch(s) for s in range(SHARDS)]
    await cluster.die("a")
    again = await cluster.join("a")
    assert again.keeper.node.number == number
    assert again.keeper.node.incarnation == first.keeper.node.incarnation + 1
    assert [again.keeper.epoch(s) for s in range(SHARDS)] == [epoch + 1 for epoch in epochs]


async def test_who_cannot_renew_stops_before_anybody_may_take_over(
    cluster: Cluster, db: Any
) -> None:
    """The renewal hangs behind a lock, as it would behind a dead network."""
    first = await cluster.join("a")
    alive: list[float] = []
    number = first.keeper.node.number
    until = await db.fetchval("SELECT expires FROM node WHERE id = $1", number)
    held = db.transaction()
    await held.start()
    row = await db.fetchrow("SELECT expires FROM node WHERE id = $1 FOR UPDATE", number)
    assert row["expires"] >= until
    await eventually(lambda: not first.owned)
    left_s = await db.fetchval(
        "SELECT extract(epoch FROM $1::timestamptz - clock_timestamp())::float8", row["expires"]
    )
    alive.append(left_s)
    assert left_s > 0  # the lease was not over yet when everything had stopped
    assert {first.keeper.epoch(shard) for shard in range(SHARDS)} == {-1}
    await held.rollback()
    await cluster.settled(4096)  # and it begins again, in higher epochs
    assert min(first.keeper.epoch(shard) for shard in range(SHARDS)) >= 2


async def test_a_lost_connection_to_the_database_is_made_again(cluster: Cluster, db: Any) -> None:
    first = await cluster.join("a")
    pid = first.keeper._db.get_server_pid()
    await db.execute("SELECT pg_terminate_backend($1)", pid)
    await eventually(
        lambda: first.keeper._db is not None and first.keeper._db.get_server_pid() != pid
    )
    await eventually(lambda: first.keeper.trouble == "")
    assert len(first.owned) == SHARDS
    assert first.lost == []


async def test_after_an_unknown_commit_all_own_shards_have_higher_epochs(cluster: Cluster) -> None:
    first = await cluster.join("a")
    before = [first.keeper.epoch(shard) for shard in range(SHARDS)]
    await first.keeper.retake()
    assert [first.keeper.epoch(shard) for shard in range(SHARDS)] == [e + 1 for e in before]


async def test_whose_number_was_given_away_gets_another_one(cluster: Cluster, db: Any) -> None:
    first = await cluster.join("a")
    other = await table.claim(await _fresh(cluster.url), "a", "", "")  # another process: "a" died?
    assert other.number == first.keeper.node.number
    await eventually(lambda: first.keeper.node.incarnation > other.incarnation)
    await cluster.settled(4096)


async def _fresh(url: str) -> Any:
    return await plain(url)


async def test_a_renewal_that_was_given_up_in_the_middle_is_tried_again(
    cluster: Cluster, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg has errors of its own for a transaction that ends so; none may end the keeper."""
    first = await cluster.join("a")
    monkeypatch.setattr(leases, "RENEW_S_MAX", 0.3)
    held = db.transaction()
    await held.start()
    await db.fetch("SELECT FROM node WHERE id = $1 FOR UPDATE", first.keeper.node.number)
    await eventually(lambda: first.keeper.trouble)
    monkeypatch.undo()
    await held.rollback()
    await eventually(lambda: not first.keeper.trouble)
    await cluster.settled(4096)


async def test_a_node_that_owns_nothing_gets_nothing_before_it_may_return(
    cluster: Cluster, db: Any
) -> None:
    """Its lease is over and its bus is away: others would give it shards and not reach it."""
    first, second = await cluster.join("a"), await cluster.join("b")
    await cluster.settled(SHARDS // 2, SHARDS // 2)
    here, there = first.keeper.node.number, second.keeper.node.number
    second.keeper.may_return = lambda: False
    over = "UPDATE node SET expires = clock_timestamp() WHERE id = $1"
    async with db.transaction():
        await db.execute(over, there)
        await db.execute("UPDATE shard SET owner = $1, epoch = epoch + 1 WHERE id = ANY($2)",
                         here, sorted(second.owned))  # fmt: skip
    await eventually(lambda: not second.owned)
    await db.execute(over, there)
    await cluster.settled(SHARDS, 0)
    second.keeper.look()
    await eventually(lambda: "waits for the bus" in second.keeper.trouble)
    assert await db.fetchval("SELECT expires < clock_timestamp() FROM node WHERE id = $1", there)
    second.keeper.may_return = lambda: True
    second.keeper.look()
    await cluster.settled(SHARDS // 2, SHARDS // 2)
    assert not second.keeper.trouble


async def test_a_node_that_does_not_serve_yet_has_its_number_and_nothing_else(
    cluster: Cluster, db: Any
) -> None:
    """Others keep what they have until it joins, so nobody waits for a process that starts."""
    first = await cluster.join("a")
    second = await cluster.join("b", waits=True)
    here, there = first.keeper.node.number, second.keeper.node.number
    assert there != here
    await eventually(lambda: there in first.keeper.nodes() and here in second.keeper.nodes())
    await first.keeper.join()  # a whole round
    assert (len(first.owned), second.keeper.held) == (SHARDS, 0)
    await second.keeper.join()
    await cluster.settled(SHARDS // 2, SHARDS // 2)


async def test_a_node_that_comes_back_takes_its_own_when_it_joins(cluster: Cluster) -> None:
    await cluster.join("a")
    second = await cluster.join("b")
    await cluster.settled(SHARDS // 2, SHARDS // 2)
    had = set(second.owned)
    await cluster.die("b")
    again = await cluster.join("b", waits=True)
    assert not again.owned
    await again.keeper.join()
    assert again.owned == had


async def test_who_hands_over_lives_on_and_knows_who_has_its_shards(
    cluster: Cluster, db: Any
) -> None:
    first, second = await cluster.join("a"), await cluster.join("b")
    await cluster.settled(SHARDS // 2, SHARDS // 2)
    await second.keeper.hand_over()
    here = first.keeper.node.number
    assert {second.keeper.owner(shard) for shard in range(SHARDS)} == {here}
    assert not second.owned
    number = second.keeper.node.number
    assert await db.fetchval("SELECT expires > clock_timestamp() FROM node WHERE id=$1", number)
    await cluster.settled(SHARDS, 0)
    await first.keeper.hand_over()  # nobody could take it: at once, and all stays
    assert first.keeper.held == SHARDS
