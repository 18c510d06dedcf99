"""The server's own accounts: "whimbrel", who writes to administrators, and the two of the probe.

Nobody signs up under their addresses (domain/ids.HOUSE; logic/devices.py refuses); their keys lie
in the data folder. Law: an account of that name that somebody had before is left alone.
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

log = structlog.get_logger("whimbrel.node")

FILE = "house.json"


class Ask(Protocol):
    def __call__(
        self, key: int, make: Callable[[int], ToActor], timeout_s: float = 10.0
    ) -> Awaitable[ToSession]: ...


class House:
    """keys() opens an account on first use; raises Busy or Unready, then try again."""

    def __init__(self, folder: Path, ask: Ask, keep: Keeper) -> None:
        self._file = folder / FILE
        self._ask = ask
        self._keep = keep
        self._keys = _read(self._file)

    async def keys(self, name: str) -> tuple[int, str] | None:
        """(device, key); None: somebody else has that name."""
        assert name in HOUSE
        saved = self._keys.get(name) or await self._open(name)
        if not saved:
            return None
        device, _, key = saved.partition(":")
        return int(device), key

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
        write_private(self._file, json.dumps(self._keys))
        return saved


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}
