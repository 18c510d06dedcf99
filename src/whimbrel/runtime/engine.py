"""The engine: one global queue of (actor, message), turns, one batch behind the other.

A turn takes messages from the queue (bounded), calls the rules, and gathers their effects
into the open batch; tells to actors here are delivered inside the same turn. While a batch
is being committed the next one fills; what a batch releases (answers, pushes) leaves when
its commit, and all before it, have returned.

No asyncio here: the clock, the store and "call me soon" are arguments, so the simulator runs
this very code. Neighbours: the host (node/interpreter.py) performs effects; the store writes.
Laws: 1 durable before visible, 5 bounded, 6 one owner (every actor that ran is listed in the
batch), 7 let it crash.

This file is over 400 lines because the life of a cell (asleep, loading, waiting, ready,
paused) is one state machine and reads best in one place.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, Protocol

from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome, Store
from whimbrel.domain.turn import Turn
from whimbrel.domain.wants import NotLoaded, Want
from whimbrel.runtime.behaviour import Behaviour, Behaviours
from whimbrel.runtime.cell import ASLEEP, GONE, LOADING, NEVER, PAUSED, READY, WAITING, Cell
from whimbrel.runtime.gauges import QueueGauge
from whimbrel.runtime.supervisor import CrashLog
from whimbrel.runtime.timers import Timers

CHAIN_FACTOR = 8  # a turn may run so many tells for each message it took from the queue
NEEDS_MAX = 256  # reads for one message, one after the other; more than that is a bug
SWEEP_SLICE = 2_000  # cells looked at in one search for idle ones
BUSY_ALARM_US = 100_000  # an alarm that falls due while its actor waits for a read
RECOVER_FIRST_US = 200_000
RECOVER_MAX_US = 5_000_000


class Host(Protocol):
    """What the node does for the engine."""

    alarm: Any  # the message that wakes an actor when its time has come

    def tenure(self, key: int) -> int:
        """The ownership under which an actor is loaded now; -1: it lives on another node."""

    def begin_turn(self) -> Turn: ...
    def new_batch(self, number: int) -> Any: ...
    def adopt(self, key: int, state: Any) -> None:
        """A fresh state: give it what outlives it (the registry of sessions)."""

    def perform(self, key: int, effects: list[Any], batch: Any, releases: list[Any]) -> None: ...
    def release(self, releases: list[Any]) -> None: ...
    def asleep(self, key: int, state: Any) -> None:
        """The actor leaves memory in good order: keep what outlives it."""

    def abandoned(self, lost: Callable[[int], bool]) -> None:
        """Other nodes own these actors now, also those that sleep."""

    def dropped(self, key: int, state: Any) -> None:
        """The actor lost its memory: sessions must attach again."""

    def dead_letter(self, key: int, message: Any, error: BaseException, turn: Turn) -> Any: ...
    def crashed(self, key: int, message: Any, error: BaseException) -> None: ...
    def failed(self, outcome: Outcome, reason: str, releases: list[Any]) -> None: ...
    def recovered(self) -> None: ...


class Engine:
    def __init__(
        self,
        store: Store,
        host: Host,
        behaviours: Behaviours,
        limits: Limits,
        call_soon: Callable[[Callable[[], None]], object],
        call_later_us: Callable[[int, Callable[[], None]], object],
    ) -> None:
        self.store = store
        self.host = host
        self.behaviours = behaviours
        self._current = behaviours.current
        self.limits = limits
        self.ready = True
        self.committed = 0
        self.counts: Counter[str] = Counter()
        self.cells: dict[int, Cell] = {}
        self.timers = Timers()
        self._call_soon = call_soon
        self._call_later_us = call_later_us
        self._queue: deque[tuple[Cell, Any]] = deque()
        self._local: deque[tuple[Cell, Any]] = deque()  # told by actors
        self._resumed: deque[tuple[Cell, Any]] = deque()  # was parked, is older than all else
        self._scheduled = False
        self._sleepers = 0  # messages posted for cells that are not ready
        self._open: Any = host.new_batch(1)
        self._releases: list[Any] = []
        self._flying: Any = None
        self._flying_releases: list[Any] = []
        self._after: dict[int, list[Callable[[], None]]] = {}
        self._generation = 0
        self._stray = False  # a commit of before the failure has not returned yet
        self._recover_us = RECOVER_FIRST_US
        self._sweep: list[int] = []
        self._alarmed: list[Cell] = []  # actors that want to be woken earlier than before
        self._turn: Turn | None = None
        self._full: Cell | None = None  # the last one whose mailbox took no more
        self.running: Cell | None = None  # whose rule runs, or ran last in this turn
        self.queue_gauge = QueueGauge(
            "turn_queue", lambda: len(self._queue) + len(self._local) + len(self._resumed)
        )

    # ---- in ------------------------------------------------------------------------------

    def post(self, key: int, message: Any) -> bool:
        """From outside a turn. False: the mailbox is full or the node is not ready."""
        cell = self.cells.get(key)
        if message.request:
            if not self.ready:
                return False
            if len(self._queue) >= self.limits.queue_max or (
                cell is not None and cell.queued >= self.limits.mailbox_max
            ):
                self.counts["mailbox_busy"] += 1
                self._full = cell
                return False
        elif not self.ready:
            return True  # whoever sent it will attach or retry after the recovery
        if cell is None:
            cell = self.cells[key] = Cell(key, self.behaviours.kind_of(key))
        if cell.status:
            self._sleepers += 1
        cell.queued += 1
        self._queue.append((cell, message))
        self.queue_gauge.arrived += 1
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self.turn)
        return True

    def tell(self, key: int, message: Any) -> None:
        """From inside a turn: delivered in the same turn. A full mailbox answers busy."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(key, self.behaviours.kind_of(key))
        elif message.request and cell.queued >= self.limits.mailbox_max:
            self.counts["mailbox_busy"] += 1
            self._full = cell
            answers = self.behaviours[cell.kind].busy(key, message)
            if answers:
                self.host.perform(key, answers, self._open, self._releases)
            return
        cell.queued += 1
        self._local.append((cell, message))

    def read(self, key: int, want: Want, then: Callable[[Any], None]) -> None:
        """Read for an actor as soon as everything that it wrote is committed."""
        cell = self.cells.get(key)
        generation = self._generation
        batch = self._open.number if self._open.rows else cell.batch if cell else 0

        def done(answers: list[object] | Exception) -> None:
            if generation != self._generation:
                return
            if isinstance(answers, Exception):
                self._fail(Outcome.FAILED, str(answers))
            else:
                then(answers[0])

        def start() -> None:
            if generation == self._generation:
                self.store.load([want], done)

        if batch > self.committed:
            self._after.setdefault(batch, []).append(start)
        else:
            self._call_soon(start)

    # ---- a turn --------------------------------------------------------------------------

    def turn(self) -> None:
        """Serve the queue once: at most turn_messages_max messages and what they tell."""
        self._scheduled = False
        if not self.ready or self._open.rows >= self.limits.batch_rows_max:
            return  # the end of the running commit schedules the next turn
        turn = self._turn = self.host.begin_turn()
        queue = self._queue
        self.queue_gauge.mark(turn.mono_us)
        count = min(len(queue), self.limits.turn_messages_max)
        generation = self._generation
        try:
            if self._sleepers:
                self._wake_many(count)
            served = self._serve(count, turn)
        except Exception as error:  # not a rule: its effects could not be performed whole
            self.host.crashed(0, turn, error)
            if generation == self._generation:
                self._fail(Outcome.FAILED, f"internal error: {type(error).__name__}")
            return
        finally:
            self._turn = self.running = None
        if generation != self._generation:
            return  # the store failed under us: everything was dropped
        self._set_timers()
        self.queue_gauge.served += served
        self.counts["turns"] += 1
        self._flush()
        if not (queue or self._local or self._resumed):
            self.queue_gauge.emptied()
        elif not self._scheduled:
            self._scheduled = True
            self._call_soon(self.turn)

    def _serve(self, count: int, turn: Turn) -> int:
        """What was parked comes first, then what was told, then what was posted: so nothing
        is overtaken by what its sender sent later, also where a bound ends the turn between.
        """
        queue, local, resumed = self._queue, self._local, self._resumed
        run = self._run
        budget = (count + 1) * CHAIN_FACTOR
        room = self.limits.turn_messages_max
        served = 0
        while True:
            if resumed:
                if not room:
                    return served
                cell, message = resumed.popleft()
                if not cell.status:  # else it is only parked again, which costs nothing
                    room -= 1
            elif local and budget:
                budget -= 1
                cell, message = local.popleft()
            elif served < count and queue:
                served += 1
                cell, message = queue.popleft()
            else:
                return served
            cell.queued -= 1
            if cell.status:
                self._dispatch(cell, message, turn)
            else:
                run(cell, message, turn)

    def _dispatch(self, cell: Cell, message: Any, turn: Turn) -> None:
        """A cell that is not ready: wake it if it sleeps, else the message waits its turn."""
        if cell.status == GONE:
            return
        if cell.status == ASLEEP:
            self._load([cell], [self._want(cell, message)])
        if cell.status:
            self._park(cell, message)
        else:
            self._run(cell, message, turn)

    def _run(self, cell: Cell, message: Any, turn: Turn) -> None:
        behaviour = cell.behaviour
        if behaviour is not self._current[cell.kind]:
            behaviour = self._due(cell)
            if behaviour is None:
                self._park(cell, message, first=True)
                self._when_committed(cell)
                return
        state, crashes = cell.state, cell.crashes
        self.running = cell
        cell.runs += 1
        try:
            if crashes is not None and _is_poison(crashes, message):
                effects = behaviour.poison(state, message, turn)
            else:
                effects = behaviour.handlers[type(message)](state, message, turn)
        except NotLoaded as need:
            self._need(cell, message, need.wants, turn)
            return
        except Exception as error:
            self._crash(cell, message, error, turn)
            return
        if crashes is not None:
            crashes.served(message)
        if cell.needy is not None:
            cell.needy = None
        batch = self._open
        batch.touched.setdefault(cell.key, cell.tenure)
        cell.used_us = turn.mono_us
        if effects:
            rows = batch.rows
            self.host.perform(cell.key, effects, batch, self._releases)
            if batch.rows != rows:
                cell.batch = batch.number
        if state.alarm_us < cell.alarm_us:
            self._alarmed.append(cell)

    # ---- versions of the rules -----------------------------------------------------------

    def _want(self, cell: Cell, message: Any) -> Want:
        """What an actor is loaded from. Whose version asks is whose version fills."""
        behaviour = cell.behaviour = self.behaviours.pick(cell.kind, cell.key)
        want: Want = behaviour.want(cell.key, message)
        return want

    def _due(self, cell: Cell) -> Behaviour | None:
        """The rules that this actor should have now; its state is brought to their version.

        None: that did not work, or rules that were found bad made the state: it is dropped.
        """
        came: Behaviour = cell.behaviour
        due = self.behaviours.pick(cell.kind, cell.key)
        if came is due:
            return due
        if not came.trusted:
            self.counts["states_reloaded"] += 1
            self._drop(cell)
            return None
        if came.version != due.version:
            newer = came if came.version > due.version else due
            try:
                cell.state = newer.migrate(cell.state, came.version, due.version)
            except Exception as error:
                self.counts["states_not_migrated"] += 1
                if self.behaviours.trial is not None:
                    self.behaviours.trial.failed(due, cell.key, None, error)
                self._forget(cell, cell.state, error)
                return None
            self.counts["states_migrated"] += 1
        cell.behaviour = due
        return due

    def _forget(self, cell: Cell, about: Any, error: BaseException) -> None:
        """Something was raised: the log has it, and the state is gone."""
        self.host.crashed(cell.key, about, error)
        self._drop(cell)

    def _drop(self, cell: Cell) -> None:
        """The rows are the truth; the actor's sessions attach again."""
        state, cell.state = cell.state, None
        cell.alarm_us = NEVER
        cell.needy = None
        self.host.dropped(cell.key, state)

    def _fell_back(self, cell: Cell, message: Any, error: Exception) -> bool:
        """A version on trial failed: no crash. The old one loads the actor and is asked."""
        trial = self.behaviours.trial
        return trial is not None and trial.failed(cell.behaviour, cell.key, message, error)

    # ---- parking -------------------------------------------------------------------------

    def _set_timers(self) -> None:
        """At the end of a turn: most alarms were taken back within it."""
        for cell in self._alarmed:
            state = cell.state
            if state is not None and state.alarm_us < cell.alarm_us:
                cell.alarm_us = state.alarm_us
                self.timers.add(state.alarm_us, cell.key)
        self._alarmed.clear()

    def _park(self, cell: Cell, message: Any, first: bool = False) -> None:
        if cell.parked is None:
            cell.parked = deque()
        cell.queued += 1
        if first:
            cell.parked.appendleft(message)
        else:
            cell.parked.append(message)

    def _resume(self, cell: Cell) -> None:
        """The cell can go on: what was parked comes first, in its order."""
        if self.cells.get(cell.key) is not cell:
            return
        cell.status = READY if cell.state is not None else ASLEEP
        parked, cell.parked = cell.parked, None
        if parked:
            if cell.status:
                self._sleepers += len(parked)
            self._resumed.extendleft((cell, message) for message in reversed(parked))
            if not self._scheduled:
                self._scheduled = True
                self._call_soon(self.turn)

    # ---- reading -------------------------------------------------------------------------

    def _wake_many(self, count: int) -> None:
        """Load all sleeping actors that this turn will meet in one read."""
        self._sleepers = 0
        cells: dict[int, Cell] = {}
        wants: list[Want] = []
        for index, (cell, message) in enumerate(self._queue):
            if index >= count:
                break
            if cell.status == ASLEEP and cell.key not in cells:
                cells[cell.key] = cell
                wants.append(self._want(cell, message))
        if cells:
            self._load(list(cells.values()), wants)

    def _load(self, cells: list[Cell], wants: list[Want]) -> None:
        """Before anything is read: the tenure goes into every batch in which it runs, and the
        fence compares it. Who is not ours any more is dropped; its senders repeat themselves.
        """
        generation = self._generation
        for cell in cells:
            cell.status = LOADING
            cell.tenure = self.host.tenure(cell.key)
        if any(cell.tenure < 0 for cell in cells):
            for cell in [cell for cell in cells if cell.tenure < 0]:
                del self.cells[cell.key]
                cell.status = GONE
            left = [pair for pair in zip(cells, wants, strict=True) if pair[0].tenure >= 0]
            cells, wants = [cell for cell, _ in left], [want for _, want in left]
            if not cells:
                return

        def done(answers: list[object] | Exception) -> None:
            if generation != self._generation:
                return
            if isinstance(answers, Exception):
                self._fail(Outcome.FAILED, str(answers))
                return
            for cell, rows in zip(cells, answers, strict=True):
                self._awake(cell, rows)

        self.counts["loads"] += len(cells)
        self.store.load(wants, done)

    def _awake(self, cell: Cell, rows: object) -> None:
        if cell.status == GONE:
            return
        behaviour = cell.behaviour
        state = None
        try:
            state = behaviour.new(cell.key)
            self.host.adopt(cell.key, state)
            behaviour.fill(state, rows)
        except Exception as error:
            if self._fell_back(cell, None, error):
                self.host.crashed(cell.key, rows, error)
                if state is not None:
                    self.host.asleep(cell.key, state)
                self._resume(cell)
            else:
                self._rest(cell, rows, error)
            return
        cell.state = state
        cell.alarm_us = NEVER
        if state.alarm_us < NEVER:
            cell.alarm_us = state.alarm_us
            self.timers.add(state.alarm_us, cell.key)
        self._resume(cell)

    def _need(self, cell: Cell, message: Any, wants: Sequence[Want], turn: Turn) -> None:
        """A rule lacks facts: read them, then run the rule again. Nothing was changed."""
        if cell.needy is not message:
            cell.needy, cell.needs = message, 0
        cell.needs += 1
        if cell.needs > NEEDS_MAX:
            cell.needy = None
            self._crash(cell, message, RuntimeError(f"asked for facts {NEEDS_MAX} times"), turn)
            return
        if cell.batch > self.committed and not all(want.settled for want in wants):
            cell.status = WAITING
            self._park(cell, message, first=True)
            self._after.setdefault(cell.batch, []).append(lambda: self._waited(cell))
            return
        behaviour = cell.behaviour
        generation = self._generation
        state = cell.state
        inline = True
        spoiled: Exception | None = None

        def done(answers: list[object] | Exception) -> None:
            nonlocal spoiled
            if generation != self._generation or cell.state is not state:
                return
            if isinstance(answers, Exception):
                self._fail(Outcome.FAILED, str(answers))
                return
            try:
                for want, answer in zip(wants, answers, strict=True):
                    behaviour.attach(state, want, answer)
                cell.status = READY
            except Exception as error:
                spoiled = error
            if not inline:
                self._attached(cell, message, spoiled, turn)

        cell.status = LOADING
        self.counts["reads"] += len(wants)
        self.store.load(wants, done)
        inline = False
        if spoiled is not None:
            self._crash(cell, message, spoiled, turn)
        elif cell.status == READY:
            self._run(cell, message, turn)
        elif generation == self._generation:
            self._park(cell, message, first=True)

    def _attached(self, cell: Cell, message: Any, spoiled: Exception | None, turn: Turn) -> None:
        """The facts came later than the turn that asked: its message is the first one parked."""
        if spoiled is None:
            self._resume(cell)
            return
        assert cell.parked is not None
        cell.parked.popleft()
        cell.queued -= 1
        self._crash(cell, message, spoiled, turn)

    # ---- crashing ------------------------------------------------------------------------

    def _crash(self, cell: Cell, message: Any, error: Exception, turn: Turn) -> None:
        """Drop the actor, load it again, and let the message try once more.

        Twice: it becomes a dead letter and the rules refuse it by name (`poison`). Rules on
        trial do not count: the message is tried on the ones before them.
        """
        if self._fell_back(cell, message, error):
            self.counts["fell_back"] += 1
            self._forget(cell, message, error)
            self._park(cell, message, first=True)
            self._when_committed(cell)
            return
        self.counts["crashes"] += 1
        limits = self.limits
        crashes = cell.crashes
        if crashes is None:
            crashes = cell.crashes = CrashLog()
        crashes.note(message, turn.mono_us)
        self._forget(cell, message, error)
        if crashes.suspect_crashes <= 2:
            self._park(cell, message, first=True)
            if crashes.suspect_crashes == 2:
                self.counts["dead_letters"] += 1
                self._open.add(self.host.dead_letter(cell.key, message, error, turn))
                cell.batch = self._open.number
                if self._turn is None:
                    self._flush()
        else:
            crashes.served(message)  # it cannot even be refused: dropped
        if crashes.too_many(
            turn.mono_us, limits.restart_intensity, int(limits.restart_window_s * 1e6)
        ):
            self._pause(cell)
        else:
            self._when_committed(cell)

    def _rest(self, cell: Cell, rows: object, error: BaseException) -> None:
        """Its rows cannot be understood: its messages wait, everybody else goes on."""
        self.counts["crashes"] += 1
        self.host.crashed(cell.key, rows, error)
        self._pause(cell)

    def _pause(self, cell: Cell) -> None:
        self.counts["actors_paused"] += 1
        cell.status = PAUSED
        pause_us = int(self.limits.restart_pause_s * 1e6)
        generation = self._generation
        self._call_later_us(
            pause_us, lambda: self._when_committed(cell) if generation == self._generation else None
        )

    def _when_committed(self, cell: Cell) -> None:
        if cell.batch > self.committed:
            cell.status = WAITING
            self._after.setdefault(cell.batch, []).append(lambda: self._waited(cell))
        else:
            self._resume(cell)

    def _waited(self, cell: Cell) -> None:
        if cell.status == WAITING:
            self._resume(cell)

    # ---- committing ----------------------------------------------------------------------

    def _flush(self) -> None:
        if self._flying is not None or not (self._open.rows or self._releases):
            return
        self._flying, self._flying_releases = self._open, self._releases
        self._open = self.host.new_batch(self._flying.number + 1)
        self._releases = []
        self.store.commit(self._flying, partial(self._done, self._generation))

    def _done(self, generation: int, outcome: Outcome, reason: str) -> None:
        if generation != self._generation:
            self._stray = False  # everybody was told of a failure already
            return
        flying, self._flying = self._flying, None
        if outcome is not Outcome.COMMITTED:
            self._fail(outcome, reason)
            return
        number = self.committed = flying.number
        releases, self._flying_releases = self._flying_releases, []
        self.counts["commits"] += 1
        if releases:
            try:
                self.host.release(releases)
            except Exception as error:  # a session's fault, not the store's, which called
                self._call_soon(partial(_raise, error))
        for start in self._after.pop(number, ()):
            start()
        if self._turn is None:
            self._flush()
        if (self._queue or self._local or self._resumed) and not self._scheduled:
            self._scheduled = True
            self._call_soon(self.turn)

    def _fail(self, outcome: Outcome, reason: str) -> None:
        """Nothing of the batch was visible. Drop it, all behind it, and every actor."""
        self.ready = False
        self._generation += 1
        self.counts[f"commits_{outcome.value}"] += 1
        releases = self._flying_releases + self._releases
        self._queue.clear()
        self._local.clear()
        self._resumed.clear()
        self.queue_gauge.emptied()
        self._alarmed.clear()
        self.cells.clear()
        self.timers.clear()
        self._after.clear()
        last = self._open.number
        self.committed = last
        self._open = self.host.new_batch(last + 1)
        self._releases = []
        self._stray = self._flying is not None
        self._flying, self._flying_releases = None, []
        self._turn = None
        self._sleepers = 0
        self._call_later_us(self._recover_us, self._recover)
        self.host.failed(outcome, reason, releases)

    def _recover(self) -> None:
        if self._stray:  # it may still be written: nothing is true before it has ended
            self._call_later_us(self._recover_us, self._recover)
            return
        self.store.recover(self._recovered)

    def _recovered(self, sound: bool, reason: str) -> None:
        if sound:
            self._recover_us = RECOVER_FIRST_US
            self.ready = True
            self.counts["recoveries"] += 1
            self.host.recovered()
            return
        self._recover_us = min(self._recover_us * 2, RECOVER_MAX_US)
        self._call_later_us(self._recover_us, self._recover)

    # ---- time ----------------------------------------------------------------------------

    def tick(self, now_us: int) -> None:
        """Fire timers that are due. The node calls this at next_alarm_us or more often."""
        if not self.ready:
            return
        for key in self.timers.due(now_us, self.limits.turn_messages_max):
            cell = self.cells.get(key)
            if cell is None or cell.state is None:
                continue  # waking sets its timers anew
            if cell.status != READY:
                self.timers.add(now_us + BUSY_ALARM_US, key)
                continue
            cell.alarm_us = NEVER
            alarm_us = cell.state.alarm_us
            if alarm_us <= now_us:
                self.post(key, self.host.alarm)
            elif alarm_us < NEVER:
                cell.alarm_us = alarm_us
                self.timers.add(alarm_us, key)

    def sweep(self, now_us: int) -> int:
        """Put idle actors to sleep: a slice of them a call. Returns how many left."""
        if not self._sweep:
            self._sweep = list(self.cells)
        idle_us = int(self.limits.actor_idle_s * 1_000_000)
        if len(self.cells) > self.limits.actors_max:
            idle_us = 0
        gone = 0
        for _ in range(min(SWEEP_SLICE, len(self._sweep))):
            cell = self.cells.get(self._sweep.pop())
            if (
                cell is not None
                and cell.status == READY
                and cell.behaviour is not self._current[cell.kind]
                and self._due(cell) is None
            ):
                self._when_committed(cell)  # so that no version is kept by who hears nothing
            if (
                cell is not None
                and cell.status <= ASLEEP  # asleep: it crashed, and nobody has wanted it since
                and not cell.queued
                and cell.batch <= self.committed
                and now_us - cell.used_us >= idle_us
                and (cell.status or cell.behaviour.idle(cell.state))
            ):
                del self.cells[cell.key]
                if cell.state is not None:
                    self.host.asleep(cell.key, cell.state)
                gone += 1
        return gone

    def abandon(self, lost: Callable[[int], bool]) -> None:
        """Another node owns these actors now: forget them at once and answer nobody.

        A batch under way meets the fence, by the epochs it left with. One that has not left
        must never leave: if the shards came back, it would pass the fence with rows of which
        the actors that are loaded then know nothing.
        """
        for key in [key for key in self.cells if lost(key)]:
            cell = self.cells.pop(key)
            cell.status = GONE
            state, cell.state = cell.state, None
            cell.parked = None
            if state is not None:
                self.host.dropped(key, state)
        self.host.abandoned(lost)
        touched = self._open.touched
        if not any(map(lost, touched)):
            return
        if not (self._open.rows or self._releases):  # they ran, and nothing came of it
            for key in [key for key in touched if lost(key)]:
                del touched[key]
        else:
            self._fail(Outcome.FENCED, "its shards belong to another node now")

    @property
    def rows_waiting(self) -> tuple[int, int]:
        """Row operations that are being committed, and those gathered behind them."""
        return self._flying.rows if self._flying is not None else 0, self._open.rows

    def take_full(self) -> Cell | None:
        """Whose mailbox was full since the last call, the last time that one was."""
        full, self._full = self._full, None
        return full

    def longest_queued(self, at_most: int) -> Cell | None:
        """The cell with the longest mailbox among those that the queue's head is for."""
        cells = [cell for cell, _ in islice(self._queue, at_most)]
        return max(cells, key=attrgetter("queued"), default=None)

    def commits_under_way(self, lost: Callable[[int], bool]) -> bool:
        """May a commit in which one of these actors ran still be written?"""
        return self._stray or (self._flying is not None and any(map(lost, self._flying.touched)))

    def gathers(self, lost: Callable[[int], bool]) -> bool:
        """Did one of these run in the batch that leaves next, if anything comes of that batch?"""
        gathered = self._open.rows or self._releases
        return bool(gathered) and any(map(lost, self._open.touched))

    @property
    def quiet(self) -> bool:
        """True when nothing is queued and nothing is being committed."""
        waiting = self._queue or self._local or self._resumed
        return not (waiting or self._flying is not None or self._open.rows)


def _raise(error: Exception) -> None:
    raise error


def _is_poison(crashes: CrashLog, message: Any) -> bool:
    return crashes.suspect is message and crashes.suspect_crashes >= 2
