"""Law play: the random world of tests/logic, with a witness and checks that name the law.

Beside the faults of its parent: some accounts have a second device, people read, the clock of
a node that starts again may be behind, and in some worlds words between actors are lost or
said twice, as between two nodes. One seed decides everything.
"""

import random
from collections import defaultdict

from tests.laws.witness import Broken, Witness, check, check_memory
from tests.logic.test_random_worlds import Actor, Play
from tests.world import Phone, hash_of
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.batch import Batch
from whimbrel.domain.errors import GAP, Busy
from whimbrel.domain.ids import account_number
from whimbrel.domain.rows import DELIVERED, MESSAGE, OPEN, READ, RECEIPT
from whimbrel.storage.memory import Fate

STEPS = 300
TABLETS = 0.4  # so many accounts have a second device
READS = 0.05  # a step in so many: somebody reads what was shown last
HANGS, HANG_ENDS = 0.02, 0.2  # a step in so many: a commit hangs, or goes on
LOSSES = (0.0, 0.0, 0.2)  # of words between actors
PATIENCE = 5_000  # refusals of a mailbox in a row; all of a play has fewer
TWICE = 0.1  # where words are lost, so many are said twice
ECHOES = 0.3  # a step in so many: one of these comes, perhaps long after
BETWEEN_ACTORS = (m.Deliver, m.Ack, m.BusyAck, m.Receipt, m.ReceiptAck)

Shown = list[tuple[int, str]]  # sender's device, text


class LawPlay(Play):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.chance = random.Random(-1 - seed)
        self.trace: list[object] = []  # all that can be seen from outside, for law 8
        self.on_screen: dict[tuple[str, int, str], Shown] = defaultdict(list)
        self.highest_mark: dict[tuple[str, int, str], int] = defaultdict(int)
        self.newest: dict[tuple[str, int], tuple[str, int]] = {}
        self.witness = Witness(self.world)
        for actor in list(self.actors):
            if self.chance.random() < TABLETS:
                self.actors.append(self._tablet(actor))
        for actor in self.actors:
            self.witness.watch(actor)
            self._watch_refusals(actor)
        self.loss = self.chance.choice(LOSSES)
        self.said: dict[int, list[tuple[int, m.ToActor]]] = defaultdict(list)  # by batch
        self.echoes: list[tuple[int, m.ToActor]] = []
        self.witness.on_commit = self._committed
        self._between_nodes()

    def _tablet(self, actor: Actor) -> Actor:
        key = f"tablet of {actor.address}"
        self.world.engine.post(actor.number, m.Link(actor.device, 0, hash_of(key), "tablet", 1))
        self.world.run()
        return Actor(self, Phone(self.world, actor.address, actor.device + 1, key))

    def _watch_refusals(self, actor: Actor) -> None:
        """What a device that behaves must never hear."""
        hear = actor.hear

        def watched(answer: a.ToSession) -> None:
            if isinstance(answer, a.SubmitRefused):
                waits = answer.code in (GAP, Busy.code)
                check(2, "a device that behaves is not refused", waits, str(answer))
            elif isinstance(answer, a.Item):
                whole = answer.prev <= actor.last
                check(3, "no gap in a stream", whole, f"{answer.prev} after {actor.last}")
            elif isinstance(answer, a.Rejected | a.Gone):
                check(6, "the owner of a key is let in", False, str(answer))
            hear(answer)

        actor.hear = watched  # type: ignore[method-assign]
        self._watch_patience(actor)

    def _watch_patience(self, actor: Actor) -> None:
        """A mailbox that never has room again is a mailbox that nobody serves."""
        drain, refused = actor.drain, 0

        def watched() -> bool:
            nonlocal refused
            taken = drain()
            refused = 0 if taken else refused + 1
            check(5, "a mailbox is served", refused < PATIENCE, "full, time after time")
            return taken

        actor.drain = watched  # type: ignore[method-assign]

    def _between_nodes(self) -> None:
        """A word to another actor may be lost, or come once more in a later turn."""
        engine = self.world.engine
        tell = engine.tell
        self.said.clear()

        def lossy(key: int, message: m.ToActor) -> None:
            if self.loss and isinstance(message, BETWEEN_ACTORS):
                r = self.chance.random()
                if r < self.loss:
                    return
                if r < self.loss + TWICE:
                    self.said[engine._open.number].append((key, message))
            tell(key, message)

        engine.tell = lossy  # type: ignore[method-assign]

    def _committed(self, batch: Batch) -> None:
        """Only now may another node have heard it."""
        self.echoes += self.said.pop(batch.number, ())

    def _echo(self) -> None:
        """A word that was said before comes once more, perhaps after newer ones."""
        key, message = self.echoes.pop(self.chance.randrange(len(self.echoes)))
        self.world.engine.post(key, message)

    # ---- what happens --------------------------------------------------------------------

    def play(self) -> None:
        for _ in range(STEPS):
            self.act()
            if self.chance.random() < READS:
                self._read(self.chance.choice(self.actors))
            self._disk()
            if self.echoes and self.chance.random() < ECHOES:
                self._echo()
            self.trace.append((self.world.clock.mono_us, *sorted(self.world.engine.timers._heap)))
        self.loss = 0.0
        self.settle()
        self.check()

    def _disk(self) -> None:
        """Some commits take long: turns go on meanwhile."""
        store, r = self.world.store, self.chance.random()
        if store._hanging:
            if r < HANG_ENDS:
                store.resume()
        elif r < HANGS:
            store.fate = self._once(Fate.HANG)

    def settle(self) -> None:
        if self.world.store._hanging:
            self.world.store.resume()
        super().settle()

    def _read(self, actor: Actor) -> None:
        peer, id = self.newest.get((actor.address, actor.device), ("", 0))
        if actor.session and peer:
            number = account_number(peer)
            actor.tell(m.MarkRead(actor.device, actor.session, peer, number, id))

    def crash(self) -> None:
        super().crash()
        self._between_nodes()
        self.world.clock.wall_us -= self.chance.choice([0, 1_000, 500_000])

    # ---- what people see -----------------------------------------------------------------

    def shown(self, actor: Actor, item: a.Item) -> None:
        self.trace.append((actor.address, actor.device, item.q, item.kind, item.id, item.extra))
        if item.kind == MESSAGE:
            assert item.body is not None
            key = (item.address, actor.device, actor.address)
            self.on_screen[key].append((item.device, item.body.decode()))
            self.newest[(actor.address, actor.device)] = (item.address, item.id)
            self.seen_ids[(item.address, actor.address)].add(item.id)
        elif item.kind == RECEIPT:
            self._mark(actor, item)

    def _mark(self, actor: Actor, item: a.Item) -> None:
        seen = self.seen_ids[(actor.address, item.address)]
        for id, text in self.sent[(actor.address, item.address)]:
            true = id > item.id or id in seen
            check(1, "two marks are true", true, f"two marks for {text}, which nobody saw")
        device = (actor.address, actor.device, item.address)
        rises = item.id >= self.highest_mark[device]
        check(1, "marks never go back", rises, f"{item.id} after {self.highest_mark[device]}")
        self.highest_mark[device] = item.id
        self.marks_shown[(actor.address, item.address)] = item.id

    # ---- the laws, when everything has come to rest ----------------------------------------

    def check(self) -> None:
        for (_sender, _device, _to), shown in self.on_screen.items():
            texts = [text for _, text in shown]
            twice = {text for text in texts if texts.count(text) > 1}
            check(2, "shown once", not twice, f"shown twice: {sorted(twice)}")
            self._in_order(shown)
        for (sender, to), sent in self.sent.items():
            for actor in self.actors:
                if actor.address == to:
                    self._complete(sender, actor, [text for _, text in sent])
            marked = not sent or self.marks_shown[(sender, to)] >= max(id for id, _ in sent)
            check(2, "told again until heard", marked, f"{sender} misses a second mark")
        for actor in self.actors:
            answered = not actor.unanswered
            check(5, "everything is answered", answered, f"{actor.unanswered} of {actor.address}")
        self._at_rest()
        check_memory(self.world)

    def _in_order(self, shown: Shown) -> None:
        last: dict[int, int] = {}
        for device, text in shown:
            number = int(text.rpartition("-")[2])
            check(3, "in order", number > last.get(device, 0), f"{text} after {last.get(device)}")
            last[device] = number

    def _complete(self, sender: str, actor: Actor, texts: list[str]) -> None:
        shown = {text for _, text in self.on_screen[(sender, actor.device, actor.address)]}
        lost = [text for text in texts if text not in shown]
        check(2, "nothing acknowledged is lost", not lost, f"{actor.address} never saw {lost}")

    def _at_rest(self) -> None:
        tables = self.world.disk.tables
        ledger = [row for rows in tables.sent.values() for row in rows.values()]
        waiting = [row for rows in tables.inbox.values() for row in rows.values()]
        still_open = [row.id for row in ledger if row.state == OPEN]
        check(2, "retried until acknowledged", not still_open, f"open for ever: {still_open}")
        bodies = [row.body for row in ledger] + [row.body for row in waiting]
        left = sum(1 for body in bodies if body is not None)
        check(4, "no body is left", not left, f"{left} bodies are left at rest")
        check(5, "receipts end", not tables.owed, f"owed for ever: {list(tables.owed)}")
        unsaid = [row.id for row in ledger if row.state not in (DELIVERED, READ)]
        check(4, "the ledger has the answer", not unsaid, f"no final state: {unsaid}")


__all__ = ["Broken", "LawPlay"]
