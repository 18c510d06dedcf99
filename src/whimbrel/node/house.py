"""The server's own accounts: "whimbrel", who writes to administrators, and the two of the probe.

Nobody signs up under their addresses (domain/ids.HOUSE; logic/devices.py refuses); their keys lie
in the data folder, or in the database of several nodes, so that any of them can be the one who
speaks. Law: an account of that name that somebody had before is left alone.
"""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from whimbrel.domain.answers import Description, Registered, ToSession
from whimbrel.domain.ids import HOUSE, account_number
from whimbrel.domain.messages import Describe, Register, ToActor
from whimbrel.node.secret_files import write_private
from whimbrel.protocol.sasl.verifiers import Keeper
from whimbrel.storage.postgres.side import Side

log = structlog.get_logger("whimbrel.node")

FILE = "house.json"
_SAVE = "INSERT INTO secret VALUES ($1, $2) ON CONFLICT DO NOTHING"


class Ask(Protocol):
    def __call__(
        self, key: int, make: Callable[[int], ToActor], timeout_s: float = 10.0
    ) -> Awaitable[ToSession]: ...


class House:
    """keys() opens an account on first use; raises Busy or Unready, then try again."""

    def __init__(self, folder: Path, ask: Ask, keep: Keeper, side: Side | None = None) -> None:
        self._side = side
        self._file = folder / FILE
        self._ask = ask
        self._keep = keep
        self._keys = _read(self._file)

    async def keys(self, name: str) -> tuple[int, str] | None:
        """(device, key); None: somebody else has that name."""
        assert name in HOUSE
        saved = await self._saved(name) or await self._open(name)
        if not saved:
            return None
        device, _, key = saved.partition(":")
        return int(device), key

    async def _saved(self, name: str) -> str:
        """The installation's, if there are several nodes; what this one had before becomes that."""
        ours = self._keys.get(name, "")
        if self._side is None:
            return ours
        if ours:
            await self._side.fetch(_SAVE, _row(name), ours)
        rows = await self._side.fetch("SELECT value FROM secret WHERE name = $1", _row(name))
        return str(rows[0][0]) if rows else ""

    async def _open(self, name: str) -> str:
        number = account_number(name)
        known = await self._ask(number, Describe)
        if isinstance(known, Description) and known.exists:
            log.warning("an account that was here before has a name of the server's", name=name)
            return ""
        key = secrets.token_urlsafe(32)
        hashed = hashlib.sha256(key.encode()).digest()
        kept = self._keep(name, key)
        answer = await self._ask(
            number, lambda reply: Register(name, hashed, "server", reply, kept, house=True)
        )
        if not isinstance(answer, Registered):
            return ""
        saved = self._keys[name] = f"{answer.device}:{key}"
        if self._side is not None:
            await self._side.fetch(_SAVE, _row(name), saved)
            return saved
        write_private(self._file, json.dumps(self._keys))
        return saved


def _row(name: str) -> str:
    return f"house.{name}"


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}
