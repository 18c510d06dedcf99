"""Asking an actor: one answer after the commit, or a named reason why there is none."""

import asyncio

import pytest

from tests.world import World, hash_of
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.errors import Busy, Unready
from whimbrel.domain.ids import account_number, node_of
from whimbrel.domain.limits import Limits
from whimbrel.domain.wants import Accounts
from whimbrel.node.asking import Asking
from whimbrel.storage.memory import Fate

ALICE = account_number("alice")


def register(reply: int) -> m.Register:
    return m.Register("alice", hash_of("key"), "phone", reply)


class Way:
    """To the actors of the world. It loses the first `lost` messages."""

    def __init__(self, world: World, lost: int = 0) -> None:
        self.world, self.lost = world, lost

    def tell(self, account: int, message: m.ToActor) -> bool:
        if self.lost:
            self.lost -= 1
            return True
        return self.world.engine.post(account, message)


def asking_in(world: World, lost: int = 0) -> Asking:
    return Asking(world.engine, world.host, world.store, Way(world, lost))


async def begun(asking: Asking) -> "asyncio.Task[a.ToSession]":
    """A question that is under way."""
    task = asyncio.create_task(asking.ask(ALICE, register))
    await asyncio.sleep(0)
    return task


async def test_the_answer_comes_after_the_commit() -> None:
    world = World()
    fates = [Fate.HANG]
    world.store.fate = lambda batch: fates.pop() if fates else Fate.COMMIT
    task = await begun(asking_in(world))
    world.run()
    await asyncio.sleep(0)
    assert not task.done()
    world.store.resume()
    world.run()
    answer = await task
    assert isinstance(answer, a.Registered)
    assert answer.account == "alice"
    assert world.host.replies == {}


async def test_two_questions_at_once_get_their_own_answers() -> None:
    world = World()
    asking = asking_in(world)
    first = asyncio.create_task(asking.ask(ALICE, register))
    second = asyncio.create_task(asking.ask(account_number("bob"), m.Describe))
    await asyncio.sleep(0)
    world.run()
    assert isinstance(await first, a.Registered)
    description = await second
    assert isinstance(description, a.Description)
    assert not description.exists


async def test_a_failed_commit_is_told_with_its_reason() -> None:
    world = World()
    world.store.fate = lambda batch: Fate.FAIL
    task = await begun(asking_in(world))
    world.run()
    with pytest.raises(Unready, match="disk full"):
        await task
    assert world.host.replies == {}


async def test_a_node_that_is_not_ready_is_not_even_asked() -> None:
    world = World()
    world.store.fate = lambda batch: Fate.FAIL
    asking = asking_in(world)
    task = await begun(asking)
    world.run()
    with pytest.raises(Unready):
        await task
    with pytest.raises(Unready, match="disk full"):
        await asking.ask(ALICE, register)
    assert world.host.replies == {}


async def test_a_full_mailbox_is_told_at_once() -> None:
    world = World(Limits(mailbox_max=1))
    asking = asking_in(world)
    task = await begun(asking)
    with pytest.raises(Busy) as refused:
        await asking.ask(ALICE, register)
    assert refused.value.retry_after_s == 1
    world.run()
    assert isinstance(await task, a.Registered)
    assert world.host.replies == {}


async def test_who_hears_nothing_in_time_is_told_so_and_a_late_answer_harms_nobody() -> None:
    world = World()
    asking = asking_in(world)
    with pytest.raises(Unready, match="in time"):
        await asking.ask(ALICE, register, timeout_s=0.0)
    assert world.host.replies == {}
    world.run()
    assert world.engine.ready
    assert world.engine.counts["crashes"] == 0


async def test_a_caller_who_goes_away_leaves_nothing_behind() -> None:
    world = World()
    task = await begun(asking_in(world))
    assert len(world.host.replies) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.host.replies == {}
    world.run()
    assert world.engine.counts["crashes"] == 0


async def test_a_read_gives_what_is_committed() -> None:
    world = World()
    world.register("alice")
    rows = await asking_in(world).load(Accounts("", 10))
    assert isinstance(rows, list)
    assert [row.address for row in rows] == ["alice"]


async def test_a_read_of_a_broken_store_is_refused_by_name() -> None:
    world = World()
    world.store.close()
    with pytest.raises(Unready, match="closed"):
        await asking_in(world).load(Accounts("", 10))


async def test_a_read_that_nobody_waits_for_any_more_ends_in_peace() -> None:
    world = World(inline=False)
    waiting = asyncio.ensure_future(asking_in(world).load(Accounts("", 10)))
    waiting.cancel()
    world.run()
    assert waiting.cancelled()


async def test_a_question_that_changes_nothing_is_asked_again_when_it_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("whimbrel.node.asking.AGAIN_S", 0.0)
    world = World()
    world.register("alice")
    way = Way(world, lost=3)
    asking = Asking(world.engine, world.host, world.store, way)
    task = asyncio.create_task(asking.ask(ALICE, lambda reply: m.Describe(reply)))
    async with asyncio.timeout(30):
        while way.lost or not world.engine._queue:  # noqa: ASYNC110
            await asyncio.sleep(0)
    world.run()
    assert isinstance(await task, a.Description)


async def test_one_that_changes_something_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.node.asking.AGAIN_S", 0.0)
    world = World()
    asking = asking_in(world, lost=1)
    with pytest.raises(Unready, match="no answer in time"):
        await asking.ask(ALICE, register, timeout_s=0.01)
    world.run()
    assert not world.engine.counts["loads"], "nobody was woken for it"


async def test_numbers_say_on_which_node_somebody_waits() -> None:
    world = World()
    asking = Asking(world.engine, world.host, world.store, Way(world), node=5, now_us=7)
    numbers: list[int] = []

    def make(reply: int) -> m.ToActor:
        numbers.append(reply)
        return m.Describe(reply)

    for _ in range(2):
        with pytest.raises(Unready):
            await asking.ask(ALICE, make, timeout_s=0.0)
    assert [node_of(number) for number in numbers] == [5, 5]
    assert numbers[0] < numbers[1]


async def test_among_several_nodes_an_account_that_is_being_handed_over_is_waited_for() -> None:
    world = World()

    class Moving(Way):
        def tell(self, account: int, message: m.ToActor) -> bool:
            self.lost -= 1
            return self.lost < 0 and world.engine.post(account, message)

    way = Moving(world, lost=3)
    asking = Asking(world.engine, world.host, world.store, way, patience_s=30.0)
    task = asyncio.create_task(asking.ask(ALICE, register))
    async with asyncio.timeout(30):
        while not world.engine._queue:  # noqa: ASYNC110
            await asyncio.sleep(0)
    world.run()
    assert isinstance(await task, a.Registered)
