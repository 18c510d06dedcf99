"""A world in one process for tests of the rules: the production engine and interpreter, the
memory store, a clock that stands still until it is told, and devices that write down what
they were shown. No socket, no loop, no sleep.
"""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.errors import Busy
from whimbrel.domain.ids import account_number, submit_hash
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import MESSAGE, RECEIPT
from whimbrel.logic import user as user_rules
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.sessions import Sessions
from whimbrel.runtime.behaviour import Behaviours
from whimbrel.runtime.engine import Engine
from whimbrel.storage.memory import MemoryDisk, MemoryStore

START_US = 1_800_000_000_000_000


class StillClock:
    def __init__(self) -> None:
        self.wall_us = START_US
        self.mono_us = 1_000_000

    def now_us(self) -> int:
        return self.wall_us

    def monotonic_us(self) -> int:
        return self.mono_us


class World:
    """One node. `run()` works until nothing is left to do; `later(s)` lets time pass."""

    def __init__(
        self,
        limits: Limits | None = None,
        disk: MemoryDisk | None = None,
        inline: bool = True,
        rules: Any = user_rules,
    ) -> None:
        self.limits = limits or Limits()
        self.clock = StillClock()
        self.disk = disk or MemoryDisk()
        self.inline = inline
        self.rules = rules
        self.soon: deque[Callable[[], None]] = deque()
        self.timers: list[tuple[int, int, Callable[[], None]]] = []
        self.sent_pins: list[tuple[str, str]] = []
        self._order = 0
        self.boots = 0
        self.boot()

    def boot(self) -> None:
        """Start (again) over the same disk: everything in memory is gone."""
        self.soon.clear()
        self.timers.clear()
        self.store = MemoryStore(self.disk, schedule=self.soon.append, inline=self.inline)
        self.boots += 1
        self.sessions = Sessions(self.clock.now_us() + self.boots * 1_000_000)
        self.host = Interpreter(
            self.sessions,
            self.limits,
            self.clock,
            self.store.era,
            lambda number, pin: self.sent_pins.append((number, pin)),
        )
        self.behaviours = Behaviours([self.rules], lambda key: 0)
        self.engine = Engine(
            self.store,
            self.host,
            self.behaviours,
            self.limits,
            self.soon.append,
            self._call_later,
        )
        self.host.engine = self.engine

    def _call_later(self, delay_us: int, call: Callable[[], None]) -> None:
        self._order += 1
        self.timers.append((self.clock.mono_us + delay_us, self._order, call))

    def step(self) -> bool:
        """One callback of the loop. False: there was none."""
        if not self.soon:
            return False
        self.soon.popleft()()
        return True

    def run(self) -> None:
        for _ in range(200_000):
            if not self.step():
                return
        raise AssertionError("the world does not come to rest")

    def later(self, seconds: float) -> None:
        """Let time pass; timers fire in order, and their work is done."""
        self.run()
        end_us = self.clock.mono_us + int(seconds * 1_000_000)
        for _ in range(100_000):
            due = [entry[0] for entry in self.timers]
            alarm_us = self.engine.timers.next_us()
            if alarm_us is not None:
                due.append(alarm_us)
            at_us = min(due, default=end_us)
            if at_us >= end_us:
                self._pass_to(end_us)
                return
            self._pass_to(max(at_us, self.clock.mono_us))
        raise AssertionError("an alarm is due for ever: time does not pass")

    def _pass_to(self, at_us: int) -> None:
        self.clock.wall_us += at_us - self.clock.mono_us
        self.clock.mono_us = at_us
        for entry in sorted(entry for entry in self.timers if entry[0] <= at_us):
            self.timers.remove(entry)
            entry[2]()
        self.engine.tick(at_us)
        self.run()

    def ask(self, key: int, make: Callable[[int], Any]) -> a.ToSession | None:
        """Tell an actor something that has a reply, and run until it came."""
        answers: list[a.ToSession | None] = []
        self._order += 1
        self.host.replies[self._order] = answers.append
        assert self.engine.post(key, make(self._order))
        self.run()
        assert answers, "no reply"
        return answers[0]

    def register(self, address: str, key: str = "") -> "Phone":
        key = key or f"key of {address}"
        answer = self.ask(
            account_number(address),
            lambda reply: m.Register(address, hash_of(key), "phone", reply),
        )
        assert isinstance(answer, a.Registered), answer
        return Phone(self, address, answer.device, key)

    def phone(self, address: str) -> "Phone":
        """Register and connect."""
        phone = self.register(address)
        phone.connect()
        return phone

    def state(self, address: str) -> Any:
        return self.engine.cells[account_number(address)].state


def hash_of(key: str) -> bytes:
    return sha256(key.encode()).digest()


class Phone:
    """A device and its session in one: keeps what it must, shows what it gets."""

    def __init__(self, world: World, address: str, device: int, key: str) -> None:
        self.world = world
        self.address = address
        self.number = self.account = account_number(address)
        self.device = device
        self.key = key
        self.session = 0
        self.ordinal = 0
        self.last = 0
        self.era = 0
        self.submitted = 0
        self.heard: list[a.ToSession] = []  # everything, in order
        self.items: list[a.Item] = []
        self.auto_confirm = True
        self.out: list[a.ToSession] = []

    # ---- SessionSink ---------------------------------------------------------------------

    def deliver(self, answer: a.ToSession) -> None:
        self.out.append(answer)

    def flush(self) -> None:
        """What was delivered is now on the device."""
        out, self.out = self.out, []
        confirm = 0
        for answer in out:
            self.heard.append(answer)
            if isinstance(answer, a.Welcome):
                if self.era not in (0, answer.era):
                    self.last = 0  # the server was restored: its numbers begin anew
                self.ordinal, self.era = answer.ordinal, answer.era
                self.submitted = max(self.submitted, answer.submitted)
                self.last = max(self.last, answer.confirmed)
                if self.last > answer.confirmed:
                    confirm = self.last
            elif isinstance(answer, a.Item):
                assert answer.prev <= self.last, f"gap: {answer.prev} after {self.last}"
                if answer.q > self.last:
                    self.last = answer.q
                    self.items.append(answer)
                    confirm = self.last
            elif isinstance(answer, a.UnknownSession):
                self.attach()
        if confirm and self.auto_confirm:
            self.confirm(confirm)

    # ---- what people do ------------------------------------------------------------------

    def connect(self) -> a.ToSession:
        if self.session:
            self.world.sessions.close(self.session)
        self.session = self.world.sessions.open(self)
        hello = m.Hello(self.device, self.session, hash_of(self.key), self.last, self.era)
        assert self.tell(hello)
        before = len(self.heard)
        self.world.run()
        return self.heard[before]

    def attach(self) -> None:
        self.tell(m.Attach(self.device, self.session, self.ordinal, self.last, self.last))

    def disconnect(self) -> None:
        self.world.sessions.close(self.session)
        self.tell(m.Detach(self.device, self.session))
        self.session = 0
        self.world.run()

    def tell(self, message: m.ToActor) -> bool:
        return self.world.engine.post(self.number, message)

    def submit(self, to: str, text: str, c: int = 0) -> int:
        """Without running: the caller decides when."""
        if not c:
            self.submitted += 1
            c = self.submitted
        body = text.encode()
        taken = self.tell(
            m.Submit(
                self.device, self.session, c, to, account_number(to), submit_hash(to, body), body
            )
        )
        if not taken:
            self.heard.append(a.SubmitRefused(c, Busy.code))
        return c

    def say(self, to: str, text: str) -> int:
        c = self.submit(to, text)
        self.world.run()
        return c

    def confirm(self, q: int) -> None:
        self.tell(m.Confirm(self.device, self.session, q))

    def read(self, peer: str, id: int) -> None:
        self.tell(m.MarkRead(self.device, self.session, peer, account_number(peer), id))
        self.world.run()

    def block(self, peer: str, on: bool = True) -> None:
        self.tell(m.Block(self.device, self.session, peer, account_number(peer), on))
        self.world.run()

    # ---- what people see -----------------------------------------------------------------

    def texts(self) -> list[str]:
        return [item.body.decode() for item in self.items if item.kind == MESSAGE and item.body]

    def of(self, kind: type) -> list[Any]:
        return [answer for answer in self.heard if isinstance(answer, kind)]

    def answers(self, c: int) -> list[a.ToSession]:
        return [
            answer
            for answer in self.heard
            if isinstance(answer, a.Stored | a.SubmitRefused) and answer.c == c
        ]

    def marks(self, peer: str) -> tuple[int, int]:
        """(delivered, read) watermarks shown for what was sent to `peer`."""
        shown = [i for i in self.items if i.kind == RECEIPT and i.address == peer]
        return (shown[-1].id, shown[-1].extra) if shown else (0, 0)
