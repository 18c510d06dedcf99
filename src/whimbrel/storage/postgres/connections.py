"""Connections to PostgreSQL: only to the primary, with the settings that the laws need.

Used by store.py, by cluster/leases.py and by the commands of operators. Law 1: a commit answers
when it is on disk (and at the synchronous standbys, if there are any): a role or database that
was set to less is overruled here.
"""

import socket
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from whimbrel.domain.errors import Unready

CONNECT_S_MAX = 10.0
SILENT_MS_MAX = 10_000  # bytes that nobody acknowledged for so long: the connection is dead
OLDEST_SERVER = 14

# Nobody may hold locks and do nothing (DELIVERY.md, "Takeover").
_SETTINGS = {
    "application_name": "whimbrel",
    "idle_in_transaction_session_timeout": "2s",
    "default_transaction_isolation": "read committed",
    "client_min_messages": "warning",
    "jit": "off",
    "bytea_output": "hex",
    "timezone": "UTC",
}
# What one node writes and reads is found by index, also in tables that were empty a moment ago,
# when a plan was made: no plan may ever walk through a whole table.
_BY_INDEX = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "enable_memoize": "off",
    "plan_cache_mode": "force_generic_plan",
}


async def connect(url: str, *, by_index: bool = False, patience_s: float = CONNECT_S_MAX) -> Any:
    """A connection to the primary. Raises Unready, in words that name no password."""
    settings = {**_SETTINGS, **(_BY_INDEX if by_index else {})}
    try:
        connection = await asyncpg.connect(
            url,
            timeout=patience_s,
            target_session_attrs="read-write",
            server_settings=settings,
            statement_cache_size=200,
            max_cached_statement_lifetime=0,
        )
    except asyncpg.InternalClientError as error:  # no host is one that can be written to
        raise Unready(f"{where(url)} has no primary now: {error}") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unready(f"{where(url)} cannot be reached: {words(error)}") from error
    try:
        await _insist(connection, url)
    except BaseException as error:
        connection.terminate()
        if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
            raise Unready(f"{where(url)} cannot be used: {words(error)}") from error
        raise
    return connection


async def _insist(connection: Any, url: str) -> None:
    """What no setting of a role, a database or a pooler may take from us."""
    if connection.get_server_version().major < OLDEST_SERVER:
        raise Unready(f"{where(url)} is older than PostgreSQL {OLDEST_SERVER}")
    level = await connection.fetchval("SHOW synchronous_commit")
    if level in ("off", "local"):
        await connection.execute("SET synchronous_commit = on")
    sock = connection._transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS_MAX)


PROMISED = ("fsync", "full_page_writes")  # off: a power cut takes what was acknowledged, or more


async def unsafe(connection: Any) -> list[str]:
    """Those of PROMISED that this server has off."""
    return [name for name in PROMISED if await connection.fetchval(f"SHOW {name}") != "on"]


async def refuse_unsafe(connection: Any, url: str) -> None:
    """Raises Unready if a commit there may not outlive a power cut (law 1)."""
    off = await unsafe(connection)
    if off:
        raise Unready(f"{where(url)} has {' and '.join(off)} off: set it on, and restart it")


def where(url: str) -> str:
    """The database in words for people: host and name, never a password."""
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        return f"the database {parts.path.lstrip('/') or '(default)'} at {hosts or 'this machine'}"
    except ValueError:
        return "the database"


_WORDS: tuple[tuple[str, str], ...] = (
    ("53100", "disk full"),
    ("53", "out of resources"),
    ("23", "a row contradicts the tables"),
    ("22", "a row could not be bound"),
    ("25006", "read-only: this is not the primary"),
    ("28", "not allowed to log in"),
    ("3D", "there is no such database"),
    ("42501", "no permission"),
    ("42P01", "the tables of Whimbrel are not there"),
    ("55P03", "locked by another node"),
    ("57P01", "the database is shutting down"),
    ("57P02", "the database is shutting down"),
    ("57P03", "the database is starting"),
    ("57014", "the commit was cancelled"),
    ("58", "disk error"),
    ("XX", "corrupt"),
    ("08", "connection lost"),
    ("40", "the database gave up a transaction"),
)


def words(error: BaseException) -> str:
    """A short, clear text. Names columns and tables, never values (DETAIL lines quote them)."""
    state = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and state:
        for prefix, text in _WORDS:
            if str(state).startswith(prefix):
                return f"{text} ({_plain(error)})"
        return f"database error {state} ({_plain(error)})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return f"connection lost ({error.strerror or type(error).__name__})"
    if isinstance(error, asyncpg.InternalClientError):
        return "connection lost (in the middle of a statement)"
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError):
        return f"connection lost ({type(error).__name__})"
    # Ours: a value that no column can hold. Its text might quote the value.
    return f"a row could not be bound ({type(error).__name__})"


def _plain(error: asyncpg.PostgresError) -> str:
    """PostgreSQL's message without DETAIL; 22xxx and others may quote the value, so not those."""
    name = getattr(error, "constraint_name", None)
    if name:
        return str(name)
    state = str(error.sqlstate)
    if state.startswith("22"):
        return state
    return str(error.args[0]).splitlines()[0] if error.args else state
