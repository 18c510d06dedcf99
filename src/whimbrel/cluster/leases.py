"""Keeps this node's lease and shards: asks the database, carries out what shards.py decides.

Implements cluster/ports.ShardMap for the router and the engine's host, and Ownership for the
store. One task renews every 3 s, gives and takes; a timer on the node's own clock drops everything
when the lease may be over, whatever that task waits for.
Laws: 6 one owner; what is dropped is told before anything else is done. 8: decisions are in
shards.py, so that the simulator runs them too.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import structlog

from whimbrel.cluster import table
from whimbrel.cluster.ports import NOBODY, NodeInfo
from whimbrel.cluster.shards import LEASE_S, MARGIN_S, RENEW_S, Holdings, Plan, Renewed, plan
from whimbrel.domain.errors import Unready
from whimbrel.domain.ports import Clock
from whimbrel.storage.postgres.connections import connect, words

log = structlog.get_logger("whimbrel.cluster")

SLICE = 256  # shards given or taken in one transaction
AGAIN_S = 0.5  # until the next try for shards that could not be had
RENEW_S_MAX = 3.0  # then the renewal has failed, and another one is tried
RECONNECT_S = 0.5
JOIN_S_MAX = 5.0
LOOK_S = 0.005
QUIET_S_MAX = 2.0  # how long shards that are given may finish what they had begun
DROP_S_MAX = 2.0  # how long shards that are given wait for commits under way

Changed = Callable[[frozenset[int]], None]
_TROUBLE = (
    Unready,
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a transaction that was given up in the middle of a statement
)


async def _at_once(shards: frozenset[int]) -> None:
    """Nothing is under way here."""


class LeaseKeeper:
    """`await start()` claims a number, renews and takes; `await stop()` hands everything over.

    A node that serves others only a while later starts with `waits` and calls join() then; one that
    goes on to serve its sessions for a while calls hand_over() before stop().

    quiesce: waits, before shards that others shall have are told as lost, until nothing of them is
    gathered or being committed; epoch() says already that they are not ours, so nothing new begins.
    settle: waits until no commit that touches these shards is under way; they were told as lost.
    may_return: False while a node that owns nothing shall not have shards again: others would give
    it theirs, and could not reach it.
    """

    def __init__(
        self,
        url: str,
        identity: str,
        clock: Clock,
        *,
        address: str = "",
        version: str = "",
        lease_s: float = LEASE_S,
        renew_s: float = RENEW_S,
        margin_s: float = MARGIN_S,
    ) -> None:
        self.quiesce: Callable[[frozenset[int]], Awaitable[None]] = _at_once
        self.settle: Callable[[frozenset[int]], Awaitable[None]] = _at_once
        self.may_return: Callable[[], bool] = lambda: True
        self.trouble = ""  # why the lease is not renewed
        self.node = NodeInfo(-1, 0, address, version)
        self._url = url
        self._identity = identity
        self._clock = clock
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._margin_s = margin_s
        self._loop = asyncio.get_running_loop()
        self._db: Any = None
        self._me = table.Me(-1, 0)
        self._holdings = Holdings(-1)
        self._watchers: list[tuple[Changed, Changed, Changed]] = []
        self._look = asyncio.Event()  # there may be something to take
        self._asking = asyncio.Lock()  # one transaction at a time on the connection
        self._late_timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._waits = False  # this node does not serve yet: it gives and takes nothing
        self._begun = self._done = 0  # rounds, counted
        self._pending = False  # something could not be given or taken at the last try
        self._expiry_s = lease_s

    # ---- the shard map -------------------------------------------------------------------

    def epoch(self, shard: int) -> int:
        return self._holdings.epoch(shard, self._clock.monotonic_us())

    def owner(self, shard: int) -> int:
        return self._holdings.owners[shard]

    def known_epoch(self, shard: int) -> int:
        return self._holdings.known[shard]

    def correct(self, shard: int, owner: int, epoch: int) -> None:
        self._holdings.correct(shard, owner, epoch)
        self._tell_moved()

    def nodes(self) -> Mapping[int, NodeInfo]:
        return self._holdings.nodes

    def watch(self, gained: Changed, lost: Changed, moved: Changed = lambda shards: None) -> None:
        self._watchers.append((gained, lost, moved))

    @property
    def held(self) -> int:
        """How many shards this node owns."""
        return len(self._holdings.epochs)

    def _gained(self, shards: frozenset[int]) -> None:
        if shards:
            log.info("owns shards", node=self._me.number, gained=len(shards), owned=self.held)
            for gained, _, _ in self._watchers:
                gained(shards)
            self._tell_moved()

    def _tell_moved(self) -> None:
        shards = self._holdings.moved()
        if shards:
            for _, _, moved in self._watchers:
                moved(shards)

    def _lost(self, shards: frozenset[int]) -> None:
        if shards:
            log.info("lets go of shards", node=self._me.number, lost=len(shards), owned=self.held)
            for _, lost, _ in self._watchers:
                lost(shards)

    # ---- life ----------------------------------------------------------------------------

    async def start(self, waits: bool = False) -> None:
        """Raises Unready. When it returns, this node has its number and all it could take; with
        `waits` its number only, until join().
        """
        self._waits = waits
        try:
            await self._claim()
            await self._round()
        except (*_TROUBLE, table.Lost) as error:
            raise Unready(f"no lease for this node: {_why(error)}") from error
        self._task = self._loop.create_task(self._keep())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task died: our bug. Without it nothing is renewed, so the lease runs out."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.trouble = f"internal error: {type(error).__name__}"
            self._loop.call_exception_handler(
                {"message": "the keeper of leases ended", "exception": error, "task": task}
            )

    async def stop(self, patience_s: float = 5.0) -> None:
        """Hand over to others without waiting for the lease to end, then end it."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(patience_s):
                await self._give(tuple(self._holdings.epochs))
                async with self._asking:
                    await table.leave(await self._connection(), self._me)
        except (*_TROUBLE, table.Lost) as error:
            log.warning("shards were not handed over; their lease runs out", reason=_why(error))
        self._forget_timer()
        self._lost(self._holdings.dropped(list(self._holdings.epochs)))
        if self._db is not None:
            self._db.terminate()
            self._db = None

    async def join(self) -> None:
        """This node serves from now on: it takes what is free, and others give it its share.

        Raises Unready. Returns when it has taken what was free.
        """
        try:
            async with self._asking, asyncio.timeout(RENEW_S_MAX):
                await table.set_draining(await self._connection(), self._me.number, False)
        except _TROUBLE as error:
            raise Unready(f"this node cannot take its shards: {_why(error)}") from error
        self._waits = False
        begun = self._begun
        self._look.set()
        with contextlib.suppress(TimeoutError):  # then it goes on by itself
            async with asyncio.timeout(JOIN_S_MAX):
                while self._done <= begun:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)

    async def hand_over(self, patience_s: float = 5.0) -> None:
        """Others have what this node owned, and it knows who; it keeps its sessions. Returns at
        once if there is nobody to take anything.
        """
        try:
            async with asyncio.timeout(patience_s):
                await self.drain()
                while self._others_serve() and self._is_owner():  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)
        except (*_TROUBLE, table.Lost) as error:
            log.warning("not everything was handed over in time", reason=_why(error))

    def _others_serve(self) -> bool:
        nodes = self._holdings.nodes.items()
        return any(n != self._me.number and not info.draining for n, info in nodes)

    def _is_owner(self) -> bool:
        """Of anything, or nobody is yet of what it had."""
        owners = self._holdings.owners
        return bool(self.held) or NOBODY in owners or self._me.number in owners

    async def drain(self) -> None:
        """Others shall have what this node owns; it goes on to serve sessions."""
        async with self._asking:
            await table.set_draining(await self._connection(), self._me.number, True)
        self._look.set()

    async def _claim(self) -> None:
        async with self._asking:
            db = await self._connection()
            try:
                self._me = await table.claim(
                    db,
                    self._identity,
                    self.node.address,
                    self.node.version,
                    self._lease_s,
                    self._waits,
                )
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise Unready(f"no number for this node: {words(error)}") from error
        self.node = NodeInfo(
            self._me.number, self._me.incarnation, self.node.address, self.node.version
        )
        if self._holdings.node != self._me.number:
            self._holdings = Holdings(
                self._me.number,
                lease_us=int(self._lease_s * 1e6),
                margin_us=int(self._margin_s * 1e6),
            )

    async def _connection(self) -> Any:
        if self._db is None or self._db.is_closed():
            db = await connect(self._url)
            await db.add_listener(table.CHANNEL, self._told)
            self._db = db
        return self._db

    def _told(self, *_: object) -> None:
        self._look.set()

    def look(self) -> None:
        """Something has changed here: renew, give and take now."""
        self._look.set()

    async def _keep(self) -> None:
        while not self._stopping:
            await self._pause()
            if not self.held and not self.may_return():
                self.trouble = "it owns nothing, and waits for the bus before it joins again"
                continue
            try:
                await self._round()
                self.trouble = ""
            except table.Lost:
                self._lost(self._holdings.dropped(list(self._holdings.epochs)))
                await self._claim_again()
            except Exception as error:  # whatever it is, the lease has to be renewed
                self._failed(error)
                await asyncio.sleep(RECONNECT_S)

    async def _claim_again(self) -> None:
        """Stopped for so long that its number was given away: it begins as a new process would."""
        log.warning("the lease had been over for long; another number is asked for")
        try:
            await self._claim()
        except _TROUBLE as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.trouble = _why(error)
        log.warning("the lease was not renewed", reason=self.trouble)
        if self._db is not None:
            self._db.terminate()
            self._db = None
        self._look.set()

    async def _pause(self) -> None:
        """Until the next renewal is due, another lease may be over, or somebody gave something."""
        wait_s = min(self._renew_s, max(self._expiry_s + 0.02, 0.02))
        if self._pending:
            wait_s = min(wait_s, AGAIN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):  # wait_for() of 3.11 may swallow the end of stop()
                await self._look.wait()
        self._look.clear()

    # ---- a round -------------------------------------------------------------------------

    async def _round(self) -> None:
        """Renew, drop what is not ours, give what others shall have, take what is free."""
        self._begun += 1
        begun, waits = self._begun, self._waits
        asked_us = self._clock.monotonic_us()
        async with self._asking, asyncio.timeout(RENEW_S_MAX):
            answer = await table.renew(await self._connection(), self._me, self._lease_s)
        self._renewed(asked_us, answer)
        self._pending = False
        if not waits:
            held = self._holdings.epochs.keys()
            await self._carry_out(plan(self._me.number, answer.nodes, answer.owners, held))
        self._done = begun

    def _renewed(self, asked_us: int, answer: Renewed) -> None:
        now_us = self._clock.monotonic_us()
        self._expiry_s = answer.expiry_s
        self._lost(self._holdings.renewed(asked_us, now_us, answer))
        self._tell_moved()
        self._set_timer(now_us)

    async def _carry_out(self, todo: Plan) -> None:
        for start in range(0, len(todo.give), SLICE):
            await self._give(todo.give[start : start + SLICE])
        for start in range(0, len(todo.take), SLICE):
            await self._take(todo.take[start : start + SLICE])

    async def _give(self, shards: tuple[int, ...]) -> None:
        """Stop them here, let commits under way end, then free them: in this order."""
        some = frozenset(shards)
        self._holdings.closing |= some & self._holdings.epochs.keys()
        with contextlib.suppress(TimeoutError):  # then what is gathered fails, and is said again
            async with asyncio.timeout(QUIET_S_MAX):
                await self.quiesce(some)
        self._lost(self._holdings.dropped(some))
        try:
            async with asyncio.timeout(DROP_S_MAX):
                await self.settle(some)
        except TimeoutError:  # a commit hangs; the fence will have to refuse it
            self._pending = True
            return
        async with self._asking, asyncio.timeout(RENEW_S_MAX):
            try:
                await table.give(await self._connection(), self._me, shards)
            except asyncpg.LockNotAvailableError:
                self._pending = True
                return
        self._lost(self._holdings.dropped(some))  # a recovery may have taken them again meanwhile

    async def _take(self, shards: tuple[int, ...]) -> None:
        """All at once; one by one if another node's commit still holds some of them."""
        if not await self._try_to_take(shards) and len(shards) > 1:
            for shard in shards:
                await self._try_to_take((shard,))

    async def _try_to_take(self, shards: tuple[int, ...]) -> bool:
        asked_us = self._clock.monotonic_us()
        async with self._asking, asyncio.timeout(RENEW_S_MAX):
            try:
                epochs = await table.take(await self._connection(), self._me, shards)
            except asyncpg.LockNotAvailableError:
                self._pending = True
                return False
        self._gained(self._holdings.taken(asked_us, self._clock.monotonic_us(), epochs))
        self._pending = self._pending or len(epochs) < len(shards)
        return True

    # ---- the end of a lease --------------------------------------------------------------

    def _set_timer(self, now_us: int) -> None:
        self._forget_timer()
        left_s = max(0.0, (self._holdings.until_us - now_us) / 1e6)
        self._late_timer = self._loop.call_later(left_s, self._late)

    def _forget_timer(self) -> None:
        if self._late_timer is not None:
            self._late_timer.cancel()
            self._late_timer = None

    def _late(self) -> None:
        """Before the database lets anybody take over: stop everything, answer nobody."""
        now_us = self._clock.monotonic_us()
        if now_us < self._holdings.until_us:
            self._set_timer(now_us)
            return
        lost = self._holdings.late(now_us)
        if lost:
            log.error("the lease could not be renewed in time: all shards stop", lost=len(lost))
        self._lost(lost)

    # ---- for the store -------------------------------------------------------------------

    async def retake(self) -> None:
        """After a commit of which nobody knows the end. Raises Unready."""
        asked_us = self._clock.monotonic_us()
        try:
            async with self._asking, asyncio.timeout(RENEW_S_MAX):
                answer, epochs = await table.retake(
                    await self._connection(), self._me, self._lease_s
                )
        except table.Lost:
            self._lost(self._holdings.dropped(list(self._holdings.epochs)))
            self._look.set()
            return
        except _TROUBLE as error:
            self._failed(error)
            raise Unready(f"the own shards cannot be taken again: {_why(error)}") from error
        self._lost(self._holdings.dropped(self._holdings.epochs.keys() - epochs.keys()))
        for shard, epoch in epochs.items():
            if shard in self._holdings.epochs:
                self._holdings.epochs[shard] = epoch
        self._renewed(asked_us, answer)
        self._gained(self._holdings.taken(asked_us, self._clock.monotonic_us(), epochs))


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, Unready) else words(error)
