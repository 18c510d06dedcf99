"""A node: the production engine, rules, interpreter and sessions over a played disk and time.

Between nodes the production router (cluster/router.py) talks over a played bus; leases.py keeps and
takes shards by the production rules (cluster/shards.py).
"""

from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

from sim.client import DOMAIN
from sim.disk import SimStore
from sim.leases import SimLeases
from sim.network import Line
from sim.time import MS, SECOND, NodeClock
from whimbrel.cluster.ports import NodeInfo
from whimbrel.cluster.router import ClusterRouter
from whimbrel.domain.answers import ToSession
from whimbrel.domain.ids import NODES_MAX
from whimbrel.domain.messages import Alarm, ExpireInbox, ToActor
from whimbrel.domain.ports import Router
from whimbrel.domain.wants import OwnersExpired, OwnersOpen
from whimbrel.edge.framed import FramedSession
from whimbrel.edge.session import Numbers
from whimbrel.edge.xmpp.features import features_for
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.logic import user as user_rules
from whimbrel.node.clock import ClockWatch
from whimbrel.node.inside import Inside
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.sessions import Sessions
from whimbrel.protocol.native import MsgpackCodec
from whimbrel.runtime.behaviour import Behaviours
from whimbrel.runtime.engine import Engine

if TYPE_CHECKING:
    from sim.world import SimWorld

TICK_US = 100 * MS
SCAN_TICKS = 600  # open work is looked for every minute
EXPIRY_TICKS = 6_000

Changed = Callable[[frozenset[int]], None]


class SimEdge:
    """What all sessions of a node share (edge.session.Edge), without a socket."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node
        self.router: Router = node
        self.numbers: Numbers = node.sessions
        self.limits = node.limits
        self.counts: Counter[str] = Counter()
        self.now_s = node.clock.monotonic_us() / 1e6
        self.lines: dict[Any, Line] = {}  # by session, or XMPP stream

    def keep(self, address: str, password: str) -> bytes:
        return b""

    def wall_us(self) -> int:
        return self.node.clock.now_us()

    def ready(self) -> bool:
        return self.node.engine.ready

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.node.after(int(delay_s * SECOND), call)

    def may_log_in(self, address: str, account: int) -> bool:
        return True

    def login_failed(self, address: str, account: int) -> None:
        self.counts["logins-failed"] += 1

    def authenticated(self, session: Any) -> None:
        self.counts["logins"] += 1

    def ended(self, session: Any) -> None:
        self.lines.pop(session, None)


class SimShards:
    """The shard map as everybody can read it in the database: always fresh, and a hint only.

    That a shard has moved is heard from the other nodes, as far as their hints arrive.
    """

    def __init__(self, node: "SimNode") -> None:
        self.sim = node
        self.node = NodeInfo(node.number, node.incarnation)
        self._heard: dict[int, int] = {}  # shard -> epoch
        self._watchers: list[tuple[Changed, Changed]] = []  # gained, moved

    def epoch(self, shard: int) -> int:
        return self.sim.leases.epoch(shard)

    def owner(self, shard: int) -> int:
        return self.sim.world.disk.shards[shard].owner

    def known_epoch(self, shard: int) -> int:
        return self.sim.world.disk.shards[shard].epoch

    def correct(self, shard: int, owner: int, epoch: int) -> None:
        if epoch > self._heard.get(shard, 0) and self.epoch(shard) < 0:
            self._heard[shard] = epoch
            for _, moved in self._watchers:
                moved(frozenset((shard,)))

    def nodes(self) -> dict[int, NodeInfo]:
        return {node.number: node.shards.node for node in self.sim.world.nodes if node.up}

    def watch(self, gained: Changed, lost: Changed, moved: Changed = lambda shards: None) -> None:
        self._watchers.append((gained, moved))

    def taken(self, shard: int) -> None:
        for gained, moved in self._watchers:
            gained(frozenset((shard,)))
            moved(frozenset((shard,)))


class SimBus:
    """Packs as datagrams. Now and then one is so small that big messages go in parts."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node
        chance = Random(node.world.plan.seed * 8 + node.number)  # one of its own
        self.pack_bytes_max = 1_048_576 if chance.random() < 0.8 else 400
        self.open = True

    def send(self, node: int, pack: bytes) -> bool:
        world = self.node.world
        for number in range(len(world.nodes)) if node < 0 else (node,):
            if number != self.node.number and number < len(world.nodes):
                self._send(world.nodes[number], pack)
        return True

    def _send(self, other: "SimNode", pack: bytes) -> None:
        network = self.node.world.network
        network.between(
            self.node.number, other.number, lambda: other.router.received(pack), len(pack)
        )


class SimNode:
    """Also the router of its sessions, and the cluster as its interpreter sees it."""

    def __init__(self, world: "SimWorld", number: int, seed: int) -> None:
        self.world = world
        self.number = number
        self.chance = Random(seed)
        self.limits = world.limits
        self.clock = NodeClock(world.time, self.chance.randrange(-50, 50) * MS)
        self.up = False
        self.incarnation = 0
        self.frozen_until_us = 0
        self._held: list[tuple[int, Callable[[], None]]] = []  # while it is stopped
        self.cut_off = False  # from the database
        self.leases: SimLeases

    # ---- life ----------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process over the same disk: everything in memory is gone."""
        world = self.world
        self.up = True
        self.incarnation += 1
        self.leases = SimLeases(self)
        self.ticks = 0
        inline = self.chance.random() < 0.5
        self.store = SimStore(world.disk, self, self.chance, inline)
        self.sessions = Sessions(self.clock.now_us(), self.number)
        self.edge = SimEdge(self)
        self.hub = Hub(
            self.edge,
            DOMAIN,
            XmppSettings(),
            features_for(self.limits),
            lambda address: sha256(address.encode()).digest(),
            lambda: b"",
        )
        self.host = Interpreter(
            self.sessions,
            self.limits,
            self.clock,
            self.store.era,
            lambda number, pin: None,
            cluster=self,
        )
        self.engine = Engine(
            self.store,
            self.host,
            Behaviours([user_rules], lambda key: 0),
            self.limits,
            self.soon,
            self.after,
        )
        self.host.engine = self.engine
        self.shards = SimShards(self)
        inside = Inside(self.engine, self.host, self.after)
        self.router = ClusterRouter(
            self.shards,
            SimBus(self),
            inside,
            self.sessions.sinks,
            self.store.era,
            self.soon,
            len(world.disk.shards),
        )
        self.router.start()
        if world.versions is not None:
            world.versions.booted(self)
        self.watch = ClockWatch(self.clock)
        world.story.add("boot", self.number)
        self.leases.begin()
        self._tick()

    def crash(self, why: str = "") -> None:
        """kill -9: nothing is said to anybody; connections break."""
        if not self.up:
            return
        self.world.story.add("crash", self.number, why)
        self.up = False
        self.incarnation += 1
        for line in list(self.edge.lines.values()):
            line.is_closed = True
            line.cut()

    # ---- callbacks of this process -------------------------------------------------------

    def soon(self, call: Callable[[], None]) -> None:
        self.after(10, call)

    def after(self, delay_us: int, call: Callable[[], None]) -> None:
        incarnation = self.incarnation
        self.world.time.after(delay_us, lambda: self.if_still(incarnation, call))

    def if_still(self, incarnation: int, call: Callable[[], None]) -> None:
        """A dead process does nothing; a stopped one does it when it goes on."""
        if incarnation != self.incarnation or not self.up:
            return
        if self._held or self.frozen_until_us > self.world.time.now_us:
            if not self._held:
                self.world.time.at(self.frozen_until_us, self._thaw)
            self._held.append((incarnation, call))
            return
        call()

    def _thaw(self) -> None:
        """It goes on as if nothing had happened, with everything that came meanwhile, in order."""
        if self.frozen_until_us > self.world.time.now_us:
            self.world.time.at(self.frozen_until_us, self._thaw)
            return
        held, self._held = self._held, []
        for incarnation, call in held:
            if incarnation == self.incarnation and self.up:
                call()

    def arrive(self, delay_us: int, call: Callable[[], None]) -> None:
        """From another node: whichever process runs here then."""

        def now() -> None:
            if self.up:
                self.if_still(self.incarnation, call)

        self.world.time.after(delay_us, now)

    # ---- the cluster (ports.Cluster, ports.Router) ---------------------------------------

    def owns(self, account: int) -> bool:
        return self.tenure(account) >= 0

    def tell(self, account: int, message: ToActor) -> bool:
        self.world.laws.told(self, message)
        return self.router.tell(account, message)

    def push(self, session: int, answer: ToSession) -> None:
        self.router.push(session, answer)

    def reply(self, number: int, answer: ToSession | None) -> None:
        self.router.reply(number, answer)

    def forgot(self) -> None:
        self.router.forgot()

    # ---- leases --------------------------------------------------------------------------

    def reaches_database(self) -> bool:
        return not self.cut_off

    def tenure(self, account: int) -> int:
        return self.leases.epoch(self.world.disk.shard_of(account))

    def known(self, touched: dict[int, int]) -> dict[int, int]:
        """The epochs of a batch by shard: the oldest under which one of its actors ran."""
        known: dict[int, int] = {}
        for account in sorted(touched):
            number = self.world.disk.shard_of(account)
            known[number] = min(touched[account], known.get(number, touched[account]))
        return known

    def holds(self, known: dict[int, int]) -> bool:
        """The fence of a commit, on the database's side."""
        shards = self.world.disk.shards
        for number, epoch in known.items():
            if shards[number].epoch != epoch or shards[number].owner != self.number:
                return False
        return True

    def retake(self) -> None:
        """After a commit of which nobody knows the end: a higher epoch fences it out."""
        self.leases.retake()

    def gained(self, shard: int) -> None:
        self.shards.taken(shard)
        self._scan_soon()

    # ---- time ----------------------------------------------------------------------------

    def _tick(self) -> None:
        """What node/housekeeping.py does on the real loop."""
        self.after(TICK_US, self._tick)
        self.ticks += 1
        now_us = self.clock.monotonic_us()
        self.leases.look_at_the_clock()
        self.engine.tick(now_us)
        if self.ticks % 10:
            return
        self.edge.now_s = now_us / 1e6
        for session in list(self.edge.lines):
            session.sweep()
        self.hub.sweep()
        self.engine.sweep(now_us)
        self.world.laws.bounded(self)
        if self.ticks % SCAN_TICKS == 0:
            self._scan(0)
        self.watch.look()
        every = EXPIRY_TICKS if self.limits.inbox_expiry_s > 3_600 else 200
        if self.ticks % every == 0 and not self.watch.jumped:
            self._expire()

    def _scan_soon(self) -> None:
        self.after(50 * MS, lambda: self._scan(0))

    def _scan(self, after: int) -> None:
        """Owners of open work are woken although nobody addresses them."""

        def then(answers: Any) -> None:
            if isinstance(answers, list):
                for owner in answers[0]:
                    if self.owns(owner):
                        self.engine.post(owner, Alarm())

        if self.engine.ready:
            self.store.load([OwnersOpen(after, 10_000)], then)

    def _expire(self) -> None:
        before_us = self.clock.now_us() - self.limits.inbox_expiry_s * SECOND

        def then(answers: Any) -> None:
            if isinstance(answers, list):
                for owner in answers[0]:
                    if self.owns(owner):
                        self.engine.post(owner, ExpireInbox(before_us))

        if self.engine.ready:
            self.store.load([OwnersExpired(before_us, 10_000)], then)

    # ---- connections ---------------------------------------------------------------------

    def accept(self, line: Line) -> None:
        line.session = FramedSession(self.edge, MsgpackCodec(), line)
        self.edge.lines[line.session] = line

    def accept_xmpp(self, line: Line) -> None:
        line.session = XmppStream(self.hub, line, None)
        self.edge.lines[line.session] = line
        line.session.opened()

    def ask(
        self, account: int, make: Callable[[int], ToActor], then: Callable[[Any], None]
    ) -> bool:
        """As node/asking.py does for HTTP: whoever owns the account answers."""
        if not self.engine.ready:
            return False
        self.world.replies += 1
        number = self.world.replies * NODES_MAX + self.number
        self.host.replies[number] = then
        if not self.tell(account, make(number)):
            del self.host.replies[number]
            return False
        self.after(10 * SECOND, lambda: self.host.give_up(number))
        return True
