"""The queues: of each its length, the age of its head, what comes in and what is served a second.

Those who queue count (runtime/gauges.py, the store's statistics, the listener's sweeps); here it is
read, once a second. A look at the actors is bounded: SLICE of them a second, so that with more
actors than that the figures of mailboxes, retries and inboxes are as old as one round.
Law: nothing here changes anything but the counters that are its own.
"""

import time
from heapq import heappush, heappushpop, nlargest
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.limits import Limits
from whimbrel.domain.user import NEVER, Attachment, User
from whimbrel.domain.wants import InboxWant
from whimbrel.runtime.cell import LOADING, PAUSED, READY, WAITING, Cell

if TYPE_CHECKING:
    from whimbrel.edge.listener import Listener
    from whimbrel.node.storing import NodeStore
    from whimbrel.runtime.engine import Engine

SLICE = 5_000  # actors looked at in a second
HEAD = 2_000  # entries of the turn queue looked at for a hot actor, when the slices are not all
QUEUE_LONG = 100  # from here on its head is looked at ten times a second
UNCONFIRMED_S = 1.0  # before that a client is only busy
OWING = 20  # peers looked at for the oldest open message of one sender
HOTTEST = 20
INBOXES = 10
COUNTED = ("turns", "writer", "output", "timers")
INBOX_EVERY_S = 10.0  # the age of the longest inbox's head is a read

STATES = {
    PAUSED: "is paused: it crashed too often",
    LOADING: "waits for a read",
    WAITING: "waits for a commit",
}


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """One queue in one second. The longest of its kind where there are many of them.

    length: entries (output: bytes). age_s: how long the head has waited, at least. total: of all
    of its kind. arrived_per_s, served_per_s: of all of its kind (mailbox: of this actor).
    """

    name: str
    owner: str
    length: int = 0
    total: int = 0
    age_s: float = 0.0
    arrived_per_s: float = 0.0
    served_per_s: float = 0.0
    state: str = ""
    __repr__ = discreet


class Hot(msgspec.Struct, frozen=True):
    """An actor that is busy. served_per_s: messages."""

    key: int
    address: str
    served_per_s: float
    waiting: int
    state: str
    __repr__ = discreet


class _Round:
    """What was found among the actors since the round began."""

    __slots__ = (
        "began_s",
        "flights",
        "full",
        "fullest",
        "hot",
        "mailbox",
        "open",
        "opened",
        "slow",
        "slow_owner",
        "unconfirmed",
        "waiting",
    )

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.mailbox: Cell | None = None
        self.open = 0  # messages in all sent logs that no peer has acknowledged
        self.opened: User | None = None  # who has most of them
        self.waiting = 0  # messages in all inboxes
        self.full: User | None = None  # whose inbox is longest
        self.fullest: list[tuple[int, str]] = []  # messages that wait, whose: the most
        self.hot: list[tuple[int, int]] = []  # messages served, key
        self.flights = 0  # items sent and not confirmed
        self.slow: Attachment | None = None  # whose are unconfirmed for longest, most of a window
        self.slow_owner = ""
        self.unconfirmed = 0.0  # part of its window


class Queues:
    """measure() once a second; `all` is the last second's, by name."""

    NAMES = ("turns", "writer", "output", "windows", "timers", "mailbox", "retries", "inboxes")

    def __init__(
        self, engine: "Engine", store: "NodeStore", listener: "Listener", limits: Limits
    ) -> None:
        self.window_percent = 0.0  # of the client that leaves most unconfirmed
        self._limits = limits
        self._peak = 0  # of the turn queue, among the glances since the last measuring
        self._peak_mailbox: Cell | None = None
        self._peak_queued = 0
        self.all: dict[str, Queue] = {}
        self.hottest: list[Hot] = []
        self._engine = engine
        self._store = store
        self._listener = listener
        self._keys: list[int] = []
        self._round = self._next = _Round(time.monotonic())
        self._last_s = time.monotonic()
        self._counters: dict[str, int] = {}
        self._lengths: dict[str, int] = {}
        self._mailbox = (0, 0)  # key and length, a second ago
        self._inbox = (0, 0, 0.0)  # account, first unconfirmed, stored_us
        self._inbox_s = -INBOX_EVERY_S

    def glance(self) -> None:
        """Ten times a second: a queue that is long most of the time must not look empty."""
        length = self._engine.queue_gauge.length
        if length > self._peak:
            self._peak = length
        if length >= QUEUE_LONG:
            cell = self._engine.longest_queued(HEAD)
            if cell is not None and cell.queued > self._peak_queued:
                self._peak_mailbox, self._peak_queued = cell, cell.queued

    def measure(self, wall_us: int) -> dict[str, Queue]:
        now_s = time.monotonic()
        seconds = max(now_s - self._last_s, 1e-3)
        self._last_s = now_s
        self.glance()
        self._look_at_actors(now_s, seconds)
        self.all = {
            queue.name: queue
            for queue in (
                self._turns(now_s, seconds),
                self._writer(seconds),
                self._output(seconds),
                self._windows(now_s),
                self._timers(now_s, seconds),
                self._longest_mailbox(now_s, seconds),
                self._retries(seconds, wall_us),
                self._inboxes(now_s, seconds, wall_us),
            )
        }
        self._peak, self._peak_mailbox, self._peak_queued = 0, None, 0
        return self.all

    @property
    def counted(self) -> dict[str, tuple[int, int]]:
        """What came in and what was served since the start, of queues that lose nothing."""
        return {
            name: (came, came - self._lengths[name])
            for name, came in self._counters.items()
            if name in COUNTED
        }

    def _rates(self, name: str, counter: int, length: int, seconds: float) -> tuple[float, float]:
        """What came in is counted; what was served is what came in and is not there any more."""
        came = counter - self._counters.get(name, counter)
        grew = length - self._lengths.get(name, length)
        self._counters[name], self._lengths[name] = counter, length
        return came / seconds, max(came - grew, 0) / seconds

    @property
    def fullest(self) -> list[tuple[int, str]]:
        """The longest inboxes of the accounts in memory: (messages that wait, whose)."""
        return sorted(self._round.fullest, reverse=True)

    # ---- one of a kind -------------------------------------------------------------------

    def _turns(self, now_s: float, seconds: float) -> Queue:
        gauge = self._engine.queue_gauge
        came, went = self._rates("turns", gauge.arrived, gauge.length, seconds)
        return Queue(
            name="turns",
            owner="the server",
            length=max(gauge.length, self._peak),
            total=gauge.length,
            age_s=gauge.age_us(int(now_s * 1e6)) / 1e6,
            arrived_per_s=came,
            served_per_s=went,
        )

    def _writer(self, seconds: float) -> Queue:
        """Row operations; those being committed and those gathered behind them."""
        flying, gathered = self._engine.rows_waiting
        length = flying + gathered
        came, went = self._rates("writer", self._store.statistics.rows + length, length, seconds)
        return Queue(
            name="writer",
            owner="the database",
            length=length,
            total=length,
            age_s=self._store.busy_s,
            arrived_per_s=came,
            served_per_s=went,
        )

    def _output(self, seconds: float) -> Queue:
        slowest = self._listener.take_slowest()
        written = self._listener.counts["bytes-out"]
        came, went = self._rates("output", written, slowest.all_bytes, seconds)
        return Queue(
            name="output",
            owner=slowest.who,
            length=slowest.bytes,
            total=slowest.all_bytes,
            age_s=slowest.behind_s,
            arrived_per_s=came,
            served_per_s=went,
        )

    def _windows(self, now_s: float) -> Queue:
        """What was sent to a client and not confirmed by it (limits.window_items_max)."""
        found = self._round
        self.window_percent = 100.0 * found.unconfirmed
        if found.slow is None or not found.slow.flights:
            return Queue(name="windows", owner="", total=found.flights)
        return Queue(
            name="windows",
            owner=found.slow_owner,
            length=len(found.slow.flights),
            total=found.flights,
            age_s=max(now_s - found.slow.flights[0].sent_us / 1e6, 0.0),
        )

    def _timers(self, now_s: float, seconds: float) -> Queue:
        timers = self._engine.timers
        due_us = timers.next_us()
        late_s = now_s - due_us / 1e6 if due_us is not None else 0.0
        came, went = self._rates("timers", timers.added, len(timers), seconds)
        return Queue(
            name="timers",
            owner="the server",
            length=len(timers),
            total=len(timers),
            age_s=max(late_s, 0.0),
            arrived_per_s=came,
            served_per_s=went,
        )

    # ---- one an actor --------------------------------------------------------------------

    def _look_at_actors(self, now_s: float, seconds: float) -> None:
        """A slice of them; when all were looked at, the round is over and its sums are true."""
        cells = self._engine.cells
        if not self._keys:
            self._keys = list(cells)
            self._next = _Round(now_s)
        found = self._next
        for _ in range(min(SLICE, len(self._keys))):
            cell = cells.get(self._keys.pop())
            if cell is not None:
                _look(cell, found, self._limits, now_s)
        if not self._keys:
            self._round = found
            took_s = max(now_s - found.began_s, seconds)
            self.hottest = [
                Hot(key, name_of(cells[key]), runs / took_s, cells[key].queued, _state(cells[key]))
                for runs, key in nlargest(HOTTEST, found.hot)
                if key in cells
            ]

    def _longest_mailbox(self, now_s: float, seconds: float) -> Queue:
        found = self._round.mailbox
        length = found.queued if found is not None else 0
        if self._peak_queued > length:
            found, length = self._peak_mailbox, self._peak_queued
        full = self._engine.take_full()
        if full is not None and length < self._limits.mailbox_max:
            found, length = full, self._limits.mailbox_max
        if found is None or not length:
            self._mailbox = (0, 0)
            return Queue(name="mailbox", owner="")
        grew = length - (self._mailbox[1] if self._mailbox[0] == found.key else 0)
        self._mailbox = (found.key, length)
        went = next((hot.served_per_s for hot in self.hottest if hot.key == found.key), 0.0)
        turns = self.all.get("turns")
        age_s = now_s - found.used_us / 1e6 if found.used_us else 0.0
        if found.status == READY:  # all of it stands in the turn queue
            age_s = min(age_s, turns.age_s if turns else 0.0)
        return Queue(
            name="mailbox",
            owner=name_of(found),
            length=length,
            total=self._engine.queue_gauge.length,
            age_s=max(age_s, 0.0),
            arrived_per_s=max(went + grew / seconds, 0.0),
            served_per_s=went,
            state=_state(found),
        )

    def _retries(self, seconds: float, wall_us: int) -> Queue:
        """Messages that no actor of a recipient has acknowledged; they are tried again."""
        found, user = self._round, self._round.opened
        came, went = self._rates("retries", self._store.statistics.sent_rows, found.open, seconds)
        oldest_us = min(_opened_us(user), default=wall_us) if user is not None else wall_us
        return Queue(
            name="retries",
            owner=user.address if user is not None else "",
            length=user.open_count if user is not None else 0,
            total=found.open,
            age_s=max(wall_us - oldest_us, 0) / 1e6,
            arrived_per_s=came,
            served_per_s=went,
        )

    def _inboxes(self, now_s: float, seconds: float, wall_us: int) -> Queue:
        """Messages for devices that have not confirmed them, of the accounts in memory."""
        found, user = self._round, self._round.full
        came, went = self._rates(
            "inboxes", self._store.statistics.inbox_rows, found.waiting, seconds
        )
        age_s = 0.0
        if user is not None and user.waiting:
            self._ask_for_the_oldest(user, now_s)
            account, _, stored_us = self._inbox
            if account == user.number and stored_us:
                age_s = max(wall_us - stored_us, 0) / 1e6
        return Queue(
            name="inboxes",
            owner=user.address if user is not None else "",
            length=user.waiting if user is not None else 0,
            total=found.waiting,
            age_s=age_s,
            arrived_per_s=came,
            served_per_s=went,
        )

    def _ask_for_the_oldest(self, user: User, now_s: float) -> None:
        """One row, at most every ten seconds."""
        if now_s - self._inbox_s < INBOX_EVERY_S or not self._engine.ready:
            return
        self._inbox_s = now_s
        confirmed = [d.confirmed for d in user.devices.values() if d.confirmed < NEVER]
        after = min(confirmed, default=0)

        def done(answers: list[object] | Exception) -> None:
            if isinstance(answers, Exception):
                return
            rows: Any = answers[0]
            stored_us = next((row.stored_us for row, _ in rows[0]), 0)
            self._inbox = (user.number, after, stored_us)

        self._store.load([InboxWant(user.number, after, user.tail, 1, 1)], done)


def _look(cell: Cell, found: _Round, limits: Limits, now_s: float) -> None:
    if cell.queued and (found.mailbox is None or cell.queued > found.mailbox.queued):
        found.mailbox = cell
    if cell.runs:
        found.hot.append((cell.runs, cell.key))
        cell.runs = 0
    user = cell.state
    if type(user) is not User:
        return
    if user.open_count:
        found.open += user.open_count
        if found.opened is None or user.open_count > found.opened.open_count:
            found.opened = user
    if user.waiting:
        found.waiting += user.waiting
        if len(found.fullest) < INBOXES:
            heappush(found.fullest, (user.waiting, user.address))
        else:
            heappushpop(found.fullest, (user.waiting, user.address))
        if found.full is None or user.waiting > found.full.waiting:
            found.full = user
    for att in user.attached.values():
        if att.flights:
            _look_at_window(user, att, found, limits, now_s)


def _look_at_window(
    user: User, att: Attachment, found: _Round, limits: Limits, now_s: float
) -> None:
    items = len(att.flights)
    found.flights += items
    if now_s - att.flights[0].sent_us / 1e6 < UNCONFIRMED_S:
        return
    part = max(items / limits.window_items_max, att.bytes / limits.window_bytes_max)
    if part > found.unconfirmed:
        found.slow, found.slow_owner, found.unconfirmed = att, user.address, part


def _opened_us(user: User) -> list[int]:
    """When the oldest open message to each of a few peers was accepted."""
    times = []
    for peer in islice(user.owing, OWING):
        pair = user.pairs.get(peer)
        if pair is not None and pair.open:
            times.append(next(iter(pair.open.values())).accepted_us)
    return times


def name_of(cell: Cell) -> str:
    """Whose actor it is, for people."""
    return getattr(cell.state, "address", "") or f"actor {cell.key}"


def _state(cell: Cell) -> str:
    return STATES.get(cell.status, "")
