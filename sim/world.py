"""A run: nodes, network, disk and people, driven through a plan, then left alone and judged.

Read this first. `run(plan)` gives a Verdict; the same plan and the same code give the same
story to the last byte. Faults stop at the plan's end; then everything pending must be
delivered within CALM_S seconds of simulated time (liveness), and the laws are judged. Long, because
everything that can happen to a world has its line here.
"""

import copy
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import structlog

from sim.client import FIRST, XmppClient, identity_of
from sim.device import SimDevice, hash_of
from sim.disk import SharedDisk
from sim.laws import Broken, Laws
from sim.network import Line, Network
from sim.node import SimNode
from sim.plan import Plan, Step
from sim.story import Story
from sim.time import MS, SECOND, Time
from sim.versions import Versions
from whimbrel.domain.answers import Registered
from whimbrel.domain.messages import Register
from whimbrel.protocol import wire
from whimbrel.storage.backup import DEVICES_SKIPPED
from whimbrel.storage.memory import Fate

CALM_S = 600
LOOK_S = 5


@dataclass
class Verdict:
    plan: Plan
    events: int
    messages: int
    acknowledged: int
    shown: int
    checks: int
    lost_datagrams: int
    digest: str
    broken: Broken | None
    stack: str
    story: list[str]

    @property
    def fine(self) -> bool:
        return self.broken is None


class SimWorld:
    def __init__(
        self, plan: Plan, keep_story: bool = False, versions: Versions | None = None
    ) -> None:
        self.plan = plan
        self.versions = versions  # of the rules, that come and go
        self.limits = plan.limits
        self.time = Time()
        self.story = Story(lambda: self.time.now_us, keep_story)
        self.chance = Random(plan.seed ^ 0x5EED)
        self.laws = Laws(self)
        self.network = Network(self, Random(plan.seed ^ 0xBEEF))
        self.disk = SharedDisk(plan.shards)
        self.replies = 0
        self.small_inboxes = plan.limits.inbox_messages_max < 1_000
        self.backup: Any = None
        self.blocks: set[tuple[str, str]] = set()
        self.written: dict[tuple[str, int, int], str] = {}  # identity -> to whom
        self.names = [f"{name}" for name in ("ann", "ben", "cem", "dan", "eve", "fay")]
        self.nodes = [SimNode(self, n, plan.seed * 31 + n) for n in range(plan.nodes)]
        self.devices: list[SimDevice] = []
        self.clients: list[XmppClient] = []

    # ---- beginning -----------------------------------------------------------------------

    def begin(self) -> None:
        for node in self.nodes:
            node.boot()
        self.time.run_until(3 * SECOND)
        for person in range(self.plan.people):
            self.register(self.names[person], person not in self.plan.no_phone)
        self.time.run_until(8 * SECOND)
        for person in self.plan.tablets:
            self.link(self.names[person])
        self.time.run_until(10 * SECOND)

    def register(self, account: str, phone: bool = True) -> None:
        """Sign up (again): every older device of the account loses its key. XMPP clients use it."""
        key = f"key {len(self.devices)} of {account}"
        seed = self.chance.getrandbits(32)

        def then(answer: Any) -> None:
            if isinstance(answer, Registered):
                if phone:
                    self._new_device(account, answer.device, key, seed, alone=True)
                self._new_clients(account, key)
            else:  # the answer was lost: nobody has the key
                self.time.after(SECOND, lambda: self.register(account, phone))

        if any(device.account == account for device in self.devices):
            self.laws.signing_up.add(account)
        self._ask(account, lambda n: Register(account, hash_of(key), "phone", n), then)

    def _ask(self, account: str, make: Callable[[int], Any], then: Callable[[Any], None]) -> None:
        from whimbrel.domain.ids import account_number

        number = account_number(account)
        for node in self.nodes:
            if node.up and node.ask(number, make, then):
                return
        self.time.after(SECOND, lambda: self._ask(account, make, then))

    def _new_device(self, account: str, number: int, key: str, seed: int, alone: bool) -> None:
        if alone:
            for old in self.devices:
                if old.account == account:
                    self.laws.revoked.add(old.name)
        device = SimDevice(self, account, number, key, seed)
        self.devices.append(device)
        self.story.add("registered", device.name)
        device.connect()

    def _new_clients(self, account: str, key: str) -> None:
        person = self.names.index(account)
        for managed in [managed for who, managed in self.plan.clients if who == person]:
            number = FIRST + len(self.clients)
            seed = self.chance.getrandbits(32)
            client = XmppClient(self, account, number, key, seed, managed)
            self.clients.append(client)
            self.story.add("client", client.name)
            client.connect()

    def write_as(self, client: XmppClient, to: str) -> None:
        """A message of this client, under its next number."""
        c = len(client.sent) + 1
        self.written[(client.account, client.number, c)] = to
        client.write(to, f"{c} of {client.name}")

    def link(self, account: str) -> None:
        """A second device, by way of the first one."""
        from whimbrel.domain.answers import LinkDone
        from whimbrel.domain.ids import account_number
        from whimbrel.domain.messages import Link

        alive = self.of(account)
        if not alive or len(alive) > 3:
            return
        first = alive[0]
        key = f"key {len(self.devices)} of {account}"
        seed = self.chance.getrandbits(32)
        line = first.line
        if line is None or not first.welcomed or line.is_closed:
            return
        session, node = line.session, line.node
        deliver = session.deliver

        def heard(answer: Any) -> None:
            if isinstance(answer, LinkDone):
                if answer.device and all(key != device.key for device in self.devices):
                    self._new_device(account, answer.device, key, seed, alone=False)
                return
            deliver(answer)

        self._catch(line, heard)
        node.tell(
            account_number(account), Link(first.number, session.number, hash_of(key), "tablet", 1)
        )

    def _catch(self, line: Line, heard: Callable[[Any], None]) -> None:
        """Answers to this session pass through `heard` from now on."""
        line.node.sessions.sinks[line.session.number] = _Tap(line.session, heard)

    def connect(self, device: SimDevice | XmppClient, node: SimNode) -> Line:
        line = Line(self.network, device, node)

        def arrived() -> None:
            if line.is_closed:
                return
            if isinstance(device, XmppClient):
                node.accept_xmpp(line)
            else:
                node.accept(line)

        line._carry_to_node(arrived)
        return line

    def of(self, account: str) -> list[SimDevice]:
        return [d for d in self.devices if d.account == account and self.laws._was_there(d)]

    # ---- the plan ------------------------------------------------------------------------

    def run(self) -> None:
        self.begin()
        start_us = self.time.now_us
        for step in self.plan.steps:
            self.time.at(start_us + step.at_us, lambda step=step: self.do(step))  # type: ignore[misc]
        self.time.run_until(start_us + self.plan.end_us)
        self.calm()
        end_us = self.time.now_us + CALM_S * SECOND
        calm_looks = 0
        while self.time.now_us < end_us and calm_looks < 2:  # what expires stirs it up again
            self.time.run_until(self.time.now_us + LOOK_S * SECOND)
            calm_looks = 0 if self.laws.pending() else calm_looks + 1
        self.laws.judge()

    def calm(self) -> None:
        """No more faults: what is broken is mended, everybody comes back."""
        self.story.add("calm")
        network = self.network
        network.loss = network.twice = network.late = 0.0
        network.apart.clear()
        for node in self.nodes:
            node.cut_off = False
            node.frozen_until_us = min(node.frozen_until_us, self.time.now_us)
            if not node.up:
                node.boot()
            node.store.fates.clear()
            node.store.oversleep_us = 0
            node.store.reason = ""
            node.store.die_after_write = False
        for device in self.devices:
            device.wake()
            device.back()
        for client in self.clients:
            client.steals_from = None
            client.wake()
            client.return_()
            client.back()

    def do(self, step: Step) -> None:
        self.story.add("do", step)
        _STEPS[step.kind](self, step)

    def _device(self, who: int, salt: int) -> SimDevice | XmppClient | None:
        account = self.names[who]
        alive: list[SimDevice | XmppClient] = [*self.of(account)]
        alive += [client for client in self.clients if client.account == account]
        return alive[salt % len(alive)] if alive else None

    # ---- steps of people -----------------------------------------------------------------

    def on_write(self, step: Step) -> None:
        device = self._device(step.who, step.at_us)
        if device is None:
            return
        to = self.names[step.other]
        for _ in range(step.amount):
            c = len(device.sent) + 1
            self.written[(device.account, device.number, c)] = to
            device.write(to, f"{c} of {device.name}")

    def on_cut(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None and device.line is not None:
            device.line.cut()

    def on_vanish(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None:
            device.vanish(step.amount, silently=step.kind.endswith("silently"))

    def on_twice(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None:
            device.twice()

    def on_lazy(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None:
            device.lazy = True
            self.time.after(step.amount, device.wake)

    def on_lag(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None:
            device.lag_us = step.amount // 3

    def on_read(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None and device.shown:
            sender, number, c, text = device.shown[-1]
            id = self.laws.acknowledged.get(identity_of(text) or (sender, number, c))
            if id:
                device.read_all(sender, id)

    def on_typing(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if device is not None:
            device.command(wire.Typing(self.names[step.other], True))
            device.command(wire.Watch(self.names[step.other]))

    def on_reregister(self, step: Step) -> None:
        self.register(self.names[step.who])

    def on_link(self, step: Step) -> None:
        self.link(self.names[step.who])

    def on_block(self, step: Step) -> None:
        device = self._device(step.who, step.amount)
        if isinstance(device, SimDevice):
            other = self.names[step.other]
            device.command(wire.Block(other, True))
            self.blocks.add((device.account, other))
            self.time.after(step.amount, lambda: self._unblock(device, other))

    def _unblock(self, device: SimDevice, other: str) -> None:
        """Until some device of the account could say it."""
        for each in self.of(device.account):
            if each.welcomed:
                each.command(wire.Block(other, False))
                return

    # ---- steps of XMPP clients ---------------------------------------------------------------

    def _client(self, step: Step) -> XmppClient | None:
        return self.clients[step.amount % len(self.clients)] if self.clients else None

    def on_away(self, step: Step) -> None:
        client = self._client(step)
        if client is not None:
            client.away(step.amount)

    def on_leave(self, step: Step) -> None:
        client = self._client(step)
        if client is not None:
            client.leave(step.amount // 3)

    def on_stall(self, step: Step) -> None:
        """It reads nothing for a while; then comes what the server still had for it."""
        client = self._client(step)
        if client is not None and client.line is not None:
            client.line.stalled_until_us = self.time.now_us + step.amount
            client.line.unsent_bytes_max = 4_000

    def on_steal(self, step: Step) -> None:
        """Tries to take over the session of another account."""
        client = self._client(step)
        others = [c for c in self.clients if client is not None and c.account != client.account]
        if client is not None and others and client.line is not None:
            client.steals_from = others[step.at_us % len(others)]
            client.token = ""  # its own session is left behind
            client.line.cut()

    # ---- steps of machines ---------------------------------------------------------------

    def on_lose_phone(self, step: Step) -> None:
        """Somebody's phone is gone; what it has sent must arrive all the same."""
        device = self._device(step.who, step.amount)
        if isinstance(device, SimDevice) and sum(not d.lost for d in self.devices) > 2:
            device.vanish(0, silently=True)
            device.lost = True

    def on_strange(self, step: Step) -> None:
        """To somebody who does not exist."""
        device = self._device(step.who, step.amount)
        if device is not None:
            device.write("nobody", "is there anybody?")

    def on_backup(self, step: Step) -> None:
        """A consistent copy, while everything runs."""
        self.backup = copy.deepcopy(self.disk.tables)

    def on_restore(self, step: Step) -> None:
        """The machine is gone; yesterday's copy opens a new era."""
        if self.backup is None or len(self.nodes) > 1 or self.laws.restored:
            return
        for node in self.nodes:
            node.crash("restored")
        self.disk.tables = self.backup
        for number, row in list(self.backup.accounts.items()):  # as storage/backup.py does
            skipped = msgspec.structs.replace(row, last_device=row.last_device + DEVICES_SKIPPED)
            self.backup.accounts[number] = skipped
        self.disk.era += 1
        self.laws.restore()
        for node in self.nodes:
            node.boot()

    def on_crash(self, step: Step) -> None:
        node = self.nodes[step.who]
        if node.up:
            node.crash("kill -9")
            self.time.after(step.amount, lambda: None if node.up else node.boot())

    def on_crash_in_commit(self, step: Step) -> None:
        node = self.nodes[step.who]
        if node.up:
            node.store.die_after_write = True
            self.time.after(step.amount, lambda: None if node.up else node.boot())

    def on_disk_full(self, step: Step) -> None:
        node = self.nodes[step.who]
        if node.up:
            store = node.store
            store.fates = [Fate.FAIL]
            store.reason = "no space left"

            def room() -> None:
                store.reason = ""

            self.time.after(step.amount, room)

    def on_disk_hangs(self, step: Step) -> None:
        node = self.nodes[step.who]
        if node.up:
            node.store.hang_us = step.amount

    def on_unknown(self, step: Step) -> None:
        node = self.nodes[step.who]
        if node.up:
            written = (step.amount // MS) % 2
            node.store.fates = [Fate.UNKNOWN_WRITTEN if written else Fate.UNKNOWN_LOST]

    def on_freeze(self, step: Step) -> None:
        """SIGSTOP: it wakes up as if nothing had happened."""
        node = self.nodes[step.who]
        node.frozen_until_us = self.time.now_us + 2 * step.amount

    def on_oversleep(self, step: Step) -> None:
        """SIGSTOP in the middle of a commit that ends when the lease is just over."""
        self.nodes[step.who].store.oversleep_us = max(1, step.amount)

    def on_clock(self, step: Step) -> None:
        node = self.nodes[step.who]
        node.clock.skew_us += (step.amount - 5 * SECOND) * (1 if step.other % 2 else -1)

    def on_poison(self, step: Step) -> None:
        """A rule raises once: the actor is dropped in the middle of its work."""
        for node in self.nodes:
            cells = [cell for cell in node.engine.cells.values() if cell.state] if node.up else []
            if cells:
                cell = cells[step.amount // MS % len(cells)]
                node.engine.post(cell.key, _Trip())
                return

    def on_database_away(self, step: Step) -> None:
        node = self.nodes[step.who]
        node.cut_off = True

        def back() -> None:
            node.cut_off = False

        self.time.after(2 * step.amount, back)

    def on_loss(self, step: Step) -> None:
        network = self.network
        network.loss, network.twice, network.late = 0.3, 0.2, 0.2

        def better() -> None:
            network.loss = network.twice = network.late = 0.0

        self.time.after(step.amount, better)

    def on_partition(self, step: Step) -> None:
        if step.who == step.other:
            return
        pair = frozenset((step.who, step.other))
        self.network.apart.add(pair)
        self.time.after(2 * step.amount, lambda: self.network.apart.discard(pair))

    def on_sleep(self, step: Step) -> None:
        """Every idle actor leaves memory at once."""
        for node in self.nodes:
            if node.up:
                node.engine.sweep(node.clock.monotonic_us() + 3_600 * SECOND)


class _Trip:
    """A message that no rule knows: whoever gets it stumbles."""

    request = True


class _Tap:
    __slots__ = ("_heard", "_session")

    def __init__(self, session: Any, heard: Callable[[Any], None]) -> None:
        self._session = session
        self._heard = heard

    @property
    def account(self) -> int:
        return int(self._session.account)

    def deliver(self, answer: Any) -> None:
        self._heard(answer)

    def flush(self) -> None:
        self._session.flush()


_STEPS: dict[str, Callable[[SimWorld, Step], None]] = {
    "write": SimWorld.on_write,
    "cut": SimWorld.on_cut,
    "vanish": SimWorld.on_vanish,
    "vanish-silently": SimWorld.on_vanish,
    "twice": SimWorld.on_twice,
    "lazy": SimWorld.on_lazy,
    "lag": SimWorld.on_lag,
    "read": SimWorld.on_read,
    "typing": SimWorld.on_typing,
    "reregister": SimWorld.on_reregister,
    "link": SimWorld.on_link,
    "block": SimWorld.on_block,
    "away": SimWorld.on_away,
    "leave": SimWorld.on_leave,
    "stall": SimWorld.on_stall,
    "steal": SimWorld.on_steal,
    "crash": SimWorld.on_crash,
    "crash-in-commit": SimWorld.on_crash_in_commit,
    "disk-full": SimWorld.on_disk_full,
    "disk-hangs": SimWorld.on_disk_hangs,
    "unknown": SimWorld.on_unknown,
    "freeze": SimWorld.on_freeze,
    "oversleep": SimWorld.on_oversleep,
    "clock": SimWorld.on_clock,
    "poison": SimWorld.on_poison,
    "database-away": SimWorld.on_database_away,
    "loss": SimWorld.on_loss,
    "partition": SimWorld.on_partition,
    "sleep": SimWorld.on_sleep,
    "lose-phone": SimWorld.on_lose_phone,
    "strange": SimWorld.on_strange,
    "backup": SimWorld.on_backup,
    "restore": SimWorld.on_restore,
}


def run(plan: Plan, keep_story: bool = False, versions: Versions | None = None) -> Verdict:
    """Play the plan. A broken law, or any exception, ends it and is told, not raised."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # faults are played here
    world = SimWorld(plan, keep_story, versions)
    broken: Broken | None = None
    stack = ""
    try:
        world.run()
    except Broken as found:
        broken = found
    except Exception as error:
        broken = Broken(7, "an exception came through", repr(error))
        stack = traceback.format_exc()
    if broken is not None:
        world.story.add("BROKEN", broken)
    laws = world.laws
    return Verdict(
        plan,
        world.time.events,
        len(world.written),
        len(laws.acknowledged),
        sum(map(len, laws.screens.values())),
        laws.checks,
        world.network.lost,
        world.story.digest,
        broken,
        stack,
        world.story.lines,
    )
