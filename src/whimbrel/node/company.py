"""A node among others: its lease, the bus and the router, begun and ended in the right order.

store -> lease (a number, shards) -> sessions that carry the number -> engine -> bus, router. On the
way down it is the other way round: what is under way is finished, then the shards are handed over,
so that others have them at once, and only then is the bus let go.
Law 6: what is lost is dropped from the engine before anything else happens.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from whimbrel import __version__
from whimbrel.cluster.bus import BusAway, NatsBus
from whimbrel.cluster.leases import LeaseKeeper
from whimbrel.cluster.router import ClusterRouter
from whimbrel.domain.errors import Unready
from whimbrel.domain.ids import SHARDS
from whimbrel.domain.ports import Clock
from whimbrel.node.config import Config
from whimbrel.node.inside import Inside
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.sessions import Sessions
from whimbrel.node.storing import SharedStore
from whimbrel.runtime.engine import Engine

log = structlog.get_logger("whimbrel.cluster")

BUS_S = 15.0  # a node that has not found its NATS by then does not start
SETTLE_S = 0.002
ALONE_S = 30.0  # without a bus for so long: nobody may have one, and it takes shards all the same


class Company:
    """start() raises Unready. ended: this process has lost its number and must be begun anew."""

    def __init__(self, config: Config, folder: Path, clock: Clock, store: SharedStore) -> None:
        self.ended = False
        self.when_ended: Callable[[], None] = lambda: None
        self.keeper = LeaseKeeper(
            config.store.url,
            identity_of(config, folder),
            clock,
            address=config.node.address,
            version=__version__,
        )
        self._config = config
        self._store = store
        store.ownership = self.keeper
        self.number = -1
        self.bus: NatsBus
        self.router: ClusterRouter
        self._engine: Engine | None = None
        self.more: Callable[[], dict[str, float]] = dict  # of what it is asked through HTTP

    async def claim(self) -> int:
        """The number of this node. It owns nothing before connect(): nobody would be answered."""
        await self.keeper.start(waits=True)
        self.number = self.keeper.node.number
        return self.number

    def join(
        self,
        engine: Engine,
        host: Interpreter,
        sessions: Sessions,
        later_us: Callable[[int, Callable[[], None]], object],
        scan: Callable[[], None],
    ) -> ClusterRouter:
        """Put the router between this node's parts. scan: look for open work."""
        loop = asyncio.get_running_loop()
        self._engine = engine
        self.bus = NatsBus(
            self._config.bus,
            self.number,
            lambda pack: self.router.received(pack),
            self._bus_is_back,
        )
        self.router = ClusterRouter(
            self.keeper,
            self.bus,
            Inside(engine, host, later_us),
            sessions.sinks,
            self._store.era,
            loop.call_soon,
        )
        host.cluster = self.router
        self.keeper.may_return = lambda: not 0 < self.bus.away_s < ALONE_S
        self.keeper.quiesce = self._quiet
        self.keeper.settle = self._settled
        self.keeper.watch(lambda gained: scan(), self._lost)
        return self.router

    async def connect(self) -> None:
        """Raises Unready."""
        try:
            await self.bus.start(BUS_S)
        except BusAway as error:
            raise Unready(f"bus.url: {error}") from error
        self.router.start()
        await self.keeper.join()

    def _bus_is_back(self) -> None:
        self.router.bus_is_back()
        self.keeper.look()

    def _lost(self, shards: frozenset[int]) -> None:
        assert self._engine is not None
        self._engine.abandon(lambda account: account % SHARDS in shards)

    async def _quiet(self, shards: frozenset[int]) -> None:
        """What was begun for them has left before they are given away: else the whole batch, with
        everybody else's rows, would have to fail.
        """
        engine = self._engine
        assert engine is not None

        def lost(account: int) -> bool:
            return account % SHARDS in shards

        while engine.commits_under_way(lost) or engine.gathers(lost):  # noqa: ASYNC110
            await asyncio.sleep(SETTLE_S)

    async def _settled(self, shards: frozenset[int]) -> None:
        """No commit that touches them is under way any more. The engine knows no asyncio."""
        engine = self._engine
        assert engine is not None
        while engine.commits_under_way(lambda account: account % SHARDS in shards):  # noqa: ASYNC110
            await asyncio.sleep(SETTLE_S)

    @property
    def is_first(self) -> bool:
        """Has the lowest number of those that are alive."""
        return self.number <= min(self.keeper.nodes(), default=self.number)

    def every_second(self) -> None:
        """A process that slept so long that its number was given away begins anew."""
        if self.keeper.node.number != self.number and not self.ended:
            log.error("another process has this node's number now: this one ends")
            self.ended = True
            self.when_ended()

    async def hand_over(self) -> None:
        """Others take this node's accounts, which its sessions reach over the bus from then on."""
        await self.keeper.hand_over()

    async def stop(self) -> None:
        """Others take over what is left at once."""
        await self.keeper.stop()
        if hasattr(self, "bus"):
            self.router.flush()
            await self.bus.stop()

    # ---- what operators see --------------------------------------------------------------

    def snapshot(self) -> dict[str, float]:
        table = {
            "node_number": float(self.number),
            "node_shards": float(self.keeper.held),
            "node_lease_trouble": float(bool(self.keeper.trouble)),
            "nodes": float(len(self.keeper.nodes())),
        }
        table |= self.more()
        return table | self.router.snapshot() | self.bus.snapshot()


def identity_of(config: Config, folder: Path) -> str:
    """The same after a restart, another one for every process of an installation."""
    if config.node.name:
        return config.node.name
    return f"{socket.gethostname()}:{folder.resolve()}"
