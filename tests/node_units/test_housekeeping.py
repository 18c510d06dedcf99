"""What nobody asks for is done all the same: at its time, in slices, and never by a wild clock."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.node_units.test_clock import HOUR_US, Jumping
from tests.world import World
from whimbrel.domain.errors import Unready
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Alarm, ExpireInbox, ForgetArchive, ForgetLedger
from whimbrel.domain.wants import OwnersArchive, OwnersExpired, OwnersLedger, OwnersOpen, Want
from whimbrel.node import housekeeping
from whimbrel.node.clock import ClockWatch
from whimbrel.node.housekeeping import SCAN_SLICE, Housekeeping

DAY_S = 86_400


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandLoop:
    """A loop whose time is turned by hand."""

    def __init__(self, clock: Jumping) -> None:
        self.clock = clock
        self.now_us = 0
        self.calls: list[tuple[int, int, Handle, Callable[[], None]]] = []
        self._order = 0

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Handle:
        handle = Handle()
        self._order += 1
        self.calls.append((self.now_us + round(delay_s * 1e6), self._order, handle, call))
        return handle

    def turn_to(self, seconds: float) -> None:
        """Let so many seconds pass."""
        end_us = self.now_us + round(seconds * 1e6)
        while due := sorted(entry[:2] for entry in self.calls if entry[0] <= end_us):
            entry = next(entry for entry in self.calls if entry[:2] == due[0])
            self.calls.remove(entry)
            self._pass_to(entry[0])
            if not entry[2].cancelled:
                entry[3]()
        self._pass_to(end_us)

    def _pass_to(self, at_us: int) -> None:
        self.clock.both(at_us - self.now_us)
        self.now_us = at_us


class EngineStub:
    def __init__(self) -> None:
        self.ready = True
        self.posted: list[tuple[int, Any]] = []
        self.ticks: list[int] = []
        self.sweeps: list[int] = []

    def post(self, key: int, message: Any) -> bool:
        self.posted.append((key, message))
        return True

    def tick(self, now_us: int) -> None:
        self.ticks.append(now_us)

    def sweep(self, now_us: int) -> int:
        self.sweeps.append(now_us)
        return 0


class StoreStub:
    """Answers scans from lists, and notes them."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.expired: list[int] = []
        self.ledger: list[int] = []
        self.archive: list[int] = []
        self.scans: list[Want] = []
        self.broken = False

    def load(self, wants: list[Want], done: Callable[[Any], None]) -> None:
        self.scans += wants
        done(Unready("torn") if self.broken else [self._answer(want) for want in wants])

    def _answer(self, want: Want) -> list[int]:
        if isinstance(want, OwnersOpen):
            return [owner for owner in self.open if owner > want.after][: want.limit]
        if isinstance(want, OwnersArchive):
            return self.archive
        if isinstance(want, OwnersLedger):
            return self.ledger[: want.limit]
        return self.expired


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str, **facts: Any) -> None:
        self.lines.append(text)

    warning = error


class House:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Jumping()
        self.loop = HandLoop(self.clock)
        monkeypatch.setattr("asyncio.get_running_loop", lambda: self.loop)
        self.log = Log()
        monkeypatch.setattr(housekeeping, "log", self.log)
        self.engine, self.store = EngineStub(), StoreStub()
        self.seconds: list[int] = []
        self.limits = Limits(inbox_expiry_s=2, ledger_s=3)
        self.keeper = Housekeeping(
            self.engine,  # type: ignore[arg-type]
            self.store,  # type: ignore[arg-type]
            self.clock,
            ClockWatch(self.clock),
            self.limits,
            [lambda: self.seconds.append(self.loop.now_us)],
        )

    def scans(self, kind: type) -> list[Any]:
        return [want for want in self.store.scans if type(want) is kind]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> House:
    return House(monkeypatch)


def test_timers_fire_ten_times_a_second_and_the_rest_is_done_every_second(home: House) -> None:
    home.keeper.start()
    home.loop.turn_to(5)
    assert len(home.engine.ticks) == 50
    assert len(home.engine.sweeps) == len(home.seconds) == 5
    assert home.engine.ticks == sorted(set(home.engine.ticks))


def test_owners_of_open_work_are_woken_at_the_start_and_every_minute(home: House) -> None:
    home.store.open = [11, 12]
    home.keeper.start()
    assert [key for key, _ in home.engine.posted] == [11, 12]
    assert all(type(message) is Alarm for _, message in home.engine.posted)
    home.loop.turn_to(59)
    assert len(home.engine.posted) == 2
    home.loop.turn_to(1)
    assert len(home.engine.posted) == 4


def test_many_owners_are_woken_in_slices_each_of_them_once(home: House) -> None:
    home.store.open = list(range(1, 2 * SCAN_SLICE + 6))
    home.keeper.start()
    assert len(home.engine.posted) == SCAN_SLICE
    home.loop.turn_to(1)
    assert [key for key, _ in home.engine.posted] == home.store.open


def test_what_is_past_its_time_is_handed_to_its_owners_every_ten_minutes(home: House) -> None:
    home.store.expired, home.store.ledger, home.store.archive = [21], [31, 32], [41]
    home.keeper.start()
    home.loop.turn_to(599)
    assert home.engine.posted == []
    home.loop.turn_to(1)
    now_us = home.clock.now_us()
    assert home.engine.posted == [
        (21, ExpireInbox(now_us - 2_000_000)),
        (31, ForgetLedger(now_us - 3_000_000)),
        (32, ForgetLedger(now_us - 3_000_000)),
        (41, ForgetArchive(now_us)),  # nothing is kept: what was kept before goes
    ]
    assert home.scans(OwnersExpired) == [OwnersExpired(now_us - 2_000_000, SCAN_SLICE)]


def test_however_many_have_something_old_all_of_them_are_told_in_slices(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = list(range(1, 2 * SCAN_SLICE + 6))
    home.store.ledger = list(many)

    def done(key: int, message: Any) -> bool:
        home.store.ledger.remove(key)
        return EngineStub.post(home.engine, key, message)

    monkeypatch.setattr(home.engine, "post", done)
    home.keeper.start()
    home.loop.turn_to(600)
    assert len(home.engine.posted) == SCAN_SLICE
    home.loop.turn_to(10)
    assert [key for key, _ in home.engine.posted] == many


def test_owners_who_do_nothing_about_it_are_not_told_again_before_the_next_round(
    home: House,
) -> None:
    home.store.ledger = [31]  # of another node, say, which is down
    home.keeper.start()
    home.loop.turn_to(700)
    assert [key for key, _ in home.engine.posted] == [31]
    home.keeper.stop()
    scans = len(home.store.scans)
    home.loop.turn_to(3_600)
    assert len(home.store.scans) == scans


def test_a_wall_clock_that_jumped_expires_nothing_and_is_told_once(home: House) -> None:
    home.store.expired = [21]
    home.keeper.start()
    home.loop.turn_to(300)
    home.clock.wall += 24 * HOUR_US
    home.loop.turn_to(3_600)
    assert home.engine.posted == []
    assert home.scans(OwnersExpired) == home.scans(OwnersLedger) == []
    assert len(home.log.lines) == 1
    assert "jumped" in home.log.lines[0]
    assert len(home.scans(OwnersOpen)) == 66, "open work is looked for as ever"


def test_the_clock_may_jump_in_the_very_second_of_the_scan(home: House) -> None:
    home.store.expired = [21]
    home.keeper.start()
    home.loop.turn_to(599.95)
    home.clock.wall += 24 * HOUR_US
    home.loop.turn_to(1)
    assert home.engine.posted == []


def test_a_node_that_is_not_ready_is_not_scanned(home: House) -> None:
    home.engine.ready = False
    home.keeper.start()
    home.loop.turn_to(1_200)
    assert home.store.scans == []
    home.engine.ready = True
    home.loop.turn_to(60)
    assert len(home.scans(OwnersOpen)) == 1


def test_a_scan_that_fails_is_told_and_tried_again(home: House) -> None:
    home.store.open, home.store.broken = [11], True
    home.keeper.start()
    assert home.log.lines == ["scan failed"]
    home.store.broken = False
    home.loop.turn_to(60)
    assert [key for key, _ in home.engine.posted] == [11]


def test_after_the_stop_nothing_is_done_any_more(home: House) -> None:
    home.keeper.start()
    home.loop.turn_to(3)
    home.keeper.stop()
    home.keeper.stop()
    done = (len(home.engine.ticks), len(home.store.scans))
    home.loop.turn_to(3_600)
    assert (len(home.engine.ticks), len(home.store.scans)) == done


def test_a_slice_that_was_still_to_come_is_not_scanned_after_the_stop(home: House) -> None:
    home.store.open = list(range(1, SCAN_SLICE + 6))
    home.keeper.start()
    home.keeper.stop()
    home.loop.turn_to(3_600)
    assert len(home.scans(OwnersOpen)) == 1


def test_a_duty_that_raises_is_told_and_keeps_nobody_from_theirs(home: House) -> None:
    def broken() -> None:
        raise OSError("a certificate that cannot be read")

    home.keeper._every_second.insert(0, broken)
    home.store.open = [11]
    home.keeper.start()
    home.loop.turn_to(60)
    assert len(home.engine.sweeps) == len(home.seconds) == 60
    assert len(home.engine.posted) == 2
    assert "housekeeping" in home.log.lines[0]


def test_a_message_that_waited_too_long_is_wiped_by_its_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole way: scan, actor, commit."""
    world = World(Limits(inbox_expiry_s=DAY_S))
    alice = world.phone("alice")
    world.register("bob")
    alice.say("bob", "too late")
    bob = account_number("bob")

    def waiting() -> list[bytes | None]:
        return [row.body for row in world.disk.tables.inbox.get(bob, {}).values() if row.body]

    clock = Jumping()
    clock.wall, clock.mono = world.clock.wall_us, world.clock.mono_us
    monkeypatch.setattr("asyncio.get_running_loop", lambda: HandLoop(clock))
    keeper = Housekeeping(world.engine, world.store, clock, ClockWatch(clock), world.limits, [])
    keeper.scan_expiry()
    world.run()
    assert len(waiting()) == 1
    clock.both((DAY_S + 1) * 1_000_000)
    world.later(DAY_S + 1)
    keeper.scan_expiry()
    world.run()
    assert waiting() == []
