"""The ledger of uploads in the PostgreSQL of several nodes: each knows every file.

An upload is in the hands of the node that gave its slot (`home`), and only that one appends to it,
finishes it and removes it: two at once would mix its bytes. Law: as in ledger.py. The quota of an
account is looked at by each node for itself, so several slots asked for in the same moment on
different nodes may each pass it once.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import msgspec
import structlog
from msgspec.structs import replace

from whimbrel.domain.errors import Unready
from whimbrel.domain.media import GONE, OPEN, READY, Facts, Upload, Used
from whimbrel.services.media.ledger import DAY_US
from whimbrel.storage.postgres.side import Side

log = structlog.get_logger("whimbrel.media")

_COLUMNS = (
    "token_hash, link, owner, state, size, type, name, sha256, recipients, made_us, expires_us,"
    " facts, home"
)
_MARKS = ", ".join(f"${n}" for n in range(1, 14))
_ADD = f"INSERT INTO upload({_COLUMNS}) VALUES({_MARKS}) ON CONFLICT DO NOTHING"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Facts).decode
MOVED = ".moved"


class SharedLedger:
    """domain.media.Ledger. home: this node's identity, which it has again after a restart."""

    def __init__(self, side: Side, home: str, everywhere: bool = True) -> None:
        """everywhere: all nodes reach the bytes, so each may remove what is past its time."""
        self._side = side
        self._home = home
        self._whose = "home <> ''" if everywhere else "home = $2"

    async def add(self, row: Upload) -> None:
        await self._side.fetch(_ADD, *_values(row))

    async def by_token(self, token_hash: bytes) -> Upload | None:
        return await self._one("token_hash = $1", token_hash)

    async def by_link(self, link: bytes) -> Upload | None:
        return await self._one("link = $1", link)

    async def used(self, owner: int, now_us: int) -> Used:
        rows = await self._side.fetch(
            f"""SELECT coalesce(sum(size) FILTER (WHERE state < {GONE}), 0)::bigint,
 coalesce(sum(size) FILTER (WHERE made_us > $2), 0)::bigint,
 count(*) FILTER (WHERE made_us > $2), count(*) FILTER (WHERE state = {OPEN})
 FROM upload WHERE owner = $1""",
            owner,
            now_us - DAY_US,
        )
        return Used(*rows[0])

    async def promised_bytes(self) -> int:
        """Of this node's disk."""
        rows = await self._side.fetch(
            f"SELECT coalesce(sum(size), 0)::bigint FROM upload WHERE state = {OPEN} AND home = $1",
            self._home,
        )
        return int(rows[0][0])

    async def finish(self, token_hash: bytes, facts: Facts, expires_us: int) -> None:
        await self._side.fetch(
            f"""UPDATE upload SET state = {READY}, size = $1, facts = $2, expires_us = $3
 WHERE token_hash = $4 AND state = {OPEN}""",
            facts.size,
            _encode(facts),
            expires_us,
            token_hash,
        )

    async def gone(self, tokens: Sequence[bytes], now_us: int, size: int = -1) -> None:
        async def work(db: Any) -> None:
            # What a removed file showed (name, thumbnail) goes at once.
            await db.execute(
                f"""UPDATE upload SET state = {GONE}, gone_us = $1, facts = NULL, name = '',
 size = CASE WHEN $2::bigint < 0 THEN size ELSE $2::bigint END WHERE token_hash = ANY($3)""",
                now_us,
                size,
                list(tokens),
            )
            await db.execute(
                """DELETE FROM confirmed WHERE link IN
 (SELECT link FROM upload WHERE token_hash = ANY($1))""",
                list(tokens),
            )

        await self._side.together(work)

    async def confirm(self, link: bytes, account: int) -> int:
        async def work(db: Any) -> int:
            await db.execute(
                "INSERT INTO confirmed VALUES($1, $2) ON CONFLICT DO NOTHING", link, account
            )
            count: int = await db.fetchval(
                """SELECT count(*) FROM confirmed WHERE link = $1 AND account <>
 (SELECT owner FROM upload WHERE link = $1)""",
                link,
            )
            return count

        return await self._side.together(work)

    async def expire(self, link: bytes, expires_us: int) -> None:
        await self._side.fetch(
            "UPDATE upload SET expires_us = least(expires_us, $1) WHERE link = $2", expires_us, link
        )

    async def open_of(self, owner: int, limit: int) -> list[Upload]:
        return await self._many(
            f"owner = $1 AND state = {OPEN} AND home = $2 ORDER BY made_us LIMIT $3",
            owner,
            self._home,
            limit,
        )

    async def expired(self, now_us: int, limit: int) -> list[Upload]:
        """Whose bytes can be removed from here."""
        return await self._many(
            f"""state < {GONE} AND expires_us <= $1 AND ({self._whose} OR home = $2)
 ORDER BY expires_us LIMIT $3""",
            now_us,
            self._home,
            limit,
        )

    async def known(self, links: Sequence[bytes]) -> set[bytes]:
        rows = await self._side.fetch(
            f"SELECT link FROM upload WHERE state < {GONE} AND link = ANY($1)", list(links)
        )
        return {row[0] for row in rows}

    async def forget(self, before_us: int, limit: int) -> int:
        rows = await self._side.fetch(
            f"""DELETE FROM upload WHERE token_hash IN (SELECT token_hash FROM upload
 WHERE state = {GONE} AND gone_us < $1 LIMIT $2) RETURNING 1""",
            before_us,
            limit,
        )
        return len(rows)

    async def adopt(self, token_hash: bytes, old: str, new: str) -> None:
        await self._side.fetch(
            f"UPDATE upload SET home = $3 WHERE token_hash = $1 AND home = $2 AND state = {OPEN}",
            token_hash,
            old,
            new,
        )

    async def close(self) -> None:
        """The connection is others' too."""

    async def take_over(self, file: Path) -> int:
        """The rows of a ledger of SQLite that stood here before; then it is put aside.

        Else the next tidying would take those files for nobody's. Raises Unready.
        """
        rows = _read(file, self._home)
        if rows is None:
            return 0
        uploads, confirmed = rows

        async def work(db: Any) -> None:
            await db.executemany(_ADD, [_values(row) for row in uploads])
            await db.executemany(
                "INSERT INTO confirmed VALUES($1, $2) ON CONFLICT DO NOTHING", confirmed
            )

        await self._side.together(work)
        await asyncio.to_thread(_put_aside, file)
        log.info("the ledger of media lives in the database now", uploads=len(uploads))
        return len(uploads)

    # ---- inside --------------------------------------------------------------------------

    async def _one(self, where: str, *values: object) -> Upload | None:
        rows = await self._many(where, *values)
        return rows[0] if rows else None

    async def _many(self, where: str, *values: object) -> list[Upload]:
        rows = await self._side.fetch(f"SELECT {_COLUMNS} FROM upload WHERE {where}", *values)
        return [_row(row) for row in rows]


def _put_aside(file: Path) -> None:
    with suppress(FileNotFoundError):  # another node of the same folder was faster
        file.rename(file.with_name(file.name + MOVED))


def _values(row: Upload) -> tuple[object, ...]:
    names = [name.strip() for name in _COLUMNS.split(",")]
    values = {name: getattr(row, name) for name in names}
    values["facts"] = _encode(row.facts) if row.facts is not None else None
    return tuple(values.values())


def _row(row: Any) -> Upload:
    *told, facts, home = row
    upload = Upload(*told)
    return replace(upload, facts=_decode(facts) if facts else None, home=home)


def _read(file: Path, home: str) -> tuple[list[Upload], list[Any]] | None:
    """All but what is removed already. None: there is no such file."""
    if not file.exists():
        return None
    try:
        db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.CantOpenError:
        return None
    try:
        columns = _COLUMNS.removesuffix(", home")
        rows = db.execute(f"SELECT {columns} FROM upload WHERE state < {GONE}").fetchall()
        confirmed = db.execute("SELECT link, account FROM confirmed").fetchall()
    except apsw.Error as error:
        raise Unready(f"the ledger of media {file} cannot be read: {error}") from error
    finally:
        db.close()  # its log goes into the file
    return [_row((*row, home)) for row in rows], confirmed
