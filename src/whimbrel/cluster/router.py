"""The router of a node among others: what is for an actor goes to the node that owns it.

Sessions live where their connection is, actors where their shard is. The edge tells actors
through tell(); the interpreter tells and pushes through the same object; the bus hands in what
other nodes send. All that is said to one node within a turn travels as one pack.

Laws: nothing here promises anything. The map is a hint: a node that was wrongly told passes it on
once and says who the owner is; what slips through meets the fence of the commit (law 6). What is
lost is said again by actors and sessions, which hear `unknown session` when their shard has moved
or the bus was away. Law 5: requests are not taken while the bus is full, so that their session
stops reading; all else is dropped and counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import structlog

from whimbrel.cluster import packs
from whimbrel.cluster.packs import Entry, Head, NotAPack, Owners, Packer, Unpacker
from whimbrel.cluster.ports import NOBODY, ShardMap
from whimbrel.domain.answers import ToSession, UnknownSession
from whimbrel.domain.effects import Push, Reply, Tell
from whimbrel.domain.ids import SHARDS, node_of
from whimbrel.domain.messages import ToActor
from whimbrel.domain.ports import Bus, SessionSink

log = structlog.get_logger("whimbrel.cluster")

EVERYBODY = -1
HOPS_MAX = 1  # a message is passed on once, then its sender has to say it again
LOST_AFTER_US = 3_000_000
MOVED_US = 1_000  # from the first hint that a shard has moved until it is acted on
SEND_BACK_US = 100_000
WOKEN_AT_ONCE = 2_000  # sessions told of a move in one go; the next ones a moment later


class Inside(Protocol):
    """What the router needs of its own node."""

    def post(self, account: int, message: ToActor) -> bool:
        """To an actor that lives here. False: its mailbox is full, or the node is not ready."""
        ...

    def busy(self, account: int, message: ToActor) -> Sequence[Any]:
        """What the sender hears when the mailbox is full: tells, pushes, replies."""
        ...

    def replied(self, number: int, answer: ToSession | None) -> None: ...

    def later(self, delay_us: int, call: Callable[[], None], /) -> None: ...

    def try_again(self, concerned: Callable[[int], bool], /) -> None:
        """Actors here say again what such accounts have not answered."""
        ...


class ClusterRouter:
    """Is the ports Router and Cluster at once."""

    def __init__(
        self,
        shards: ShardMap,
        bus: Bus,
        inside: Inside,
        sinks: dict[int, SessionSink],
        era: int,
        soon: Callable[[Callable[[], None]], object],
        count: int = SHARDS,
    ) -> None:
        """count: of shards; the simulator plays with fewer."""
        self.shards = shards
        self.number = shards.node.number
        self.bus = bus
        self.inside = inside
        self.era = era
        self.counts: Counter[str] = Counter()
        self._count = count
        self._epoch = shards.epoch
        self._sinks = sinks
        self._soon = soon
        self._packers: dict[int, Packer] = {}
        self._flushing = False
        self._moved: set[int] = set()  # shards that have another owner, not told here yet
        self._sent_back: set[int] = set()  # sessions that will hear `unknown session`
        self._unpacker = Unpacker()
        self._incarnations: dict[int, int] = {}  # the newest process of each node

    def start(self) -> None:
        """From now on: what moves is told to everybody it concerns."""
        self.shards.watch(self._gained, lambda lost: None, self.moved)

    def _gained(self, shards: frozenset[int]) -> None:
        self.announce((shard, self._epoch(shard)) for shard in sorted(shards))

    # ---- out -----------------------------------------------------------------------------

    def owns(self, account: int) -> bool:
        return self._epoch(account % self._count) >= 0

    def tenure(self, account: int) -> int:
        return self._epoch(account % self._count)

    def tell(self, account: int, message: ToActor) -> bool:
        """False: not taken; whoever has it keeps it and tries again."""
        shard = account % self._count
        if self._epoch(shard) >= 0:
            return self.inside.post(account, message)
        owner = self.shards.owner(shard)
        if owner in (NOBODY, self.number):  # nobody's yet, or lost a moment ago
            self.counts["no_owner"] += 1
            return False
        if not self.bus.open:
            self.counts["bus_full"] += 1
            if message.request:
                return False
        self.counts["tells_out"] += 1
        self._send(owner, packs.entry_of(packs.TELL, account, message))
        return True

    def push(self, session: int, answer: ToSession) -> None:
        there = node_of(session)
        if there != self.number:  # else: it has just ended
            self.counts["pushes_out"] += 1
            self._send(there, packs.entry_of(packs.PUSH, session, answer))

    def reply(self, number: int, answer: ToSession | None) -> None:
        there = node_of(number)
        if there != self.number:
            self._send(there, packs.entry_of(packs.REPLY, number, answer))

    def announce(self, shards: Iterable[tuple[int, int]]) -> None:
        """This node owns these shards now: (shard, epoch)."""
        taken = tuple(shards)
        if taken:
            self._send(EVERYBODY, packs.entry_of(packs.OWNERS, 0, Owners(self.number, taken)))

    def forgot(self) -> None:
        """Sessions elsewhere attach to our actors again: a commit failed and they lost their
        memory, or what they said has not arrived.
        """
        self._send(EVERYBODY, packs.entry_of(packs.FORGOT, 0, None))

    def _send(self, node: int, entry: bytes) -> None:
        packer = self._packers.get(node)
        if packer is None:
            packer = self._packers[node] = Packer(
                self.number, self.shards.node.incarnation, self.era
            )
        for pack in packer.add(entry, self.bus.pack_bytes_max):
            self._carry(node, pack)
        if not self._flushing:
            self._flushing = True
            self._soon(self.flush)

    def flush(self) -> None:
        """One pack for each node that something was said to."""
        self._flushing = False
        for node, packer in self._packers.items():
            if packer:
                self._carry(node, packer.take())

    def _carry(self, node: int, pack: bytes) -> None:
        if self.bus.send(node, pack):
            self.counts["packs_out"] += 1
        else:
            self.counts["packs_dropped"] += 1

    # ---- in ------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """One pack of another node. Whatever it holds, this node goes on."""
        try:
            head = self._unpacker.open(data)
        except NotAPack:
            self.counts["not_a_pack"] += 1
            return
        if head.node == self.number or not self._is_current(head):
            return
        self.counts["packs_in"] += 1
        woken: dict[int, SessionSink] = {}
        for entry in self._unpacker.entries(head):
            if entry.kind == packs.TELL:
                self._told(head, entry)
            elif entry.kind == packs.PUSH:
                self._pushed(entry, woken)
            elif entry.kind == packs.REPLY:
                self.inside.replied(entry.target, packs.answer_of(entry))
            elif entry.kind == packs.OWNERS:
                self._heard(head, entry)
            elif entry.kind == packs.FORGOT:
                self._forgotten_by(head.node)
            else:
                self.counts["unknown_entries"] += 1
        for sink in woken.values():
            sink.flush()

    def _is_current(self, head: Head) -> bool:
        """Not of another era, and not of a process that another one has replaced."""
        if head.era != self.era:
            self.counts["other_era"] += 1
            return False
        newest = self._incarnations.get(head.node, -1)
        if head.incarnation < newest:
            self.counts["old_incarnation"] += 1
            return False
        self._incarnations[head.node] = head.incarnation
        return True

    def _told(self, head: Head, entry: Entry) -> None:
        account = entry.target
        if not self.owns(account):
            self._misrouted(head, entry)
            return
        message = packs.message_of(entry)
        if message is None:
            self.counts["unknown_messages"] += 1
            return
        self.counts["tells_in"] += 1
        if not self.inside.post(account, message) and message.request:
            for effect in self.inside.busy(account, message):
                if isinstance(effect, Tell):
                    self.tell(effect.to, effect.message)
                elif isinstance(effect, Push):
                    self.push(effect.session, effect.answer)
                elif isinstance(effect, Reply):
                    self.reply(effect.reply, effect.answer)

    def _misrouted(self, head: Head, entry: Entry) -> None:
        """Not ours: pass it on once, if somebody else's, and tell the sender whose it is."""
        self.counts["misrouted"] += 1
        shard = entry.target % self._count
        owner = self.shards.owner(shard)
        if owner in (NOBODY, self.number):
            self._send_back(entry)
            return
        known = Owners(owner, ((shard, self.shards.known_epoch(shard)),))
        self._send(head.node, packs.entry_of(packs.OWNERS, 0, known))
        if entry.hops < HOPS_MAX and self.bus.open and owner != head.node:
            self.counts["passed_on"] += 1
            self._send(owner, packs.passed_on(entry))
        else:
            self._send_back(entry)

    def _send_back(self, entry: Entry) -> None:
        """Nobody is there to take it: if a session said it, that says again where it stands."""
        session = getattr(packs.message_of(entry), "session", 0)
        if not session:
            return
        first = not self._sent_back
        self._sent_back.add(session)
        if first:
            self.inside.later(SEND_BACK_US, self._send_all_back)

    def _send_all_back(self) -> None:
        """Once a session and a moment, however much of it came: each attaches again with all its
        open submits, and each of them would be sent back again for as long as nobody owns them.
        """
        sessions, self._sent_back = self._sent_back, set()
        for session in sorted(sessions):
            self.push(session, UnknownSession())

    def _pushed(self, entry: Entry, woken: dict[int, SessionSink]) -> None:
        sink = self._sinks.get(entry.target)
        if sink is None:
            self.counts["no_session"] += 1
            return
        answer = packs.answer_of(entry)
        if answer is None:
            self.counts["unknown_messages"] += 1
            return
        self.counts["pushes_in"] += 1
        sink.deliver(answer)
        woken[entry.target] = sink

    def _heard(self, head: Head, entry: Entry) -> None:
        """A hint for the map. The new owner's own word is more: from now on it answers, which a
        look at the database did not say; what was told it before then has been lost.
        """
        owners = packs.owners_of(entry)
        if owners is None:
            self.counts["unknown_messages"] += 1
            return
        for shard, epoch in owners.shards:
            if 0 <= shard < self._count:
                self.shards.correct(shard, owners.owner, epoch)
        if owners.owner == head.node:
            self.moved(shard for shard, _ in owners.shards)

    # ---- sessions whose actor is elsewhere now -------------------------------------------

    def moved(self, shards: Iterable[int]) -> None:
        """These shards have another owner: their sessions attach there (DELIVERY.md), and who
        waits for an answer from there asks again. All that is heard within a moment together.
        """
        first = not self._moved
        self._moved.update(shards)
        if first and self._moved:
            self.inside.later(MOVED_US, self._tell_moved)

    def _tell_moved(self) -> None:
        changed, self._moved = frozenset(self._moved), set()
        count = self._count
        self._wake(lambda account: account % count in changed)
        self.inside.try_again(lambda account: account % count in changed)

    def bus_is_back(self) -> None:
        """What was said meanwhile is lost: sessions of actors elsewhere say where they stand,
        and those of our actors on other nodes, some of which were back before us. Once more when
        an actor takes what it pushed just before the interruption for lost (logic/devices.py).
        """
        self._attach_all()
        self.inside.later(LOST_AFTER_US, self._attach_all)

    def _attach_all(self) -> None:
        self._wake(lambda account: not self.owns(account))
        self.inside.try_again(lambda account: not self.owns(account))
        self.forgot()

    def _forgotten_by(self, node: int) -> None:
        owner = self.shards.owner
        count = self._count
        self._wake(lambda account: owner(account % count) == node)
        self.inside.try_again(lambda account: owner(account % count) == node)

    def _wake(self, concerned: Callable[[int], bool]) -> None:
        sinks = [s for s in self._sinks.values() if s.account and concerned(s.account)]
        self._tell_unknown(sinks)

    def _tell_unknown(self, sinks: list[SessionSink]) -> None:
        now, rest = sinks[:WOKEN_AT_ONCE], sinks[WOKEN_AT_ONCE:]
        for sink in now:
            sink.deliver(UnknownSession())
            sink.flush()
        if rest:
            self.inside.later(100_000, lambda: self._tell_unknown(rest))

    # ---- what operators see --------------------------------------------------------------

    def snapshot(self) -> dict[str, float]:
        table: dict[str, float] = {f"router_{name}": n for name, n in self.counts.items()}
        table["router_parts_given_up"] = self._unpacker.given_up
        return table
