"""Every queue has a length, an age and two rates; the watchdog sees where a thread stands."""

import threading
import time
from pathlib import Path

from tests.node.test_alerts import server
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Describe
from whimbrel.node.alerts import AlertSettings
from whimbrel.node.queues import Queues
from whimbrel.node.watchdog import Watchdog
from whimbrel.runtime.cell import PAUSED


async def test_every_queue_is_measured(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings()) as node:
        node.monitor.look()
        assert tuple(node.monitor.queues.all) == Queues.NAMES


async def test_what_is_served_is_what_came_and_is_gone(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings(on=False)) as node:
        queues, ask = node.monitor.queues, node.asking.ask
        queues.measure(0)
        for _ in range(30):
            await ask(account_number("alice"), Describe)
        turns = queues.measure(0)["turns"]
        assert turns.arrived_per_s == turns.served_per_s > 0
        (hot,) = queues.hottest
        assert hot.key == account_number("alice")


async def test_an_actor_that_rests_is_found_with_what_waits_for_it(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings(on=False)) as node:
        key = account_number("alice")
        await node.asking.ask(key, Describe)
        node.engine.cells[key].status = PAUSED
        for _ in range(3):
            node.engine.post(key, Describe(0))
        node.engine.turn()
        mailbox = node.monitor.queues.measure(0)["mailbox"]
        assert (mailbox.length, mailbox.owner) == (3, f"actor {key}")
        assert mailbox.state == "is paused: it crashed too often"


async def test_a_full_mailbox_is_told_although_it_is_empty_again(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings(on=False)) as node:
        key, most = account_number("alice"), node.config.limits.mailbox_max
        taken = [node.engine.post(key, Describe(0)) for _ in range(most + 1)]
        assert taken == [True] * most + [False]
        await node.asking.ask(account_number("bob"), Describe)  # served after all of them
        mailbox = node.monitor.queues.measure(0)["mailbox"]
        assert (mailbox.length, mailbox.owner) == (most, f"actor {key}")


async def test_switched_off_nothing_is_measured(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings(on=False)) as node:
        await node.asking.ask(account_number("alice"), Describe)
        assert node.monitor.turns.count == 0
        assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_the_watchdog_tells_file_line_and_function_of_whom_it_watches() -> None:
    dog = Watchdog(lambda: "alice")
    seen = threading.Event()

    def look() -> None:
        while not dog._places:
            dog.look()
        seen.set()

    threading.Thread(target=look, daemon=True).start()
    assert seen.wait(30)
    place = dog.take()
    assert place.startswith("python3")
    assert "threading.py:" in place
    assert place.endswith("wait, in the actor of alice")
    assert dog.take() == ""


async def test_a_slow_commit_is_seen_while_it_lasts_and_a_second_longer(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings(on=False)) as node:
        monitor = node.monitor
        monitor.look()
        monitor.commits.observe(900_000)
        seen = []
        for _ in range(3):
            monitor.look()
            seen.append(monitor.sample.commit_ms >= 900)
        assert seen == [True, True, False]
        node.store._busy_since = time.perf_counter() - 5  # one that does not end
        monitor.look()
        assert monitor.sample.commit_ms >= 5_000
        node.store._busy_since = 0.0
