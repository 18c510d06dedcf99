"""A batch becomes SQL: one function call for what nearly every turn writes, and one statement
for each other kind of row.

The function lives in the database, made from the rows of domain/rows.py. It locks and compares
the epochs of all shards of the batch first (FOR SHARE, ascending: FOR KEY SHARE would not
conflict with a takeover), answers false and touches nothing if one of them has changed, and
then runs one statement per kind of row: inserts and upserts, changes, removals
(domain/batch.py). One call is one transaction and one round trip. Its name carries the hash of
its text, so that nodes of two versions each find their own.

Called by store.py on the one connection that writes.
"""

from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec.structs import astuple

from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import SHARDS
from whimbrel.domain.rows import (
    AccountRow,
    ArchiveForget,
    ArchiveRow,
    CounterRow,
    CountersGone,
    DeadLetterRow,
    DeviceGone,
    DeviceKey,
    DeviceRow,
    DocumentGone,
    DocumentRow,
    DocumentsGone,
    InboxGone,
    InboxRow,
    InboxUpto,
    PairRow,
    PairsGone,
    RosterGone,
    RosterGoneAll,
    RosterRow,
    Row,
    SentForget,
    SentForgetAll,
    SentMarks,
    SentRow,
    SentState,
    SignupGone,
    SignupRow,
)

_TYPES: dict[type, str] = {int: "bigint", str: "text", bytes: "bytea", bool: "boolean"}
ARGUMENTS_MAX = 100  # of a function in PostgreSQL

Columns = Iterable[Collection[object]]


def _type(hint: Any) -> str:
    if isinstance(hint, UnionType):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    return _TYPES[hint]


def fields_of(row: type[Row]) -> dict[str, str]:
    """Column -> PostgreSQL's type, in the order of the row's fields."""
    hints = get_type_hints(row)
    return {name: _type(hints[name]) for name in row.__struct_fields__}


class Kind(msgspec.Struct, frozen=True):
    """One kind of row: how its columns are called, where a batch keeps it, what SQL does it."""

    name: str
    fields: dict[str, str]
    rows: Callable[[Batch], Collection[Any]]
    columns: Callable[[Collection[Any]], Columns]
    text: Callable[["Kind", Callable[[str], str]], str]

    def keys(self, mark: Callable[[str], str]) -> str:
        """The arrays as a table k."""
        arrays = ", ".join(mark(name) for name in self.fields)
        return f"unnest({arrays}) k({', '.join(self.fields)})"


def _of(row: type[Row], name: str, text: Callable[..., str]) -> Kind:
    return Kind(name, fields_of(row), _getter(name), _columns, text)


def _getter(name: str) -> Callable[[Batch], Collection[Any]]:
    def rows(batch: Batch) -> Collection[Any]:
        found = getattr(batch, name)
        return found.values() if isinstance(found, dict) else found

    return rows


def _columns(rows: Collection[Any]) -> Columns:
    return zip(*map(astuple, rows), strict=True)


# ---- the text of statements ------------------------------------------------------------------

Mark = Callable[[str], str]  # the name or number of a column's array


def _insert(table: str) -> Callable[[Kind, Mark], str]:
    def text(kind: Kind, mark: Mark) -> str:
        names = ", ".join(kind.fields)
        return f"INSERT INTO {table}({names}) SELECT {names} FROM {kind.keys(mark)}"

    return text


def _same(names: Collection[str]) -> str:
    return " AND ".join(f"t.{name} = k.{name}" for name in names)


def _update(table: str, key: int, fixed: tuple[str, ...]) -> Callable[[Kind, Mark], str]:
    """Update the rows, and insert what is missing: nearly always nothing, and an upsert that
    finds its row locks it first, which costs a record of its own in the log.
    """

    def text(kind: Kind, mark: Mark) -> str:
        names = list(kind.fields)
        keys = names[:key]
        changes = ", ".join(f"{n} = k.{n}" for n in names[key:] if n not in fixed)
        arrays = kind.keys(mark)
        columns = ", ".join(names)
        return f"""UPDATE {table} t SET {changes} FROM {arrays} WHERE {_same(keys)};
    GET DIAGNOSTICS counted = ROW_COUNT;
    IF counted < cardinality({mark(names[0])}) THEN
      INSERT INTO {table}({columns}) SELECT {columns} FROM {arrays}
       WHERE NOT EXISTS (SELECT FROM {table} t WHERE {_same(keys)});
    END IF"""

    return text


def _upsert(table: str, key: int) -> Callable[[Kind, Mark], str]:
    def text(kind: Kind, mark: Mark) -> str:
        names = list(kind.fields)
        changes = ", ".join(f"{n} = excluded.{n}" for n in names[key:])
        return (
            f"{_insert(table)(kind, mark)}"
            f" ON CONFLICT ({', '.join(names[:key])}) DO UPDATE SET {changes}"
        )

    return text


def _delete(table: str, where: str) -> Callable[[Kind, Mark], str]:
    def text(kind: Kind, mark: Mark) -> str:
        return f"DELETE FROM {table} t USING {kind.keys(mark)} WHERE {where}"

    return text


def _rounds(statement: str) -> Callable[[Kind, Mark], str]:
    """One statement changes a row once: what is changed twice in a batch comes in rounds."""

    def text(kind: Kind, mark: Mark) -> str:
        rounds = f"(SELECT max(r) FROM unnest({mark('round')}) r)"
        return f"""FOR n IN 1..{rounds} LOOP
      {statement} FROM {kind.keys(mark)} WHERE k.round = n AND {_AFFECTED[kind.name]};
    END LOOP"""

    return text


# The same as domain.batch.after_state and storage.memory_rows.after_marks.
_SENT_STATE = """UPDATE sent t SET state = k.state, code = k.code, body = NULL,
       stored_us = CASE WHEN k.state IN (1, 2) AND stored_us = 0 THEN k.at_us ELSE stored_us END,
       delivered_us = CASE k.state WHEN 2 THEN k.at_us ELSE delivered_us END,
       final_us = CASE k.state WHEN 1 THEN 0 ELSE k.at_us END"""
_SENT_MARKS = """UPDATE sent t SET state = k.state,
       code = CASE k.state WHEN 5 THEN k.code ELSE t.code END,
       delivered_us = CASE WHEN k.state IN (2, 3) AND delivered_us = 0
        THEN k.at_us ELSE delivered_us END,
       read_us = CASE k.state WHEN 3 THEN k.at_us ELSE read_us END,
       final_us = CASE final_us WHEN 0 THEN k.at_us ELSE final_us END"""
_AFFECTED = {
    "sent_states": "t.owner = k.owner AND t.id = k.id AND t.state IN (0, 1)",
    "sent_marks": """t.owner = k.owner AND t.id > k.after AND t.id <= k.upto
       AND t.peer = k.peer AND (t.state = 1 OR (t.state = 2 AND k.state = 3))""",
}


def _in_rounds(key: Callable[[Any], object]) -> Callable[[Collection[Any]], Columns]:
    """The columns, and the round of each row: how many of its key came before it, from 1."""

    def columns(rows: Collection[Any]) -> Columns:
        seen: dict[object, int] = {}
        rounds = []
        for row in rows:
            k = key(row)
            seen[k] = n = seen.get(k, 0) + 1
            rounds.append(n)
        return [*_columns(rows), rounds]

    return columns


def _changes(row: type[Row], name: str, statement: str, key: Callable[[Any], object]) -> Kind:
    fields = {**fields_of(row), "round": "bigint"}
    return Kind(name, fields, _getter(name), _in_rounds(key), _rounds(statement))


HOT: tuple[Kind, ...] = (
    # An account's address and birth never change; a device's verifiers only by DeviceKey.
    _of(AccountRow, "accounts", _update("account", 1, ("address", "created_us"))),
    _of(DeviceRow, "devices", _update("device", 2, ("scram",))),
    _of(SentRow, "sent", _insert("sent")),
    _of(InboxRow, "inbox", _insert("inbox")),
    _of(PairRow, "pairs", _update("pair", 2, ())),
    _changes(SentState, "sent_states", _SENT_STATE, lambda row: (row.owner, row.id)),
    _changes(SentMarks, "sent_marks", _SENT_MARKS, lambda row: (row.owner, row.peer)),
    Kind(
        "inbox_upto",
        fields_of(InboxUpto),
        lambda batch: batch.inbox_upto.items(),
        lambda rows: zip(*rows, strict=True),
        _delete("inbox", "t.owner = k.owner AND t.q <= k.upto"),
    ),
    _of(InboxGone, "inbox_gone", _delete("inbox", "t.owner = k.owner AND t.q = k.q")),
)

_KEY_CHANGE = """UPDATE device t SET key_hash = k.key_hash, scram = k.scram"""


def _rare(row: type[Row], name: str, text: Callable[[Kind, Mark], str]) -> tuple[Kind, str]:
    kind = _of(row, name, text)
    types = {field: f"${n}::{type_}[]" for n, (field, type_) in enumerate(kind.fields.items(), 1)}
    return kind, text(kind, types.__getitem__)


RARE: tuple[tuple[Kind, str], ...] = (
    _rare(ArchiveRow, "archive", _insert("archive")),
    _rare(RosterRow, "roster", _upsert("roster", 2)),
    _rare(DocumentRow, "documents", _upsert("document", 2)),
    _rare(SignupRow, "signups", _upsert("signup", 1)),
    _rare(CounterRow, "counters", _upsert("counter", 1)),
    _rare(
        DeviceKey,
        "devices_keys",
        lambda kind, mark: (
            f"{_KEY_CHANGE} FROM {kind.keys(mark)} WHERE t.account = k.account"
            " AND t.device = k.device"
        ),
    ),
    _rare(
        SentForget,
        "sent_forget",
        _delete(
            "sent", "t.owner = k.owner AND t.state IN (2, 3, 4, 5) AND t.final_us < k.before_us"
        ),
    ),
    _rare(SentForgetAll, "sent_forget_all", _delete("sent", "t.owner = k.owner")),
    _rare(
        DeviceGone,
        "devices_gone",
        _delete("device", "t.account = k.account AND t.device = k.device"),
    ),
    _rare(PairsGone, "pairs_gone", _delete("pair", "t.owner = k.owner")),
    _rare(
        ArchiveForget,
        "archive_forget",
        _delete("archive", "t.owner = k.owner AND t.id < k.before_us"),
    ),
    _rare(RosterGone, "roster_gone", _delete("roster", "t.owner = k.owner AND t.peer = k.peer")),
    _rare(RosterGoneAll, "roster_gone_all", _delete("roster", "t.owner = k.owner")),
    _rare(
        DocumentGone,
        "documents_gone",
        _delete("document", "t.owner = k.owner AND t.name = k.name"),
    ),
    _rare(DocumentsGone, "documents_gone_all", _delete("document", "t.owner = k.owner")),
    _rare(SignupGone, "signups_gone", _delete("signup", "t.number = k.number")),
    _rare(CountersGone, "counters_gone", _delete("counter", "t.day < k.day")),
    _rare(DeadLetterRow, "dead_letters", _insert("dead_letter")),
)

DEAD_LETTERS_TRIM = """DELETE FROM dead_letter
 WHERE n <= (SELECT n FROM dead_letter ORDER BY n DESC LIMIT 1 OFFSET $1)"""


# ---- the function ----------------------------------------------------------------------------


def _body() -> str:
    parts = []
    for kind in HOT:

        def mark(field: str, kind: Kind = kind) -> str:
            return f"p_{kind.name}_{field}"

        first = mark(next(iter(kind.fields)))
        parts.append(f"  IF {first} IS NOT NULL THEN\n    {kind.text(kind, mark)};\n  END IF;")
    return "\n".join(parts)


def _arguments() -> str:
    names = [
        f"p_{kind.name}_{field} {type_}[]" for kind in HOT for field, type_ in kind.fields.items()
    ]
    assert len(names) + 2 <= ARGUMENTS_MAX, "split the function: too many columns"
    return ", ".join(["p_shards smallint[]", "p_epochs bigint[]", *names])


_TEXT = f"""({_arguments()})
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
  counted bigint;
BEGIN
  PERFORM FROM shard s JOIN unnest(p_shards, p_epochs) k(id, epoch)
   ON s.id = k.id AND s.epoch = k.epoch ORDER BY s.id FOR SHARE OF s;
  GET DIAGNOSTICS counted = ROW_COUNT;
  IF counted <> cardinality(p_shards) THEN
    RETURN false;
  END IF;
{_body()}
  RETURN true;
END
$body$"""

FUNCTION = f"commit_{blake2b(_TEXT.encode(), digest_size=6).hexdigest()}"
# Made once: replacing it would make every node plan its statements anew.
FUNCTION_TEXT = f"""DO $make$ BEGIN
 IF NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE p.proname = '{FUNCTION}' AND n.nspname = current_schema()) THEN
  CREATE FUNCTION {FUNCTION}{_TEXT};
 END IF;
END $make$"""

_WIDTH = 2 + sum(len(kind.fields) for kind in HOT)
COMMIT = f"SELECT {FUNCTION}({', '.join(f'${n}' for n in range(1, _WIDTH + 1))})"
_NOTHING = {kind.name: [None] * len(kind.fields) for kind in HOT}


def fence_of(batch: Batch) -> tuple[list[int], list[int]]:
    """The shards of all actors that ran, ascending, and the oldest epoch under which one did."""
    known: dict[int, int] = {}
    for account, tenure in batch.touched.items():
        shard = account % SHARDS
        old = known.get(shard)
        if old is None or tenure < old:
            known[shard] = tenure
    shards = sorted(known)
    return shards, [known[shard] for shard in shards]


def arguments(batch: Batch) -> list[Any]:
    """What COMMIT is called with."""
    values: list[Any] = [*fence_of(batch)]
    for kind in HOT:
        rows = kind.rows(batch)
        if rows:
            values += kind.columns(rows)
        else:
            values += _NOTHING[kind.name]
    return values


def rare_statements(batch: Batch) -> list[tuple[str, list[Any]]]:
    """What the function does not do, in its order."""
    return [(text, list(kind.columns(rows))) for kind, text in RARE if (rows := kind.rows(batch))]
