"""The tables of the PostgreSQL store, as a list of steps from nothing to today.

Step n brings a database from schema n-1 to schema n; a released step is never edited. Several
nodes may start at once, and nodes of two versions run beside each other during an upgrade: so a
step only adds (tables, columns with a default, indexes), and whoever migrates holds a lock.
Neighbours: statements.py writes these tables, reads.py reads them. Law: a table has a column for
every field of its row in domain/rows.py, by the same name.

Fast-changing tables: a row that changes finds room on its own page (fillfactor), so that the
change needs no index entry (HOT): no index may stand on what changes often. Therefore the index of
open rows stands on `sent.is_open`, which changes once, not on `state`. What was removed is
collected early and in small portions (autovacuum).
"""

from typing import Any

import asyncpg

from whimbrel.domain.errors import Unready
from whimbrel.domain.ids import SHARDS
from whimbrel.storage.postgres.connections import where
from whimbrel.storage.postgres.statements import FUNCTION_TEXT

LOCK = 0x57484D42  # "WHMB": who migrates, and who claims a node's number, holds it

_EAGER = """autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
 autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05,
 autovacuum_vacuum_cost_delay = 1"""

_FIRST = f"""
CREATE TABLE meta(
  one smallint PRIMARY KEY CHECK (one = 1),
  schema integer NOT NULL,
  era bigint NOT NULL
);
INSERT INTO meta VALUES (1, 0, 1);

CREATE TABLE node(
  id smallint PRIMARY KEY,
  incarnation bigint NOT NULL,
  expires timestamptz NOT NULL,
  identity text NOT NULL UNIQUE,
  address text NOT NULL,
  version text NOT NULL,
  draining boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE shard(
  id smallint PRIMARY KEY,
  owner smallint,
  epoch bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0);
INSERT INTO shard SELECT n, NULL, 0 FROM generate_series(0, {SHARDS - 1}) n;

CREATE TABLE secret(name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE account(
  id bigint PRIMARY KEY, created_us bigint NOT NULL, last_id bigint NOT NULL, tail bigint NOT NULL,
  waiting bigint NOT NULL, last_device bigint NOT NULL, last_seen_us bigint NOT NULL,
  contacts_hour bigint NOT NULL, contacts_used bigint NOT NULL, contacts bigint NOT NULL,
  deleted boolean NOT NULL, hidden boolean NOT NULL, address text NOT NULL
) WITH (fillfactor = 70, {_EAGER});
CREATE INDEX account_address ON account(address COLLATE "C");

CREATE TABLE device(
  account bigint NOT NULL, device bigint NOT NULL, submitted bigint NOT NULL,
  last_id bigint NOT NULL, confirmed bigint NOT NULL, ordinal bigint NOT NULL,
  last_seen_us bigint NOT NULL, via bigint NOT NULL, kind smallint NOT NULL,
  key_hash bytea NOT NULL, name text NOT NULL, scram bytea NOT NULL,
  PRIMARY KEY (account, device)
) WITH (fillfactor = 70, {_EAGER});

CREATE TABLE sent(
  owner bigint NOT NULL, id bigint NOT NULL, peer bigint NOT NULL, device bigint NOT NULL,
  c bigint NOT NULL, hash bigint NOT NULL, accepted_us bigint NOT NULL, stored_us bigint NOT NULL,
  delivered_us bigint NOT NULL, read_us bigint NOT NULL, final_us bigint NOT NULL,
  state smallint NOT NULL, is_open boolean GENERATED ALWAYS AS (state = 0) STORED,
  code text NOT NULL, ref text NOT NULL, body bytea
) WITH (fillfactor = 80, {_EAGER});
CREATE UNIQUE INDEX sent_owner ON sent(owner, id);
CREATE INDEX sent_open ON sent(owner) WHERE is_open;
CREATE INDEX sent_accepted ON sent(accepted_us);

CREATE TABLE inbox(
  owner bigint NOT NULL, q bigint NOT NULL, peer bigint NOT NULL, id bigint NOT NULL,
  device bigint NOT NULL, c bigint NOT NULL, extra bigint NOT NULL, stored_us bigint NOT NULL,
  kind smallint NOT NULL, code text NOT NULL, body bytea
) WITH ({_EAGER});
CREATE UNIQUE INDEX inbox_owner ON inbox(owner, q);
CREATE INDEX inbox_stored ON inbox(stored_us) WHERE kind <= 1;

CREATE TABLE pair(
  owner bigint NOT NULL, peer bigint NOT NULL, stored_id bigint NOT NULL,
  delivered_id bigint NOT NULL, read_id bigint NOT NULL, acked_delivered_id bigint NOT NULL,
  acked_read_id bigint NOT NULL, peer_delivered_id bigint NOT NULL, peer_read_id bigint NOT NULL,
  receipt_q bigint NOT NULL, peer_removed_id bigint NOT NULL, wrote boolean NOT NULL,
  blocked boolean NOT NULL, owed boolean NOT NULL, address text NOT NULL, ring bytea NOT NULL,
  removed bytea NOT NULL, hidden bytea NOT NULL,
  PRIMARY KEY (owner, peer)
) WITH (fillfactor = 70, {_EAGER});
CREATE INDEX pair_owed ON pair(owner) WHERE owed;
CREATE INDEX pair_blocked ON pair(owner) WHERE blocked;

CREATE TABLE roster(
  owner bigint NOT NULL, peer bigint NOT NULL, state bigint NOT NULL, address text NOT NULL,
  name text NOT NULL, groups bytea NOT NULL, request bytea NOT NULL, PRIMARY KEY (owner, peer)
);

CREATE TABLE document(
  owner bigint NOT NULL, at_us bigint NOT NULL, name text COLLATE "C" NOT NULL,
  body bytea NOT NULL, PRIMARY KEY (owner, name)
);

CREATE TABLE archive(
  owner bigint NOT NULL, id bigint NOT NULL, peer bigint NOT NULL, out boolean NOT NULL,
  address text NOT NULL, body bytea NOT NULL
);
CREATE UNIQUE INDEX archive_owner ON archive(owner, id);
CREATE INDEX archive_id ON archive(id);

CREATE TABLE signup(
  number text PRIMARY KEY, expires_us bigint NOT NULL, tries bigint NOT NULL, sends bigint NOT NULL,
  next_send_us bigint NOT NULL, day bigint NOT NULL, sends_today bigint NOT NULL,
  pin_hash bytea NOT NULL
);

CREATE TABLE counter(key text PRIMARY KEY, day bigint NOT NULL, used bigint NOT NULL);

CREATE TABLE dead_letter(
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, actor bigint NOT NULL, at_us bigint NOT NULL,
  kind text NOT NULL, summary text NOT NULL, error text NOT NULL
);
"""

# What nodes know together beside messages: files, what administrators did, where to ask each other.
_EDGES = """
CREATE TABLE upload(
  token_hash bytea PRIMARY KEY, link bytea NOT NULL UNIQUE, owner bigint NOT NULL,
  state smallint NOT NULL, size bigint NOT NULL, type text NOT NULL, name text NOT NULL,
  sha256 text NOT NULL, recipients bigint NOT NULL, made_us bigint NOT NULL,
  expires_us bigint NOT NULL, home text NOT NULL, gone_us bigint NOT NULL DEFAULT 0, facts bytea
);
CREATE INDEX upload_owner ON upload(owner, made_us);
CREATE INDEX upload_expires ON upload(expires_us) WHERE state < 2;
CREATE INDEX upload_open ON upload(home, size) WHERE state = 0;
CREATE INDEX upload_gone ON upload(gone_us) WHERE state = 2;

CREATE TABLE confirmed(link bytea NOT NULL, account bigint NOT NULL, PRIMARY KEY (link, account));

CREATE TABLE act(
  id bigint PRIMARY KEY, at_us bigint NOT NULL, who text NOT NULL, what text NOT NULL,
  "on" text NOT NULL, result text NOT NULL, source text NOT NULL
);

ALTER TABLE node ADD COLUMN inside text NOT NULL DEFAULT '';
"""

STEPS: tuple[str, ...] = (_FIRST, _EDGES)


async def migrate(connection: Any, url: str, steps: tuple[str, ...] = STEPS) -> int:
    """Bring the database to today's schema; returns its era. Raises Unready by name.

    Safe with several nodes: one migrates, the others wait for it; all in one transaction.
    """
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            version = await _version(connection, url)
            refuse_newer(version, url, len(steps))
            for step in steps[version:]:
                await connection.execute(step)
            if version < len(steps):
                await connection.execute("UPDATE meta SET schema = $1", len(steps))
            await connection.execute(FUNCTION_TEXT)
            era = await connection.fetchval("SELECT era FROM meta")
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unready(
            f"{where(url)}: this role may not make tables (GRANT CREATE ON SCHEMA public TO ...)"
        ) from error
    return int(era)


async def _version(connection: Any, url: str) -> int:
    """Steps that this database has seen; 0 if it is empty. Raises Unready if it is not ours."""
    tables = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    )
    names = {row[0] for row in tables}
    if not names:
        return 0
    if not {"meta", "shard", "sent"} <= names:
        raise Unready(f"{where(url)} holds tables, but not those of Whimbrel: it was not touched")
    rows = await connection.fetch("SELECT schema FROM meta")
    if len(rows) != 1:
        raise Unready(f"{where(url)} is damaged: its table `meta` has {len(rows)} rows")
    return int(rows[0][0])


def refuse_newer(version: int, url: str, known: int = len(STEPS)) -> None:
    """Raises Unready if a newer Whimbrel made changes that this one does not know."""
    if version > known:
        raise Unready(
            f"{where(url)} has schema {version}, but this version of Whimbrel knows only up to"
            f" schema {known}: start the newer version, or restore a backup made before the upgrade"
        )
