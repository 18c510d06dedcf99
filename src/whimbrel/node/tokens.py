"""Tokens of administration: who may read, manage users, operate, or do everything.

Kept in `tokens.json` in the data folder as hashes: whoever reads the file can use none of them.
`whimbrel token` writes it too while no server runs, so a changed file is read again. The token of
`admin.token` is not among them; it is the root's and may do everything.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.errors import Busy, Exists, NotFound, Unready
from whimbrel.edge.http.office import ROOT, SCOPES, Holder
from whimbrel.edge.http.shapes import TokenLine, TokenShown
from whimbrel.node.secret_files import write_private

FILE = "tokens.json"
PREFIX = "whimbrel_"  # so that a token that leaked is recognised as what it is
TOKENS_MAX = 200
LOOK_S = 1.0  # how often the file is looked at
DAY_US = 86_400 * 1_000_000


class Kept(msgspec.Struct, frozen=True):
    """hash: SHA-256 of the token, in hexadecimal."""

    name: str
    hash: str
    scopes: list[str]
    created_us: int
    expires_us: int
    by: str
    __repr__ = discreet


class _File(msgspec.Struct):
    tokens: list[Kept] = msgspec.field(default_factory=list)
    __repr__ = discreet


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


class TokenFile:
    """now_us: the wall clock. Raises Unready from wherever the file has to be read."""

    def __init__(
        self,
        folder: Path,
        now_us: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / FILE
        self._now_us = now_us
        self._monotonic_s = monotonic_s
        self._looked_s = -LOOK_S
        self._stamp: tuple[int, int] | None = None
        self._by_hash: dict[str, Kept] = {}
        self._used_us: dict[str, int] = {}
        self._look()

    def find(self, token: str) -> Holder | None:
        """None: there is no such token, or it has expired."""
        if self._monotonic_s() - self._looked_s >= LOOK_S:
            self._look()
        kept = self._by_hash.get(hash_of(token))
        now_us = self._now_us()
        if kept is None or 0 < kept.expires_us <= now_us:
            return None
        self._used_us[kept.name] = now_us
        return Holder(kept.name, frozenset(kept.scopes), kept.expires_us)

    def create(self, name: str, scopes: list[str], days: int, by: str) -> TokenShown:
        self._look()
        if name == ROOT or any(kept.name == name for kept in self._by_hash.values()):
            raise Exists
        if len(self._by_hash) >= TOKENS_MAX:
            raise Busy("there are too many tokens; revoke some", retry_after_s=60)
        token = PREFIX + secrets.token_urlsafe(32)
        now_us = self._now_us()
        expires_us = now_us + days * DAY_US if days else 0
        ordered = [scope for scope in SCOPES if scope in scopes]
        kept = Kept(name, hash_of(token), ordered, now_us, expires_us, by)
        self._write([*self._by_hash.values(), kept])
        return TokenShown(name, ordered, expires_us, token)

    def lines(self) -> list[TokenLine]:
        self._look()
        return [
            TokenLine(
                kept.name,
                kept.scopes,
                kept.created_us,
                kept.expires_us,
                self._used_us.get(kept.name, 0),
                kept.by,
            )
            for kept in sorted(self._by_hash.values(), key=lambda kept: kept.name)
        ]

    def revoke(self, name: str) -> None:
        self._look()
        left = [kept for kept in self._by_hash.values() if kept.name != name]
        if len(left) == len(self._by_hash):
            raise NotFound
        self._write(left)
        self._used_us.pop(name, None)

    # ---- the file ------------------------------------------------------------------------

    def _look(self) -> None:
        self._looked_s = self._monotonic_s()
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._by_hash = None, {}
            return
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp == self._stamp:
            return
        try:
            file = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except (msgspec.DecodeError, OSError) as error:
            raise Unready(f"{self._path} cannot be read: {type(error).__name__}") from None
        self._stamp = stamp
        self._by_hash = {kept.hash: kept for kept in file.tokens}

    def _write(self, tokens: list[Kept]) -> None:
        try:
            write_private(self._path, msgspec.json.encode(_File(tokens)).decode())
        except OSError as error:
            raise Unready(f"{self._path} cannot be written: {error.strerror}") from None
        self._stamp = None
        self._look()
