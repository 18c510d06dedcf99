"""The ledger's file: nodes of one machine share it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from whimbrel.services.media.ledger import _TABLES, SCHEMA, SqliteLedger


async def test_nodes_of_a_machine_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "media.db"
    other = apsw.Connection(str(file))
    other.pragma("journal_mode", "wal")
    other.execute("BEGIN IMMEDIATE")
    other.execute(_TABLES)
    other.pragma("user_version", SCHEMA)
    with ThreadPoolExecutor(1) as pool:
        opening = asyncio.wrap_future(pool.submit(SqliteLedger, file))
        with pytest.raises(TimeoutError):  # it waits for the one who is making it
            await asyncio.wait_for(asyncio.shield(opening), 0.3)
        other.execute("COMMIT")
        await (await opening).close()
    other.close()
