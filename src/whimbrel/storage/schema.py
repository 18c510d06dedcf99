"""The tables of the SQLite store, as a list of steps from nothing to today.

Step n brings a database from schema n-1 to schema n; a released step is never edited.
Neighbours: statements.py writes these tables, reads.py reads them, opening.py calls
`migrate`. Law: a table has a column for every field of its row in domain/rows.py, by the same name;
bodies stand last, so that reading the other columns never touches them (only sent.ref came later,
and is read by itself).
"""

from collections.abc import Sequence
from typing import Any

import apsw

from whimbrel.domain.errors import Unready

_FIRST = """
CREATE TABLE meta(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  schema INTEGER NOT NULL, -- steps applied
  era INTEGER NOT NULL,    -- raised by every restore
  epoch INTEGER NOT NULL,  -- raised by every opening; the fence
  clean INTEGER NOT NULL   -- 1 while no process has the database open
);
INSERT INTO meta VALUES(1, 0, 1, 0, 1);

CREATE TABLE account(
  id INTEGER PRIMARY KEY, address TEXT NOT NULL, created_us INTEGER NOT NULL,
  last_id INTEGER NOT NULL, tail INTEGER NOT NULL, waiting INTEGER NOT NULL,
  last_device INTEGER NOT NULL, last_seen_us INTEGER NOT NULL,
  contacts_hour INTEGER NOT NULL, contacts_used INTEGER NOT NULL, deleted INTEGER NOT NULL
);
CREATE INDEX account_address ON account(address);

CREATE TABLE device(
  account INTEGER NOT NULL, device INTEGER NOT NULL, key_hash BLOB NOT NULL,
  name TEXT NOT NULL, submitted INTEGER NOT NULL, last_id INTEGER NOT NULL,
  confirmed INTEGER NOT NULL, ordinal INTEGER NOT NULL, last_seen_us INTEGER NOT NULL,
  PRIMARY KEY (account, device)
) WITHOUT ROWID;

CREATE TABLE sent(
  owner INTEGER NOT NULL, id INTEGER NOT NULL, peer INTEGER NOT NULL,
  device INTEGER NOT NULL, c INTEGER NOT NULL, hash INTEGER NOT NULL,
  state INTEGER NOT NULL, code TEXT NOT NULL, accepted_us INTEGER NOT NULL,
  stored_us INTEGER NOT NULL, delivered_us INTEGER NOT NULL, read_us INTEGER NOT NULL,
  final_us INTEGER NOT NULL, body BLOB
);
CREATE UNIQUE INDEX sent_owner ON sent(owner, id);
CREATE INDEX sent_open ON sent(owner) WHERE state = 0;

CREATE TABLE inbox(
  owner INTEGER NOT NULL, q INTEGER NOT NULL, kind INTEGER NOT NULL, peer INTEGER NOT NULL,
  id INTEGER NOT NULL, device INTEGER NOT NULL, c INTEGER NOT NULL, extra INTEGER NOT NULL,
  code TEXT NOT NULL, stored_us INTEGER NOT NULL, body BLOB
);
CREATE UNIQUE INDEX inbox_owner ON inbox(owner, q);

CREATE TABLE pair(
  owner INTEGER NOT NULL, peer INTEGER NOT NULL, address TEXT NOT NULL,
  wrote INTEGER NOT NULL, blocked INTEGER NOT NULL, stored_id INTEGER NOT NULL,
  ring BLOB NOT NULL, delivered_id INTEGER NOT NULL, read_id INTEGER NOT NULL,
  removed BLOB NOT NULL, acked_delivered_id INTEGER NOT NULL,
  acked_read_id INTEGER NOT NULL, owed INTEGER NOT NULL,
  peer_delivered_id INTEGER NOT NULL, peer_read_id INTEGER NOT NULL,
  receipt_q INTEGER NOT NULL, peer_removed_id INTEGER NOT NULL,
  hidden BLOB NOT NULL,
  PRIMARY KEY (owner, peer)
) WITHOUT ROWID;
CREATE INDEX pair_owed ON pair(owner) WHERE owed = 1;

CREATE TABLE signup(
  number TEXT PRIMARY KEY, pin_hash BLOB NOT NULL, expires_us INTEGER NOT NULL,
  tries INTEGER NOT NULL, sends INTEGER NOT NULL, next_send_us INTEGER NOT NULL,
  day INTEGER NOT NULL, sends_today INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE counter(
  key TEXT PRIMARY KEY, day INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE dead_letter(
  actor INTEGER NOT NULL, kind TEXT NOT NULL, summary TEXT NOT NULL, error TEXT NOT NULL,
  at_us INTEGER NOT NULL
);

CREATE TABLE probe(one INTEGER PRIMARY KEY CHECK (one = 1), filler BLOB NOT NULL);
"""

_HIDDEN = "ALTER TABLE account ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;"

_XMPP = """
ALTER TABLE account ADD COLUMN contacts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN scram BLOB NOT NULL DEFAULT x'';
ALTER TABLE device ADD COLUMN via INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sent ADD COLUMN ref TEXT NOT NULL DEFAULT '';

CREATE TABLE roster(
  owner INTEGER NOT NULL, peer INTEGER NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL,
  groups BLOB NOT NULL, state INTEGER NOT NULL, request BLOB NOT NULL,
  PRIMARY KEY (owner, peer)
) WITHOUT ROWID;

CREATE TABLE document(
  owner INTEGER NOT NULL, name TEXT NOT NULL, at_us INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX document_owner ON document(owner, name);

CREATE TABLE archive(
  owner INTEGER NOT NULL, id INTEGER NOT NULL, peer INTEGER NOT NULL, address TEXT NOT NULL,
  out INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX archive_owner ON archive(owner, id);

CREATE INDEX pair_blocked ON pair(owner) WHERE blocked = 1;
"""

STEPS: tuple[str, ...] = (_FIRST, _HIDDEN, _XMPP)


def schema_of(db: apsw.Connection, name: str) -> int:
    """Steps that this database has seen; 0 if it is empty. Raises Unready if it is not ours."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    if not tables:
        return 0
    if "meta" not in tables:
        raise Unready(f"{name} is a database, but not one of Whimbrel: it was not touched")
    rows: list[Any] = db.execute("SELECT schema FROM meta").fetchall()
    if len(rows) != 1:
        raise Unready(f"{name} is damaged: its table `meta` has {len(rows)} rows instead of one")
    return int(rows[0][0])


def refuse_newer(version: int, name: str, steps: Sequence[str] = STEPS) -> None:
    """Raises Unready if a newer Whimbrel wrote this database."""
    if version > len(steps):
        raise Unready(
            f"{name} has schema {version}, but this version of Whimbrel knows only up to schema"
            f" {len(steps)}: start the newer version, or restore a backup made before the upgrade"
        )


def migrate(db: apsw.Connection, version: int, steps: Sequence[str] = STEPS) -> None:
    """Apply the missing steps, all in one transaction."""
    if version == len(steps):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[version:]:
            db.execute(step)
        db.execute("UPDATE meta SET schema = ?", (len(steps),))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
