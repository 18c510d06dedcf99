"""What several nodes stand on: PostgreSQL and NATS. Nothing to say where there is one node.

Asked from here, with the credentials of the configuration; nothing is changed. docs/cluster.md says
why each setting is wanted.
"""

import asyncio
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from whimbrel.cluster.bus import PACK_BYTES, BusAway, NatsBus
from whimbrel.domain.errors import Unready
from whimbrel.node.config import Config
from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown, warning
from whimbrel.storage.postgres.connections import connect, unsafe, where, words

BUS_S = 3.0
CONNECTIONS_OF_A_NODE = 7
CONNECTIONS_SPARE = 10  # operators, backups, a node that is being replaced
STANDBYS = 'synchronous_standby_names = "ANY 1 (a, b)", or Patroni\'s synchronous_mode'


def check(patient: Patient) -> list[Finding]:
    if not patient.config.store.url:
        return []
    if not patient.network:
        return [unknown("PostgreSQL", "not asked: --offline"), unknown("NATS", "not asked")]
    return asyncio.run(_check(patient.config))


async def _check(config: Config) -> list[Finding]:
    return [*await _database(config.store.url), *await _bus(config)]


async def _database(url: str) -> list[Finding]:
    try:
        db = await connect(url)
    except Unready as error:
        advice = "look at store.url, pg_hba.conf and whether a primary runs; nodes wait for it"
        return [bad("PostgreSQL", str(error), advice)]
    try:
        version = db.get_server_version()
        found = [good("PostgreSQL", f"{where(url)}, version {version.major}.{version.minor}")]
        return [*found, await _disk(db), await _standbys(db), await _connections(db)]
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [bad("PostgreSQL", words(error), "it went away meanwhile; ask again")]
    finally:
        await db.close()


async def _disk(db: Any) -> Finding:
    off = await unsafe(db)
    if off:
        text = f"{' and '.join(off)} off: a power cut takes what was acknowledged; nodes refuse it"
        return bad("commits", text, f"set {' = on, '.join(off)} = on; restart PostgreSQL")
    return good("commits", "fsync and full_page_writes are on")


async def _standbys(db: Any) -> Finding:
    """Who has a commit before it is acknowledged."""
    subject = "standbys"
    wanted = await db.fetchval("SHOW synchronous_standby_names")
    states = [row[0] for row in await db.fetch("SELECT sync_state FROM pg_stat_replication")]
    here = sum(state in ("sync", "quorum") for state in states)
    if not wanted:
        text = "none is synchronous: what the last moments acknowledged burns with this machine"
        return warning(subject, text, STANDBYS)
    if None in states:
        text = f'"{wanted}" are wanted; this role may not see whether they are there'
        return unknown(subject, text, "GRANT pg_monitor TO the role of store.url")
    if not here:
        text = f'"{wanted}" are wanted and none is there: commits wait for it for ever'
        return bad(subject, text, "bring a standby back, or take it out of the names")
    return good(subject, f'{here} synchronous of {len(states)} ("{wanted}")')


async def _connections(db: Any) -> Finding:
    most = int(await db.fetchval("SHOW max_connections"))
    kept = int(await db.fetchval("SHOW superuser_reserved_connections"))
    nodes = 0
    if await db.fetchval("SELECT to_regclass('node') IS NOT NULL"):
        nodes = await db.fetchval("SELECT count(*) FROM node WHERE expires > clock_timestamp()")
    needed = max(nodes, 1) * CONNECTIONS_OF_A_NODE + CONNECTIONS_SPARE
    text = f"max_connections is {most}; {nodes} nodes are alive and want {needed} with some spare"
    if most - kept < needed:
        return warning("connections", text, f"max_connections = {2 * needed}; restart PostgreSQL")
    return good("connections", text)


async def _bus(config: Config) -> list[Finding]:
    bus = NatsBus(config.bus, 0, lambda pack: None, lambda: None, listens=False)
    try:
        await bus.start(BUS_S)
    except BusAway as error:
        advice = "look at bus.url and its credentials; nodes without it do not reach each other"
        return [bad("NATS", str(error), advice)]
    server = bus.server()
    await bus.stop()
    if server is None:
        return [bad("NATS", "it went away meanwhile", "ask again")]
    found = [good("NATS", f"reached, version {server.version}")]
    text = f"max_payload is {server.payload_bytes:,} bytes"
    if server.payload_bytes < PACK_BYTES:
        advice = f"max_payload: {PACK_BYTES} or more; until then large packs go in more parts"
        found.append(warning("NATS payload", text, advice))
    else:
        found.append(good("NATS payload", text))
    if _all_here(config):
        return [*found, good("NATS access", "on this machine only")]
    open_ = [
        what for what, is_ in (("TLS", server.tls), ("a password", server.asks_who)) if not is_
    ]
    if open_:
        text = f"without {' and '.join(open_)}: who reaches it reads messages, and speaks for nodes"
        advice = (
            "tls:// in bus.url and bus.user or bus.credentials, unless its network is yours alone"
        )
        return [*found, warning("NATS access", text, advice)]
    return [*found, good("NATS access", "TLS, and it asks who connects")]


def _all_here(config: Config) -> bool:
    return all(_is_here(urlsplit(url).hostname or "") for url in config.bus.urls)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
