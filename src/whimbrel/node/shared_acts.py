"""The audit log of administration for several nodes: every node shows what was done at any.

An act is written in the node's own file first (acts.py: on its disk before the administrator hears
of it), then into the table `act`. While the database is away the file has it alone, and the log
says so. Law: as in acts.py; the table keeps the newest ROWS_MAX.
"""

from typing import Any

import structlog

from whimbrel.domain.errors import Unready
from whimbrel.edge.http.shapes import ActLine, ActPage
from whimbrel.node.acts import ActLog, kept
from whimbrel.storage.postgres.side import Side

log = structlog.get_logger("whimbrel.acts")

LOCK = 0x57484D41  # "WHMA": who writes an act; numbers rise over all nodes
ROWS_MAX = 100_000
TRIM_EVERY = 500  # acts of one node
_WRITE = """INSERT INTO act SELECT greatest($1::bigint, coalesce(max(id), 0) + 1),
 $1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text FROM act"""
_TRIM = "DELETE FROM act WHERE id <= (SELECT id FROM act ORDER BY id DESC OFFSET $1 LIMIT 1)"
_PAGE = """SELECT id, at_us, who, what, "on", result, source FROM act
 WHERE $1::bigint = 0 OR id < $1 ORDER BY id DESC LIMIT $2"""


class SharedActs:
    """edge.http.office.Acts."""

    def __init__(self, own: ActLog, side: Side) -> None:
        self._own = own
        self._side = side
        self._written = 0

    async def record(self, who: str, what: str, on: str, result: str, source: str) -> None:
        await self._own.record(who, what, on, result, source)
        texts = [kept(text).replace("\0", "") for text in (who, what, on, result, source)]
        try:
            await self._side.together(lambda db: self._write(db, texts))
        except Unready as error:
            log.error("an administrative act stands in this node's file only", reason=str(error))

    async def _write(self, db: Any, texts: list[str]) -> None:
        await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await db.execute(_WRITE, self._own.now_us(), *texts)
        self._written += 1
        if self._written % TRIM_EVERY == 0:
            await db.execute(_TRIM, ROWS_MAX)

    async def page(self, before: int, limit: int) -> ActPage:
        """The newest first; before 0: from the end. Raises Unready."""
        rows = await self._side.fetch(_PAGE, before, limit + 1)
        acts = [ActLine(*row) for row in rows[:limit]]
        return ActPage(acts, acts[-1].id if len(rows) > limit else 0)
