"""`whimbrel cluster`: who is there, who owns how much, and taking a node out of service."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from whimbrel.node.config import Config

app = typer.Typer(help="Nodes of one installation.", no_args_is_help=True)

BUS_S = 3.0
DRAIN_S_MAX = 30.0
ConfigFile = Annotated[Path, typer.Option("--config", help="Configuration file of any node.")]

_NODES = """SELECT id, identity, address, version, draining, incarnation,
 extract(epoch FROM expires - clock_timestamp())::float8 AS left_s,
 (SELECT count(*) FROM shard WHERE owner = node.id) AS shards
 FROM node ORDER BY id"""
_FREE = """SELECT count(*) FROM shard WHERE owner IS NULL
 OR owner NOT IN (SELECT id FROM node WHERE expires > clock_timestamp())"""
_LAG = """SELECT application_name, state, sync_state,
 coalesce(extract(epoch FROM replay_lag), 0)::float8 AS lag_s
 FROM pg_stat_replication ORDER BY application_name"""


@app.command()
def status(config: ConfigFile) -> None:
    """Show nodes, their leases and shards, the standbys of the database, and the bus."""
    _run(config, _status)


@app.command()
def drain(
    node: Annotated[str, typer.Argument(help="Its number or name, as `status` shows it.")],
    config: ConfigFile,
) -> None:
    """Hand over all that a node owns; it goes on to serve the connections that it has."""
    _run(config, lambda db, settings: _drain(db, node))


def _run(config: Path, work: Any) -> None:
    from whimbrel.domain.errors import Unready
    from whimbrel.node.config import ConfigError, load_config
    from whimbrel.storage.postgres.connections import connect

    async def go() -> int:
        settings = load_config(config)
        if not settings.store.url:
            raise ConfigError(f"{config}: store.url is empty: this is one server, not a cluster")
        db = await connect(settings.store.url)
        try:
            return int(await work(db, settings))
        finally:
            await db.close()

    try:
        code = asyncio.run(go())
    except (ConfigError, Unready) as error:
        typer.echo(f"whimbrel: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(code)


async def _status(db: Any, settings: "Config") -> int:
    """1 if something needs a person: shards that nobody owns, no node, no bus."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table("node", "name", "state", "shards", "lease", "version", "address")
    rows = await db.fetch(_NODES)
    for row in rows:
        alive = row["left_s"] > 0
        state = "draining" if row["draining"] else "serves" if alive else "gone"
        lease = f"{row['left_s']:.1f} s" if alive else "over"
        table.add_row(
            str(row["id"]),
            row["identity"],
            state,
            str(row["shards"]),
            lease,
            row["version"],
            row["address"],
        )
    console.print(table)
    free = await db.fetchval(_FREE)
    console.print(f"shards without an owner: {free}")
    for row in await db.fetch(_LAG):
        name, state, sync = row["application_name"], row["state"], row["sync_state"]
        console.print(f"standby {name}: {state}, {sync}, {row['lag_s']:.3f} s behind")
    trouble = await _bus(settings)
    console.print(f"bus: {trouble or 'reached'}")
    return int(bool(free or trouble or not any(row["left_s"] > 0 for row in rows)))


async def _bus(settings: "Config") -> str:
    """Why no NATS server is reached; empty if one is."""
    from whimbrel.cluster.bus import BusAway, NatsBus

    bus = NatsBus(settings.bus, 0, lambda pack: None, lambda: None, listens=False)
    try:
        await bus.start(BUS_S)
    except BusAway as error:
        return str(error)
    await bus.stop()
    return ""


async def _drain(db: Any, name: str) -> int:
    from whimbrel.cluster import table

    rows = await db.fetch(_NODES)
    found = [row for row in rows if name in (str(row["id"]), row["identity"])]
    if not found:
        known = ", ".join(row["identity"] for row in rows) or "none"
        typer.echo(f"whimbrel: there is no node {name}; known: {known}", err=True)
        return 1
    number = found[0]["id"]
    others = Counter(row["left_s"] > 0 and row["id"] != number for row in rows)
    if not others[True]:
        typer.echo("whimbrel: no other node is alive: nobody could take its shards", err=True)
        return 1
    await table.set_draining(db, number, True)
    end_s = asyncio.get_running_loop().time() + DRAIN_S_MAX
    while True:
        left: int = await db.fetchval("SELECT count(*) FROM shard WHERE owner = $1", number)
        typer.echo(f"node {number}: {left} shards left")
        if not left:
            return 0
        if asyncio.get_running_loop().time() > end_s:
            typer.echo(f"whimbrel: not drained within {DRAIN_S_MAX:.0f} s", err=True)
            return 1
        await asyncio.sleep(0.5)
