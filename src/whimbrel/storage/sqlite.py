"""The store on one machine: SQLite in WAL mode, one transaction and one fsync a turn.

Implements domain/ports.Store. Rows are executed on the loop's thread, only COMMIT and
checkpoints run in the writer's thread (docs/decisions/0002). Reads run on the loop's thread
on a connection of their own, and see committed rows only.
Laws: `done` is called after the fsync, in the order of the commits; a batch is written only
while the epoch is ours; removed bodies are in no file after the next truncation.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import apsw
import msgspec

from whimbrel.domain.batch import Batch
from whimbrel.domain.errors import Unready
from whimbrel.domain.histogram import Histogram
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.wants import Want
from whimbrel.storage.damage import DamageCheck
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE, Opened, open_database
from whimbrel.storage.reads import read
from whimbrel.storage.reasons import reason
from whimbrel.storage.scrub import checkpoint
from whimbrel.storage.statements import apply, removes_bodies
from whimbrel.storage.writer import WriterThread

Done = Callable[[Outcome, str], None]
Loaded = Callable[[list[object] | Exception], None]

_EPOCH = "SELECT epoch FROM meta"
_CLOSED = "the store is closed"


class Statistics(msgspec.Struct):
    """What happened since the start; milliseconds from binding to the end of the fsync."""

    commits: int = 0
    rows: int = 0
    failed: int = 0
    commit_ms_last: float = 0.0
    commit_ms_max: float = 0.0
    wal_pages: int = 0  # pages written to the log since it was last copied
    checkpoints: int = 0
    checkpoint_ms_last: float = 0.0
    checkpoint_ms_max: float = 0.0
    sent_rows: int = 0  # messages written to sent logs
    inbox_rows: int = 0  # items written to inboxes


def _ignore(text: str) -> None:
    """Nobody asked to hear of damage."""


def _read_together(db: apsw.Connection, wants: Sequence[Want]) -> list[object]:
    """One snapshot for all wants, which also saves SQLite's locking at each statement."""
    db.execute("BEGIN")
    try:
        return [read(db, want) for want in wants]
    finally:
        db.execute("COMMIT")


class SqliteStore:
    """One process per folder. Raises Unready from the constructor.

    post: runs a callable soon on the loop's thread; called from any thread
    (`loop.call_soon_threadsafe`). tick() is to be called about once a second.
    on_damage: hears, on the loop's thread, that the check after an unclean end failed.
    """

    inline = True

    def __init__(
        self,
        folder: Path,
        post: Callable[[Callable[[], None]], object],
        limits: Limits,
        *,
        on_damage: Callable[[str], None] = _ignore,
        truncate_after_s: float = 1.0,
        wal_pages_max: int = 4_000,
        monotonic: Callable[[], float] = time.monotonic,
        vfs: str = "",
        lock: FolderLock | None = None,
    ) -> None:
        """lock: of this folder, if it is held already."""
        self.folder = folder
        self.statistics = Statistics()
        self.commit_times = Histogram()
        self._post = post
        self._limits = limits
        self._on_damage = on_damage
        self._truncate_after_s = truncate_after_s
        self._wal_pages_max = wal_pages_max
        self._monotonic = monotonic
        self._vfs = vfs
        self._waiting: deque[tuple[Batch, Done]] = deque()
        self._busy = False  # the writer's thread has a job
        self._batch: Batch | None = None  # of the commit under way
        self._done: Done | None = None
        self._begun = 0.0
        self._busy_since = 0.0  # when the writer was given its job; 0: it has none
        self._error: Exception | None = None  # of the commit or checkpoint just run
        self._broken = ""  # why nothing is written until recover() succeeded
        self._recovered: Callable[[bool, str], None] | None = None
        self._wipe_due = True  # bodies were removed since the last truncation
        self._truncated_at = monotonic()
        self._closed = False
        self.lock = lock or FolderLock(folder)
        try:
            opened = open_database(folder / FILE, vfs=vfs)
        except BaseException:
            self.lock.release()
            raise
        self._check: DamageCheck | None = None
        self._take(opened)
        self._writer = WriterThread()

    def _take(self, opened: Opened) -> None:
        self._db: apsw.Connection | None = opened.writer
        self._reader: apsw.Connection | None = opened.reader
        self.era = opened.era
        self._epoch = [(opened.epoch,)]
        if opened.unchecked and self._check is None:
            self._check = DamageCheck(self.folder / FILE, self._damage_found, self._vfs)

    def _damage_found(self, text: str) -> None:
        self._post(partial(self._on_damage, text))

    # ---- committing ---------------------------------------------------------------------

    def commit(self, batch: Batch, done: Done) -> None:
        """Write the batch in one transaction; done(outcome, reason) after the fsync."""
        if self._closed:
            self._post(partial(done, Outcome.FAILED, _CLOSED))
        elif self._busy:
            self._waiting.append((batch, done))
        else:
            self._begin(batch, done)

    def _begin(self, batch: Batch, done: Done) -> None:
        """Bind the rows here; hand COMMIT to the writer's thread."""
        outcome, text = self._bind(batch)
        if outcome is not None:
            self._post(partial(done, outcome, text))
            return
        self._busy = True
        self._busy_since = self._begun
        self._batch = batch
        self._done = done
        self._writer.do(self._commit_in_writer)

    def _bind(self, batch: Batch) -> tuple[Outcome | None, str]:
        """Execute the rows; None means that COMMIT is to come."""
        if self._broken or self._db is None:
            return self._failed(self._broken)
        self._begun = time.perf_counter()
        db = self._db
        try:
            if not batch.rows:
                if db.execute(_EPOCH).fetchall() == self._epoch:
                    return Outcome.COMMITTED, ""
                return self._fenced()
            db.execute("BEGIN IMMEDIATE")
            if db.execute(_EPOCH).fetchall() != self._epoch:
                db.execute("ROLLBACK")
                return self._fenced()
            apply(db, batch, self._limits.dead_letters_max)
        except Exception as error:  # also our bug, a value that cannot be bound: write nothing
            self._roll_back()
            return self._failed(reason(error))
        return None, ""

    @property
    def busy_s(self) -> float:
        """How long the writer's thread has been at its present job (commit, checkpoint)."""
        return time.perf_counter() - self._busy_since if self._busy_since else 0.0

    def _failed(self, text: str) -> tuple[Outcome, str]:
        self._broken = text
        self.statistics.failed += 1
        return Outcome.FAILED, text

    def _fenced(self) -> tuple[Outcome, str]:
        self._broken = "another process took over the database"
        return Outcome.FENCED, self._broken

    def _roll_back(self) -> None:
        db = self._db
        try:
            if db is not None and db.in_transaction:
                db.execute("ROLLBACK")
        except apsw.Error as error:  # recover() closes the connection, which rolls back too
            _ = error

    def _commit_in_writer(self) -> None:
        assert self._db is not None
        try:
            self._db.execute("COMMIT")
        except apsw.Error as error:
            self._error = error
        self._begun = time.perf_counter() - self._begun
        self._post(self._commit_ended)

    def _commit_ended(self) -> None:
        """On the loop's thread: tell the result, then go on."""
        batch, done, error = self._batch, self._done, self._error
        assert batch is not None
        assert done is not None
        self._batch = self._done = self._error = None
        if error is not None:
            self._roll_back()
            outcome, text = self._failed(reason(error))
            done(outcome, text)
        else:
            self._count(batch)
            done(Outcome.COMMITTED, "")
        self._go_on()

    def _count(self, batch: Batch) -> None:
        if removes_bodies(batch):
            self._wipe_due = True
        statistics = self.statistics
        statistics.commits += 1
        statistics.rows += batch.rows
        statistics.sent_rows += len(batch.sent)
        statistics.inbox_rows += len(batch.inbox)
        self.commit_times.observe(int(self._begun * 1e6))
        milliseconds = self._begun * 1_000
        statistics.commit_ms_last = milliseconds
        statistics.commit_ms_max = max(statistics.commit_ms_max, milliseconds)
        if self._db is not None:
            pages = self._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)[0]
            statistics.wal_pages += pages

    def _go_on(self) -> None:
        """The writer is free: recovery first, then a checkpoint if one is due, then commits."""
        self._busy = False
        self._busy_since = 0.0
        if self._closed:
            return
        if self._recovered is not None:
            self._start_recovery()
            return
        if self._checkpoint_due():
            self._start_checkpoint()
            return
        while self._waiting and not self._busy:
            self._begin(*self._waiting.popleft())

    # ---- checkpoints --------------------------------------------------------------------

    def tick(self) -> None:
        """Once a second: wipe what was removed, also when nothing is written any more."""
        if not self._busy and not self._closed:
            self._go_on()

    def _checkpoint_due(self) -> bool:
        if self._broken:
            return False
        return self._truncation_due() or self.statistics.wal_pages > self._wal_pages_max

    def _truncation_due(self) -> bool:
        return self._wipe_due and self._monotonic() - self._truncated_at >= self._truncate_after_s

    def _start_checkpoint(self) -> None:
        self._busy = True
        truncate = self._truncation_due()
        self._begun = self._busy_since = time.perf_counter()
        self._writer.do(partial(self._checkpoint_in_writer, truncate))

    def _checkpoint_in_writer(self, truncate: bool) -> None:
        assert self._db is not None
        complete = False
        try:
            complete = checkpoint(self._db, truncate=truncate, vfs=self._vfs)
        except (apsw.Error, OSError) as error:
            self._error = error
        self._begun = time.perf_counter() - self._begun
        self._post(partial(self._checkpoint_ended, truncate, complete))

    def _checkpoint_ended(self, truncate: bool, complete: bool) -> None:
        error, self._error = self._error, None
        statistics = self.statistics
        if error is not None:
            # The rows are safe in the log, but this disk cannot be trusted with more.
            self._broken = reason(error)
        if complete:
            statistics.wal_pages = 0
            statistics.checkpoints += 1
            statistics.checkpoint_ms_last = self._begun * 1_000
            statistics.checkpoint_ms_max = max(
                statistics.checkpoint_ms_max, statistics.checkpoint_ms_last
            )
        if truncate:
            self._wipe_due = not complete
            self._truncated_at = self._monotonic()
        elif not complete:
            statistics.wal_pages = 0  # a reader was in the way: not again at every commit
        self._go_on()

    # ---- reading ------------------------------------------------------------------------

    def load(self, wants: Sequence[Want], done: Loaded) -> None:
        """Answers in the order of the wants, before it returns; or Unready."""
        answers: list[object] | Exception
        db = self._reader
        if db is None:
            answers = Unready(self._broken or _CLOSED)
        else:
            try:
                answers = _read_together(db, wants)
            except apsw.Error as error:
                answers = Unready(f"the database cannot be read: {reason(error)}")
        done(answers)

    # ---- recovery and the end -----------------------------------------------------------

    def recover(self, done: Callable[[bool, str], None]) -> None:
        """Close, reopen, checkpoint, check, probe the disk and raise the epoch."""
        if self._closed:
            self._post(partial(done, False, _CLOSED))
            return
        self._recovered = done
        self._broken = self._broken or "recovering"
        if not self._busy:
            self._start_recovery()

    def _start_recovery(self) -> None:
        self._busy = True
        self._busy_since = time.perf_counter()
        while self._waiting:
            self._post(partial(self._waiting.popleft()[1], *self._failed(self._broken)))
        if self._reader is not None:
            self._reader.close(True)
            self._reader = None
        self._writer.do(self._recover_in_writer)

    def _recover_in_writer(self) -> None:
        opened: Opened | None = None
        text = ""
        try:
            self._let_go()
            opened = open_database(self.folder / FILE, vfs=self._vfs, probe=True)
        except Unready as error:
            text = str(error)
        except (apsw.Error, OSError) as error:
            text = reason(error) if isinstance(error, apsw.Error) else str(error)
        self._post(partial(self._recovery_ended, opened, text))

    def _let_go(self) -> None:
        """Truncate the log, then close the connection; raises while the disk is still broken.

        A commit whose fsync failed may stand in the log, unseen by this connection, which
        knows where the log ends; a new one would find it. Truncating drops it, so that
        "failed" stays true. Therefore the connection is kept until that has worked.
        """
        db = self._db
        if db is None:
            return
        if db.in_transaction:
            db.execute("ROLLBACK")
        if not checkpoint(db, truncate=True, vfs=self._vfs):
            raise apsw.BusyError("another program reads the database")
        self._db = None
        db.close(True)

    def _recovery_ended(self, opened: Opened | None, text: str) -> None:
        done, self._recovered = self._recovered, None
        if opened is None:
            self._broken = text
        elif self._closed:
            opened.reader.close(True)
            opened.writer.close(True)
        else:
            self._take(opened)
            self._broken = ""
            self._wipe_due = True
            self.statistics.wal_pages = 0
        if done is not None:
            done(opened is not None and not self._closed, _CLOSED if self._closed else text)
        self._go_on()

    def close(self, keep_lock: bool = False) -> None:
        """Finish what was handed in, checkpoint, mark the end as clean, give the folder free.

        keep_lock: the folder is not given free, and `lock` is the caller's.
        """
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        if self._error is not None:
            self._broken = reason(self._error)
            self._roll_back()
        while self._waiting:
            batch, done = self._waiting.popleft()
            self._post(partial(done, *self._commit_here(batch)))
        if self._check is not None:
            self._check.stop()
        if self._reader is not None:
            self._reader.close(True)
            self._reader = None
        self._close_database()
        if not keep_lock:
            self.lock.release()

    def _commit_here(self, batch: Batch) -> tuple[Outcome, str]:
        """The writer's thread has ended: bind and commit on this one."""
        outcome, text = self._bind(batch)
        if outcome is not None:
            return outcome, text
        assert self._db is not None
        try:
            self._db.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            return self._failed(reason(error))
        return Outcome.COMMITTED, ""

    def _close_database(self) -> None:
        db, self._db = self._db, None
        if db is None:
            return
        try:
            if not self._broken:
                db.execute("UPDATE meta SET clean = 1 WHERE epoch = ?", self._epoch[0])
                checkpoint(db, truncate=True, vfs=self._vfs)
        except (apsw.Error, OSError) as error:
            _ = error  # the next start finds an unclean end and checks
        db.close(True)
