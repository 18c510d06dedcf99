"""Statistics: everything that queues, counts or waits stands in one flat table of numbers."""

from pathlib import Path
from typing import Any

import msgspec

from tests.world import World
from whimbrel.domain.limits import Limits
from whimbrel.node.audit import Auditor
from whimbrel.node.clock import SystemClock
from whimbrel.node.statistics import Statistics
from whimbrel.storage.memory import Fate
from whimbrel.storage.sqlite import Statistics as StoreStatistics


class StoreStub:
    def __init__(self) -> None:
        self.statistics = StoreStatistics(commits=3, commit_ms_max=1.5)


class ListenerStub:
    def statistics(self) -> dict[str, int]:
        return {"sessions": 2}


def table_of(world: World) -> dict[str, float]:
    store: Any = StoreStub()
    listener: Any = ListenerStub()
    auditor = Auditor(Path(), Limits(), SystemClock())
    return Statistics(world.engine, world.host, store, listener, auditor).flat()


def test_all_of_it_is_numbers_under_names_without_spaces() -> None:
    world = World()
    alice, _ = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hello")
    table = table_of(world)
    assert all(type(value) in (int, float) for value in table.values())
    assert not [name for name in table if " " in name]
    assert msgspec.json.decode(msgspec.json.encode(table)) == table


def test_every_part_is_in_it() -> None:
    world = World()
    alice, _ = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hello")
    table = table_of(world)
    assert table["actors"] == 2
    assert table["ready"] == 1
    assert table["batch_number"] == world.engine.committed > 0
    assert table["turn_queue_length"] == 0
    assert table["turn_queue_served"] == table["turn_queue_arrived"] > 0
    assert table["engine_turns"] == world.engine.counts["turns"]
    assert table["edge_sessions"] == 2
    assert (table["store_commits"], table["store_commit_ms_max"]) == (3, 1.5)
    names = StoreStatistics.__struct_fields__
    assert {f"store_{name}" for name in names} <= table.keys()


def test_a_node_in_trouble_shows_it() -> None:
    world = World()
    alice = world.phone("alice")
    world.store.fate = lambda batch: Fate.FAIL
    alice.submit("alice", "to myself")
    world.run()
    table = table_of(world)
    assert table["ready"] == 0
    assert table["engine_commits_failed"] == 1
