"""Random worlds: faults at every point, and then the laws, checked against what people saw.

One seed decides everything. The full simulator grows from here; this is its first, small
brother, and already runs the production engine, rules, interpreter and commit semantics.
"""

import random
from collections import defaultdict, deque

import pytest

from tests.world import Phone, World, hash_of
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import account_number, submit_hash
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import MESSAGE, OPEN, RECEIPT
from whimbrel.storage.memory import Fate

NAMES = ["alice", "bob", "carol"]
SEEDS = 300


class Actor(Phone):
    """A phone that behaves: keeps what is unanswered, sends it again under the same number."""

    def __init__(self, play: "Play", phone: Phone) -> None:
        super().__init__(play.world, phone.address, phone.device, phone.key)
        self.play = play
        self.unanswered: dict[int, tuple[str, str]] = {}
        self.replaced = False
        self.forgotten = False  # told "unknown session" before the welcome
        self.ordinal_of = 0  # the session that was welcomed
        self.backlog: deque[m.ToActor] = deque()  # what a full mailbox did not take yet

    def tell(self, message: m.ToActor) -> bool:
        self.backlog.append(message)
        return self.drain()

    def drain(self) -> bool:
        while self.backlog and self.play.world.engine.post(self.number, self.backlog[0]):
            self.backlog.popleft()
        return not self.backlog

    def send(self, to: str, text: str) -> None:
        self.submitted += 1
        self.unanswered[self.submitted] = (to, text)
        if self.session:
            self._submit(self.submitted)

    def repeat(self) -> None:
        """What a session does by a timer: unanswered submits again, in order; the confirm."""
        if self.ordinal_of != self.session:
            self.say_hello()
            return
        for c in list(self.unanswered):
            self._submit(c)
        self.confirm(self.last)

    def _submit(self, c: int) -> None:
        to, text = self.unanswered[c]
        body = text.encode()
        number = account_number(to)
        self.tell(m.Submit(self.device, self.session, c, to, number, submit_hash(to, body), body))

    def go_online(self) -> None:
        if self.session or self.replaced:
            return
        self.session = self.play.world.sessions.open(self)
        self.say_hello()

    def say_hello(self) -> None:
        self.tell(m.Hello(self.device, self.session, hash_of(self.key), self.last, self.era))

    def go_offline(self, politely: bool) -> None:
        if self.session:
            self.world.sessions.close(self.session)
            self.backlog.clear()
            if politely:
                self.tell(m.Detach(self.device, self.session))
            self.session = 0
            self.out = []

    def flush(self) -> None:
        out, self.out = self.out, []
        for answer in out:
            self.hear(answer)

    def hear(self, answer: a.ToSession) -> None:
        if isinstance(answer, a.Welcome):
            self.ordinal, self.era = answer.ordinal, answer.era
            self.ordinal_of = self.session
            if self.forgotten:
                self.forgotten = False
                self.attach()
            if self.last > answer.confirmed:
                self.confirm(self.last)
            for c in list(self.unanswered):
                self._submit(c)
        elif isinstance(answer, a.UnknownSession):
            if self.ordinal_of != self.session:
                self.forgotten = True  # the welcome may still be on its way
                return
            self.attach()
            for c in list(self.unanswered):
                self._submit(c)
        elif isinstance(answer, a.Stored):
            if answer.c in self.unanswered:
                to, text = self.unanswered.pop(answer.c)
                self.play.acknowledged(self, to, text, answer.id)
        elif isinstance(answer, a.SubmitRefused):
            assert answer.code in ("gap", "busy"), answer
        elif isinstance(answer, a.Item):
            assert answer.prev <= self.last
            if answer.q > self.last:
                self.last = answer.q
                self.play.shown(self, answer)
                if self.play.random.random() < 0.8:
                    self.confirm(self.last)
        elif isinstance(answer, a.Gone):
            self.replaced = True
            self.go_offline(False)
        elif isinstance(answer, a.Rejected):
            assert self.replaced, answer


class Play:
    def __init__(self, seed: int, faults: bool = True) -> None:
        self.random = random.Random(seed)
        self.world = World(
            Limits(
                window_items_max=self.random.choice([2, 4, 256]),
                open_per_peer_max=self.random.choice([1, 2, 32]),
                mailbox_max=self.random.choice([3, 20, 1000]),
                batch_rows_max=self.random.choice([5, 20_000]),
                turn_messages_max=self.random.choice([1, 3, 1000]),
                actor_idle_s=0.001,
                rewind_s=20,
            ),
            inline=self.random.random() < 0.5,
        )
        self.actors = [Actor(self, self.world.register(name)) for name in NAMES]
        self.sent: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        self.seen: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.seen_ids: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.marks_shown: dict[tuple[str, str], int] = defaultdict(int)
        self.count = 0

    # what people saw

    def acknowledged(self, actor: Actor, to: str, text: str, id: int) -> None:
        self.sent[(actor.address, to)].append((id, text))

    def shown(self, actor: Actor, item: a.Item) -> None:
        key = (item.address, actor.address)
        if item.kind == MESSAGE:
            assert item.body is not None
            self.seen[key].append(item.body.decode())
            self.seen_ids[key].add(item.id)
        elif item.kind == RECEIPT:
            sent = self.sent[(actor.address, item.address)]
            seen = self.seen_ids[(actor.address, item.address)]
            for id, text in sent:
                assert id > item.id or id in seen, f"two marks for {text}, which nobody saw"
            self.marks_shown[(actor.address, item.address)] = item.id

    # what happens

    def act(self) -> None:
        for actor in self.actors:
            actor.drain()
        r = self.random.random()
        actor = self.random.choice(self.actors)
        if r < 0.30:
            self.count += 1
            peer = self.random.choice([name for name in NAMES if name != actor.address])
            actor.send(peer, f"{actor.address}-{self.count}")
        elif r < 0.75:
            for _ in range(self.random.randint(1, 6)):
                self.world.step()
        elif r < 0.81:
            actor.go_online()
        elif r < 0.85:
            actor.go_offline(self.random.random() < 0.5)
        elif r < 0.89 and actor.session:
            actor.confirm(actor.last)
        elif r < 0.93:
            self.world.engine.sweep(self.world.clock.mono_us + 10_000_000)
        elif r < 0.95:
            self.world.later(self.random.random() * 5)
        elif r < 0.965:
            fate = self.random.choice([Fate.FAIL, Fate.UNKNOWN_WRITTEN, Fate.UNKNOWN_LOST])
            self.world.store.fate = self._once(fate)
        elif r < 0.98:
            self.crash()
        elif self.world.engine.cells:
            self.poison()

    def _once(self, fate: Fate):  # type: ignore[no-untyped-def]
        store = self.world.store

        def decide(batch: Batch) -> Fate:
            store.fate = lambda batch: Fate.COMMIT
            return fate

        return decide

    def crash(self) -> None:
        """Kill the process: only the disk is left."""
        for actor in self.actors:
            actor.session, actor.out = 0, []
            actor.backlog.clear()
        self.world.boot()

    def poison(self) -> None:
        """An actor loses its memory, as after an exception in a rule."""
        key = self.random.choice(sorted(self.world.engine.cells))
        self.world.engine.post(key, Explode())

    def settle(self) -> None:
        self.world.store.fate = lambda batch: Fate.COMMIT
        self.world.later(10)
        for _ in range(30):
            for actor in self.actors:
                actor.go_online()
                if actor.session:
                    actor.repeat()
                while not actor.drain():
                    self.world.run()
            self.scan()
            self.world.later(30)
        self.world.later(400)

    def scan(self) -> None:
        for name in NAMES:
            self.world.engine.post(account_number(name), m.Alarm())

    def check(self) -> None:
        for (sender, peer), sent in self.sent.items():
            texts = [text for _, text in sorted(sent)]
            seen = self.seen[(sender, peer)]
            assert len(seen) == len(set(seen)), f"shown twice: {sender} -> {peer}"
            assert [text for text in seen if text in set(texts)] == texts, "lost or out of order"
            numbers = [int(text.rpartition("-")[2]) for text in seen]
            assert numbers == sorted(numbers), "order of sending"
            if sent:
                assert self.marks_shown[(sender, peer)] >= sent[-1][0], "second mark missing"
        for actor in self.actors:
            assert not actor.unanswered
        tables = self.world.disk.tables
        ledger = [row for rows in tables.sent.values() for row in rows.values()]
        waiting = [row for rows in tables.inbox.values() for row in rows.values()]
        assert not [row for row in ledger if row.state == OPEN]
        assert not [row for row in ledger if row.body is not None]
        assert not [row for row in waiting if row.body is not None], "not wiped"


class Explode(m.ToActor, frozen=True):
    """No rule answers this: looking it up raises inside the turn, like any bug."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_acknowledged_is_lost_doubled_or_out_of_order(seed: int) -> None:
    play = Play(seed)
    for _ in range(400):
        play.act()
    play.settle()
    play.check()
