"""A toy for the engine: actors that count, no messenger anywhere.

An actor's number is kept in the `tail` of an account row, so that the memory store can hold
and load it. The host writes down, in order, everything the engine makes it do.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

from whimbrel.domain.batch import Batch
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome, Store
from whimbrel.domain.rows import AccountRow, CounterRow, Row
from whimbrel.domain.turn import Turn
from whimbrel.domain.wants import NotLoaded, UserRows, UserWant, Want
from whimbrel.runtime.behaviour import Behaviours
from whimbrel.runtime.engine import Engine
from whimbrel.storage.memory import MemoryDisk, MemoryStore

NEVER = 1 << 62
SECOND = 1_000_000


# ---- messages ---------------------------------------------------------------------------


@dataclass(eq=False)
class Message:
    request: ClassVar[bool] = True


@dataclass(eq=False)
class Add(Message):
    """Count and write it down; say the new number after the commit."""

    n: int = 1


@dataclass(eq=False)
class Say(Message):
    """Say something; write nothing."""

    word: str


@dataclass(eq=False)
class Pass(Message):
    """Hand these on, in order: (to, message)."""

    tells: list[tuple[int, Message]]


@dataclass(eq=False)
class Fact(Message):
    """Say the number of another actor, which has to be read first."""

    wants: list[int]


@dataclass(eq=False)
class Greedy(Message):
    """A rule with a bug: it asks for the same fact for ever."""


@dataclass(eq=False)
class Boom(Message):
    """Raises as often as it is told to, then counts like Add."""

    times: int


@dataclass(eq=False)
class Wake(Message):
    """Wants to be woken at these monotonic times, one after the other."""

    at_us: list[int]


@dataclass(eq=False)
class Look(Message):
    """Ask the host to read this actor's own row, after what it has just written."""

    n: int = 0


@dataclass(eq=False)
class Noted(Message):
    """An acknowledgement: the mailbox bound does not apply."""

    request: ClassVar[bool] = False
    word: str


@dataclass(eq=False)
class Alarm(Message):
    request: ClassVar[bool] = False


# ---- effects ----------------------------------------------------------------------------


@dataclass
class Write:
    row: Row


@dataclass
class Tell:
    to: int
    message: Message


@dataclass
class Spoken:
    """Released after the commit."""

    word: str


@dataclass
class ReadBack:
    key: int


# ---- rules ------------------------------------------------------------------------------


@dataclass
class State:
    key: int
    n: int = 0
    alarm_us: int = NEVER
    alarms: list[int] = field(default_factory=list)
    facts: dict[int, int] = field(default_factory=dict)
    busy: bool = False  # not to be put to sleep


def row_of(state: State) -> Write:
    return Write(AccountRow(state.key, f"a{state.key}", 0, 0, state.n, 0, 0, 0, 0, 0))


def on_add(state: State, m: Add, turn: Turn) -> list[Any]:
    state.n += m.n
    return [row_of(state), Spoken(f"{state.key}={state.n}")]


def on_say(state: State, m: Say, turn: Turn) -> list[Any]:
    return [Spoken(m.word)]


def on_pass(state: State, m: Pass, turn: Turn) -> list[Any]:
    return [Tell(to, message) for to, message in m.tells]


def on_fact(state: State, m: Fact, turn: Turn) -> list[Any]:
    for key in m.wants:
        if key not in state.facts:
            raise NotLoaded(UserWant(key))
    return [Spoken(f"{state.key} knows " + " ".join(str(state.facts[key]) for key in m.wants))]


def on_greedy(state: State, m: Greedy, turn: Turn) -> list[Any]:
    raise NotLoaded(UserWant(state.key))


def on_boom(state: State, m: Boom, turn: Turn) -> list[Any]:
    state.n += 1
    if m.times:
        m.times -= 1
        raise ValueError("boom")
    return [row_of(state), Spoken(f"{state.key}={state.n}")]


def on_wake(state: State, m: Wake, turn: Turn) -> list[Any]:
    state.alarms = m.at_us[1:]
    state.alarm_us = m.at_us[0]
    return []


def on_look(state: State, m: Look, turn: Turn) -> list[Any]:
    state.n += m.n
    return [row_of(state), ReadBack(state.key)] if m.n else [ReadBack(state.key)]


def on_noted(state: State, m: Noted, turn: Turn) -> list[Any]:
    return [Spoken(m.word)]


def on_alarm(state: State, m: Alarm, turn: Turn) -> list[Any]:
    state.alarm_us = state.alarms.pop(0) if state.alarms else NEVER
    return [Spoken(f"{state.key} woken at {turn.mono_us}")]


def toy_fill(state: State, rows: object) -> None:
    assert isinstance(rows, UserRows)
    if rows.account is not None:
        if rows.account.address == "spoiled":
            raise ValueError("a row that cannot be understood")
        state.n = rows.account.tail


def toy_attach(state: State, want: Want, answer: object) -> None:
    assert isinstance(want, UserWant)
    assert isinstance(answer, UserRows)
    state.facts[want.number] = answer.account.tail if answer.account else 0


def toy_poison(state: State, m: Message, turn: Turn) -> list[Any]:
    return [Spoken(f"{state.key} refuses {type(m).__name__}")]


def toy_busy(key: int, m: Message) -> list[Any]:
    return [Spoken(f"{key} is busy")]


def toy_rules(**changes: Any) -> ModuleType:
    """A module of rules; `changes` replaces some of its names."""
    module = ModuleType("toy")
    module.__dict__.update(
        HANDLERS={
            Add: on_add,
            Say: on_say,
            Pass: on_pass,
            Fact: on_fact,
            Greedy: on_greedy,
            Boom: on_boom,
            Wake: on_wake,
            Look: on_look,
            Noted: on_noted,
            Alarm: on_alarm,
        },
        new=State,
        want=lambda key, message: UserWant(key),
        fill=toy_fill,
        attach=toy_attach,
        poison=toy_poison,
        busy=toy_busy,
        idle=lambda state: not state.busy,
    )
    module.__dict__.update(changes)
    return module


# ---- host and world ---------------------------------------------------------------------


class ToyHost:
    """Performs and writes down. `said` is what the outside heard."""

    alarm = Alarm()

    def __init__(self, world: "ToyWorld") -> None:
        self.world = world
        self.said: list[str] = []
        self.performed: list[str] = []
        self.turns: list[Turn] = []
        self.slept: list[int] = []
        self.tenures: dict[int, int] = {}
        self.lost: list[int] = []
        self.letters: list[tuple[int, str]] = []
        self.crashes: list[tuple[int, str]] = []
        self.failures: list[tuple[Outcome, str, list[str]]] = []
        self.recoveries = 0

    def begin_turn(self) -> Turn:
        turn = Turn(self.world.now_us, self.world.now_us, self.world.limits)
        self.turns.append(turn)
        return turn

    def new_batch(self, number: int) -> Batch:
        return Batch(number)

    def adopt(self, key: int, state: State) -> None:
        pass

    def perform(self, key: int, effects: list[Any], batch: Batch, releases: list[Any]) -> None:
        for effect in effects:
            self.performed.append(f"{key}:{type(effect).__name__}")
            if isinstance(effect, Write):
                batch.add(effect.row)
            elif isinstance(effect, Tell):
                self.world.engine.tell(effect.to, effect.message)
            elif isinstance(effect, Spoken):
                releases.append(effect.word)
            else:
                assert isinstance(effect, ReadBack)
                self.world.engine.read(key, UserWant(key), self._read)

    def _read(self, rows: UserRows) -> None:
        self.said.append(f"read {rows.account.tail if rows.account else 0}")

    def release(self, releases: list[Any]) -> None:
        self.said += releases

    def asleep(self, key: int, state: State) -> None:
        self.slept.append(key)

    def tenure(self, key: int) -> int:
        return self.tenures.get(key, 0)

    def abandoned(self, lost: Callable[[int], bool]) -> None:
        """Nobody sleeps with an attachment here."""

    def dropped(self, key: int, state: State) -> None:
        self.lost.append(key)

    def dead_letter(self, key: int, message: Any, error: BaseException, turn: Turn) -> Row:
        self.letters.append((key, type(message).__name__))
        return CounterRow(f"dead {key}", 1, 1)

    def crashed(self, key: int, message: Any, error: BaseException) -> None:
        self.crashes.append((key, type(error).__name__))

    def failed(self, outcome: Outcome, reason: str, releases: list[Any]) -> None:
        self.failures.append((outcome, reason, list(releases)))

    def recovered(self) -> None:
        self.recoveries += 1


class ToyWorld:
    """The engine over the memory store. `run()` works until nothing is left to do."""

    def __init__(
        self, limits: Limits | None = None, inline: bool = True, store: Store | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.now_us = SECOND
        self.disk = MemoryDisk()
        self.soon: deque[Callable[[], None]] = deque()
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.memory = MemoryStore(self.disk, schedule=self.soon.append, inline=inline)
        self.behaviours = Behaviours([toy_rules()], lambda key: 0)
        self.host = ToyHost(self)
        self.engine = Engine(
            store or self.memory,
            self.host,
            self.behaviours,
            self.limits,
            self.soon.append,
            lambda delay_us, call: self.timers.append((self.now_us + delay_us, call)),
        )

    @property
    def said(self) -> list[str]:
        return self.host.said

    def post(self, key: int, *messages: Message) -> None:
        for message in messages:
            assert self.engine.post(key, message)

    def step(self) -> None:
        """One callback of the loop."""
        self.soon.popleft()()

    def run(self) -> None:
        for _ in range(100_000):
            if not self.soon:
                return
            self.step()
        raise AssertionError("the engine does not come to rest")

    def pass_to(self, at_us: int) -> None:
        """Let time pass in one jump; what is due happens."""
        self.now_us = at_us
        due = [entry for entry in self.timers if entry[0] <= at_us]
        for entry in due:
            self.timers.remove(entry)
            entry[1]()
        self.engine.tick(at_us)
        self.run()

    def number(self, key: int) -> int:
        """What the disk holds."""
        row = self.disk.tables.accounts.get(key)
        return row.tail if row else 0

    def state(self, key: int) -> State:
        state = self.engine.cells[key].state
        assert isinstance(state, State)
        return state
