"""The tables `node` and `shard`: every statement of leases and takeovers, one function each.

Called by leases.py on a connection of its own, and by tests that race them. The database's clock
decides: `clock_timestamp()`, because `now()` is the start of the transaction, which may have
waited for a lock since. Locks are taken in one order everywhere: nodes ascending, then shards
ascending. Law 6: an epoch is raised by whoever takes a shard, and by whoever gives one up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from whimbrel.cluster.ports import NodeInfo
from whimbrel.cluster.shards import LEASE_S, Renewed
from whimbrel.domain.errors import Unready
from whimbrel.domain.ids import NODES_MAX
from whimbrel.storage.postgres.schema import LOCK

CHANNEL = "whimbrel_shards"  # NOTIFY: look again, there is something to take
LOCK_MS_MAX = 500  # how long a takeover waits for a commit that is still under way

_LEASE = "clock_timestamp() + $1 * interval '1 second'"


class Lost(Exception):
    """Another process has this node's number: its lease had been over for long."""


class Me(msgspec.Struct, frozen=True):
    """This process, as its row in `node` names it."""

    number: int
    incarnation: int


async def claim(
    db: Any,
    identity: str,
    address: str,
    version: str,
    lease_s: float = LEASE_S,
    draining: bool = False,
) -> Me:
    """A number for this process: the one its identity had before, else the lowest that is free.

    identity: of the data folder, whose lock this process holds: so whoever had the number under
    the same identity is dead, and its lease need not run out. draining: it shall not get anything
    yet. Raises Unready if all are taken.
    """
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        number = await db.fetchval("SELECT id FROM node WHERE identity = $1", identity)
        if number is None:
            number = await _free_number(db)
        row = await db.fetchrow(
            f"""INSERT INTO node(id, incarnation, expires, identity, address, version, draining)
 VALUES ($2, 1, {_LEASE}, $3, $4, $5, $6)
 ON CONFLICT (id) DO UPDATE SET incarnation = node.incarnation + 1, expires = excluded.expires,
  identity = excluded.identity, address = excluded.address, version = excluded.version,
  draining = excluded.draining
 RETURNING incarnation""",
            lease_s,
            number,
            identity,
            address,
            version,
            draining,
        )
        await db.execute(f"NOTIFY {CHANNEL}")
    return Me(number, row[0])


async def _free_number(db: Any) -> int:
    rows = await db.fetch("SELECT id FROM node WHERE expires > clock_timestamp() ORDER BY id")
    taken = {row[0] for row in rows}
    for number in range(NODES_MAX):
        if number not in taken:
            return number
    raise Unready(f"{NODES_MAX} nodes are alive already")


async def renew(db: Any, me: Me, lease_s: float = LEASE_S) -> Renewed:
    """Extend the lease, then look who owns what: in a statement of its own, so that a takeover
    that held our row is seen. Raises Lost.
    """
    async with db.transaction():
        await _extend(db, me, lease_s)
        return await look(db, me.number)


async def _extend(db: Any, me: Me, lease_s: float) -> None:
    done = await db.execute(
        f"UPDATE node SET expires = {_LEASE} WHERE id = $2 AND incarnation = $3",
        lease_s,
        me.number,
        me.incarnation,
    )
    if done != "UPDATE 1":
        raise Lost


async def look(db: Any, number: int = -1) -> Renewed:
    """Living nodes, owners and epochs, as they are now. Nobody's lease is touched."""
    nodes = await db.fetch(
        """SELECT id, incarnation, address, version, draining,
 extract(epoch FROM expires - clock_timestamp())::float8
 FROM node WHERE expires > clock_timestamp() ORDER BY id"""
    )
    row = await db.fetchrow(
        """SELECT array_agg(coalesce(owner, -1) ORDER BY id), array_agg(epoch ORDER BY id)
 FROM shard"""
    )
    expiry_s = min((each[5] for each in nodes if each[0] != number), default=LEASE_S)
    return Renewed({each[0]: NodeInfo(*each[:5]) for each in nodes}, row[0], row[1], expiry_s)


async def take(db: Any, me: Me, shards: Sequence[int]) -> Mapping[int, int]:
    """Take those of the shards that are free: shard -> its new epoch, committed.

    Free: no owner, the own ones, or an owner whose lease is over on the database's clock. Only
    then load, in a new transaction. Raises what asyncpg raises if a lock cannot be had in time.
    """
    async with db.transaction():
        await db.execute(f"SET LOCAL lock_timeout = {LOCK_MS_MAX}")
        await db.execute(  # a renewal of theirs waits for us, or we see it
            """SELECT FROM node WHERE id IN
 (SELECT owner FROM shard WHERE id = ANY($1::smallint[])) OR id = $2 ORDER BY id FOR UPDATE""",
            shards,
            me.number,
        )
        if not await _alive(db, me):
            raise Lost
        rows = await db.fetch(
            """SELECT s.id FROM shard s WHERE s.id = ANY($1::smallint[])
 AND (s.owner IS NULL OR s.owner = $2 OR NOT EXISTS
  (SELECT FROM node n WHERE n.id = s.owner AND n.expires > clock_timestamp()))
 ORDER BY s.id FOR UPDATE OF s""",
            shards,
            me.number,
        )
        return await _raise(db, me, [row[0] for row in rows])


async def _alive(db: Any, me: Me) -> bool:
    row = await db.fetchrow(
        "SELECT FROM node WHERE id = $1 AND incarnation = $2", me.number, me.incarnation
    )
    return row is not None


async def _raise(db: Any, me: Me, shards: Sequence[int]) -> Mapping[int, int]:
    rows = await db.fetch(
        """UPDATE shard SET owner = $2, epoch = epoch + 1 WHERE id = ANY($1::smallint[])
 RETURNING id, epoch""",
        shards,
        me.number,
    )
    return dict(sorted((row[0], row[1]) for row in rows))


async def retake(db: Any, me: Me, lease_s: float = LEASE_S) -> tuple[Renewed, Mapping[int, int]]:
    """A renewal that takes all own shards again in higher epochs: what was still committing has
    ended when this returns, or will be refused. Raises Lost, or what asyncpg raises.
    """
    async with db.transaction():
        await db.execute(f"SET LOCAL lock_timeout = {LOCK_MS_MAX}")
        await _extend(db, me, lease_s)
        rows = await db.fetch(
            "SELECT id FROM shard WHERE owner = $1 ORDER BY id FOR UPDATE", me.number
        )
        epochs = await _raise(db, me, [row[0] for row in rows])
        return await look(db, me.number), epochs


async def give(db: Any, me: Me, shards: Sequence[int]) -> None:
    """Own shards become free at once, for whoever shall have them; others hear of it."""
    async with db.transaction():
        await db.execute(f"SET LOCAL lock_timeout = {LOCK_MS_MAX}")
        rows = await db.fetch(
            """SELECT id FROM shard WHERE id = ANY($1::smallint[]) AND owner = $2
 ORDER BY id FOR UPDATE""",
            shards,
            me.number,
        )
        await db.execute(
            """UPDATE shard SET owner = NULL, epoch = epoch + 1 WHERE id = ANY($1::smallint[])""",
            [row[0] for row in rows],
        )
        await db.execute(f"NOTIFY {CHANNEL}")


async def set_draining(db: Any, number: int, draining: bool) -> bool:
    """The node shall give its shards to others (or may have some again). False: no such node."""
    async with db.transaction():
        done = await db.execute("UPDATE node SET draining = $2 WHERE id = $1", number, draining)
        await db.execute(f"NOTIFY {CHANNEL}")
    return bool(done == "UPDATE 1")


async def leave(db: Any, me: Me) -> None:
    """The end of a process in good order: its lease is over now."""
    async with db.transaction():
        await db.execute(
            "UPDATE node SET expires = clock_timestamp() WHERE id = $1 AND incarnation = $2",
            me.number,
            me.incarnation,
        )
        await db.execute(f"NOTIFY {CHANNEL}")
