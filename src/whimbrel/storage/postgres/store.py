"""The store on PostgreSQL: one connection writes, one transaction and one round trip a batch.

Implements domain/ports.Store. Batches go in strict order, one at a time; loads go over
connections of their own and are read together when several wait. Not inline: answers come later.
Laws: `done` hears COMMITTED only after the database said that the commit is done, without a
warning; the epochs of all shards of a batch are compared inside its transaction; a commit whose
end nobody knows is UNKNOWN, and nothing is read before the shards were taken again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import asyncpg
import msgspec

from whimbrel.domain.batch import Batch
from whimbrel.domain.errors import Unready
from whimbrel.domain.histogram import Histogram
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.wants import Want
from whimbrel.storage.postgres.connections import connect, refuse_unsafe, words
from whimbrel.storage.postgres.reads import read
from whimbrel.storage.postgres.schema import migrate
from whimbrel.storage.postgres.statements import (
    COMMIT,
    DEAD_LETTERS_TRIM,
    arguments,
    fence_of,
    rare_statements,
)

Done = Callable[[Outcome, str], None]
Loaded = Callable[[list[object] | Exception], None]

READERS = 3
WANTS_MAX = 2_000  # that are read together
READ_S_MAX = 10.0
PACE_S = 0.002  # between the beginnings of two commits,
PACE_ROWS = 200  # unless so many rows wait

_CLOSED = "the store is closed"
FENCED = "another node owns a shard of this batch"
UNKNOWN = "nobody knows whether the commit was done"


class Ownership(Protocol):
    """What the store asks of the keeper of the leases (cluster/leases.py)."""

    async def retake(self) -> None:
        """Take the own shards again, each in a higher epoch, after what may still be committing
        has ended. Raises Unready."""
        ...


class PostgresStatistics(msgspec.Struct):
    """What happened since the start; milliseconds from sending to the answer."""

    commits: int = 0
    rows: int = 0
    failed: int = 0
    fenced: int = 0
    unknown: int = 0
    recoveries: int = 0
    loads: int = 0
    load_ms_max: float = 0.0
    commit_ms_last: float = 0.0
    commit_ms_max: float = 0.0


class PostgresStore:
    """`await open()` before anything else; `close()`, then `await wait_closed()`.

    ownership may be set later, but before the first commit.
    """

    inline = False

    def __init__(
        self,
        url: str,
        limits: Limits,
        ownership: Ownership | None = None,
        *,
        pace_s: float = PACE_S,
        readers: int = READERS,
        insists: bool = False,
    ) -> None:
        """insists: a primary that does not put commits on its disk is refused, at every connect."""
        self.statistics = PostgresStatistics()
        self.commit_times = Histogram()
        self.era = 0
        self.ownership = ownership
        self._url = url
        self._limits = limits
        self._pace_s = pace_s
        self._readers = readers
        self._insists = insists
        self._loop = asyncio.get_running_loop()
        self._db: Any = None
        self._statement: Any = None
        self._waiting: deque[tuple[Batch, Done]] = deque()
        self._to_write = asyncio.Event()
        self._writing = asyncio.Lock()  # held during a commit, and during a recovery
        self._begun_s = 0.0
        self._era_of_readers = 0  # raised by every recovery
        self._loads: asyncio.Queue[tuple[Sequence[Want], Loaded]] = asyncio.Queue()
        self._broken = ""  # why nothing is written until recover() succeeded
        self._warning = ""  # said by the database during the commit under way
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect to the primary, migrate if that is needed. Raises Unready."""
        db = await connect(self._url)
        try:
            self.era = await migrate(db, self._url)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unready(f"the tables cannot be made: {words(error)}") from error
        finally:
            db.terminate()
        await self._connect_writer()
        self._start(self._write_for_ever())
        for _ in range(self._readers):
            self._start(self._read_for_ever())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task of the store died: our bug. Nothing more is written; the log hears why."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = f"internal error: {type(error).__name__}"
            self._loop.call_exception_handler(
                {"message": "a task of the store ended", "exception": error, "task": task}
            )

    async def _connect_writer(self) -> None:
        if self._db is not None:
            self._db.terminate()
            self._db = self._statement = None
        db = await connect(self._url, by_index=True)
        try:
            if self._insists:
                await refuse_unsafe(db, self._url)
            db.add_log_listener(self._warned)
            self._statement = await db.prepare(COMMIT)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            db.terminate()
            raise Unready(f"commits cannot be prepared: {words(error)}") from error
        except Unready:
            db.terminate()
            raise
        self._db = db

    def _warned(self, connection: Any, message: Any) -> None:
        """A commit that was done here but not at the standbys ends with a warning, not an error."""
        self._warning = str(getattr(message, "message", message))

    # ---- committing ----------------------------------------------------------------------

    def commit(self, batch: Batch, done: Done) -> None:
        """Write the batch in one transaction; done(outcome, reason) when it is on disk."""
        if self._closed:
            self._loop.call_soon(done, Outcome.FAILED, _CLOSED)
            return
        self._waiting.append((batch, done))
        self._to_write.set()

    async def _write_for_ever(self) -> None:
        while True:
            await self._to_write.wait()
            while self._waiting:
                async with self._writing:
                    await self._pace(self._waiting[0][0])
                    batch, done = self._waiting.popleft()
                    outcome, text = await self._write(batch)
                if outcome is not Outcome.COMMITTED and not self._broken:
                    self._broken = text
                self._loop.call_soon(done, outcome, text)
            self._to_write.clear()
            if self._closed:
                return

    async def _pace(self, batch: Batch) -> None:
        """Small batches that follow each other closely wait for company; a lone one does not."""
        wait_s = self._begun_s + self._pace_s - self._loop.time()
        if wait_s > 0 and batch.rows < PACE_ROWS and not self._closed:
            await asyncio.sleep(wait_s)
        self._begun_s = self._loop.time()

    async def _write(self, batch: Batch) -> tuple[Outcome, str]:
        statistics = self.statistics
        if self._broken or self._db is None:
            statistics.failed += 1
            return Outcome.FAILED, self._broken or "there is no connection"
        begun = time.perf_counter()
        self._warning = ""
        outcome, text = await self._execute(batch)
        if self._warning and outcome is Outcome.COMMITTED:
            outcome, text = Outcome.UNKNOWN, f"{UNKNOWN}: {self._warning}"
        took = time.perf_counter() - begun
        if outcome is Outcome.COMMITTED:
            statistics.commits += 1
            statistics.rows += batch.rows
            self.commit_times.observe(int(took * 1e6))
            statistics.commit_ms_last = took * 1_000
            statistics.commit_ms_max = max(statistics.commit_ms_max, took * 1_000)
        elif outcome is Outcome.FAILED:
            statistics.failed += 1
        elif outcome is Outcome.FENCED:
            statistics.fenced += 1
        else:
            statistics.unknown += 1
        return outcome, text

    async def _execute(self, batch: Batch) -> tuple[Outcome, str]:
        """No time-out and no cancelling: they would make an outcome unknown that is none."""
        if any(epoch < 0 for epoch in fence_of(batch)[1]):
            return Outcome.FENCED, FENCED
        try:
            values = arguments(batch)
            rare = rare_statements(batch)
        except Exception as error:  # our bug, a value that is none of its column's
            return Outcome.FAILED, words(error)
        try:
            if rare:
                return await self._transaction(batch, values, rare)
            passed = await self._statement.fetchval(*values)
        except Exception as error:
            return self._what_became(error)
        return (Outcome.COMMITTED, "") if passed else (Outcome.FENCED, FENCED)

    async def _transaction(
        self, batch: Batch, values: list[Any], rare: list[tuple[str, list[Any]]]
    ) -> tuple[Outcome, str]:
        """The fence comes first here too: the function is the first statement."""
        db = self._db
        await db.execute("BEGIN")
        try:
            if not await self._statement.fetchval(*values):
                await db.execute("ROLLBACK")
                return Outcome.FENCED, FENCED
            for text, columns in rare:
                await db.execute(text, *columns)
            if batch.dead_letters:
                await db.execute(DEAD_LETTERS_TRIM, self._limits.dead_letters_max)
        except Exception as error:
            outcome, why = self._what_became(error)
            if outcome is Outcome.FAILED:
                await db.execute("ROLLBACK")
            return outcome, why
        if await db.execute("COMMIT") != "COMMIT":
            return Outcome.FAILED, "the database gave up the transaction"
        return Outcome.COMMITTED, ""

    def _what_became(self, error: Exception) -> tuple[Outcome, str]:
        """FAILED only where the database itself said that nothing was written, on a connection
        that lives; or where nothing was sent. All else is unknown.
        """
        text = words(error)
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            return Outcome.FAILED, text  # not sent: a value that could not be encoded
        if (
            isinstance(error, asyncpg.PostgresError)
            and getattr(error, "severity_en", None) in ("ERROR", None)
            and not str(error.sqlstate or "08").startswith(("08", "40003", "57"))
            and not self._db.is_closed()
        ):
            return Outcome.FAILED, text
        return Outcome.UNKNOWN, f"{UNKNOWN}: {text}"

    # ---- reading -------------------------------------------------------------------------

    def load(self, wants: Sequence[Want], done: Loaded) -> None:
        """Answers in the order of the wants, later; or Unready."""
        if self._closed:
            self._loop.call_soon(done, Unready(_CLOSED))
        else:
            self._loads.put_nowait((wants, done))

    async def _read_for_ever(self) -> None:
        """All that waits is read together: many actors wake with a few statements."""
        db: Any = None
        queue = self._loads
        era = self._era_of_readers
        try:
            while True:
                jobs = [await queue.get()]
                if era != self._era_of_readers:  # the primary may be another server by now
                    era = self._era_of_readers
                    if db is not None:
                        db.terminate()
                        db = None
                count = len(jobs[0][0])
                while count < WANTS_MAX and not queue.empty():
                    jobs.append(queue.get_nowait())
                    count += len(jobs[-1][0])
                db = await self._read(db, jobs)
        finally:
            if db is not None:
                db.terminate()

    async def _read(self, db: Any, jobs: list[tuple[Sequence[Want], Loaded]]) -> Any:
        """Answer the jobs; returns the connection for the next ones, None if it broke.

        A connection may have died while it was idle: a read may be tried again on a fresh one.
        """
        wants = [want for some, _ in jobs for want in some]
        begun = time.perf_counter()
        trouble: Exception = Unready("no answer")
        for _ in range(2):
            try:
                if db is None or db.is_closed():
                    db = await connect(self._url, by_index=True)
                async with asyncio.timeout(READ_S_MAX):
                    answers = await read(db, wants)
            except Unready as error:
                trouble = error
                break
            except Exception as error:
                trouble = Unready(f"the database cannot be read: {words(error)}")
                if db is not None:
                    db.terminate()
                db = None
                continue
            self.statistics.loads += len(wants)
            took_ms = (time.perf_counter() - begun) * 1_000
            self.statistics.load_ms_max = max(self.statistics.load_ms_max, took_ms)
            at = 0
            for some, done in jobs:
                self._loop.call_soon(done, answers[at : at + len(some)])
                at += len(some)
            return db
        for _, done in jobs:
            self._loop.call_soon(done, trouble)
        return None

    # ---- recovery and the end ------------------------------------------------------------

    def recover(self, done: Callable[[bool, str], None]) -> None:
        """Connect again and take the own shards again; only then may anything be read."""
        if self._closed:
            self._loop.call_soon(done, False, _CLOSED)
            return
        self._broken = self._broken or "recovering"
        self._start(self._recover(done))

    async def _recover(self, done: Callable[[bool, str], None]) -> None:
        text = ""
        async with self._writing:
            try:
                await self._connect_writer()
                if self.ownership is not None:
                    await self.ownership.retake()
                self._era_of_readers += 1
                self._broken = ""
                self.statistics.recoveries += 1
            except Exception as error:  # whatever it is: whoever waits hears of it
                text = str(error) if isinstance(error, Unready) else words(error)
                self._broken = text
            while self._waiting:
                _, waiting = self._waiting.popleft()
                self._loop.call_soon(waiting, Outcome.FAILED, text or "recovered meanwhile")
        self._loop.call_soon(done, not text, text)

    def tick(self) -> None:
        """Once a second; the database does by itself what this would do."""

    def close(self) -> None:
        """Nothing more is taken; what was handed in is finished (await wait_closed())."""
        self._closed = True
        self._to_write.set()

    async def wait_closed(self) -> None:
        """After close(). Commits under way end; reads are given up."""
        async with self._writing:
            pass
        while self._waiting and not self._broken:
            await asyncio.sleep(0)
            async with self._writing:
                pass
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._loads.empty():
            self._loop.call_soon(self._loads.get_nowait()[1], Unready(_CLOSED))
        db, self._db = self._db, None
        if db is not None:
            try:
                await db.close(timeout=2)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                db.terminate()
