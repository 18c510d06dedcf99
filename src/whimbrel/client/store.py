"""What a client keeps: its numbers, its unanswered messages and its conversations.

Changes are values; a store applies a list of them in one transaction (law 1: what is
confirmed to the server was stored here first). MemoryClientStore forgets with the process;
sqlite_store.py keeps one file per account.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from whimbrel.client.words import DELIVERED, FAILED, QUEUED, READ, STORED, Incoming
from whimbrel.domain.discreet import discreet

KEPT_MAX = 1_000  # sent messages that can be sent again after a restore
HISTORY_MAX = 1_000  # lines a MemoryClientStore remembers per conversation


class Change(msgspec.Struct, frozen=True, gc=False):
    """Base of all changes."""

    __repr__ = discreet


class AddSent(Change, frozen=True):
    """A new message of this device, or a copy of one that another device sent."""

    key: int
    device: int
    c: int
    to: str
    body: bytes
    queued_us: int
    own: bool = True
    id: int = 0
    state: int = QUEUED


class SetSent(Change, frozen=True):
    """The answer to one message, or its new number."""

    key: int
    c: int
    id: int
    state: int
    code: str
    stored_us: int


class SetMarks(Change, frozen=True):
    """Everything sent to `peer` up to these ids, unless it failed."""

    peer: str
    delivered: int
    read: int
    at_us: int


class FailSent(Change, frozen=True):
    """Messages to `peer` with first <= id <= last that are not delivered."""

    peer: str
    first: int
    last: int
    code: str


class AddIncoming(Change, frozen=True):
    message: Incoming
    at_us: int


class SetLast(Change, frozen=True):
    """All items up to q are stored."""

    q: int


class SetEra(Change, frozen=True):
    """A new era: item numbers start anew."""

    era: int


class SetHandled(Change, frozen=True):
    """The program has handled all incoming messages up to this local key."""

    key: int


class SetRead(Change, frozen=True):
    """The person has read all from `peer` up to id; acknowledged: the server knows."""

    peer: str
    id: int
    acknowledged: bool


class SavedSent(msgspec.Struct):
    __repr__ = discreet

    key: int
    device: int
    c: int
    to: str
    body: bytes
    queued_us: int
    id: int = 0
    state: int = QUEUED
    code: str = ""
    stored_us: int = 0
    delivered_us: int = 0
    read_us: int = 0


class Saved(msgspec.Struct):
    """What a client needs to go on where it stopped."""

    last: int = 0
    era: int = 0
    submitted: int = 0  # the highest c ever given
    key: int = 0  # the highest local key
    kept: list[SavedSent] = msgspec.field(default_factory=list)  # own, by rising c
    unhandled: list[Incoming] = msgspec.field(default_factory=list)
    shown: dict[tuple[str, int], int] = msgspec.field(default_factory=dict)
    marks: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    reads: dict[str, int] = msgspec.field(default_factory=dict)  # not acknowledged yet


class Line(msgspec.Struct):
    """One line of a conversation. key rises in the order the lines came to this device."""

    __repr__ = discreet

    key: int
    peer: str
    mine: bool
    id: int
    at_us: int
    body: bytes
    state: int = 0  # of a line of ours
    code: str = ""
    c: int = 0
    device: int = 0


class Conversation(msgspec.Struct):
    peer: str
    unread: int
    last: Line


class ClientStore(Protocol):
    """Called from the loop's thread only; one commit is under way at a time."""

    async def open(self, device: int) -> Saved:
        """A device number other than the last one (registered again) starts its numbers anew:
        what was unanswered then has failed (code "replaced"), the conversations stay."""
        ...

    def commit(self, changes: Sequence[Change], done: Callable[[Exception | None], None]) -> None:
        """All or nothing; done() on the loop's thread when they are durable."""
        ...

    async def conversations(self) -> list[Conversation]:
        """The one with the newest line first."""
        ...

    async def history(self, peer: str, *, before: int = 0, limit: int = 200) -> list[Line]:
        """Lines with key < before (0: the newest), oldest first."""
        ...

    async def close(self) -> None: ...


class MemoryClientStore:
    """For tests and programs that keep no history; survives a reconnect, not the process.

    Marks are kept as watermarks and applied to the lines when somebody reads them.
    """

    def __init__(self) -> None:
        self._saved = Saved()
        self._device = 0
        self._sent: dict[int, SavedSent] = {}
        self._handled = 0
        self._lines: dict[str, deque[Line]] = {}
        self._by_key: dict[int, Line] = {}
        self._read: dict[str, int] = {}

    async def open(self, device: int) -> Saved:
        saved = self._saved
        if self._device not in (0, device):
            self._new_device()
        self._device = device
        for sent in self._sent.values():
            self._apply_marks(sent.to, sent)
        saved.kept = sorted(self._sent.values(), key=lambda sent: sent.c)
        saved.unhandled = [m for m in saved.unhandled if m.key > self._handled]
        return saved

    def commit(self, changes: Sequence[Change], done: Callable[[Exception | None], None]) -> None:
        for change in changes:
            _APPLY[type(change)](self, change)
        done(None)

    def _new_device(self) -> None:
        for line in self._by_key.values():
            if line.mine and line.state == QUEUED:
                line.state, line.code = FAILED, "replaced"
        self._sent.clear()
        self._saved.submitted = 0

    async def conversations(self) -> list[Conversation]:
        found = []
        for peer, lines in self._lines.items():
            self._apply_marks(peer, lines[-1])
            found.append(Conversation(peer, self._unread(peer), lines[-1]))
        return sorted(found, key=lambda one: -one.last.key)

    def _unread(self, peer: str) -> int:
        mark = self._read.get(peer, 0)
        return sum(1 for line in self._lines[peer] if not line.mine and line.id > mark)

    async def history(self, peer: str, *, before: int = 0, limit: int = 200) -> list[Line]:
        lines = [one for one in self._lines.get(peer, ()) if not before or one.key < before]
        for line in lines[-limit:]:
            self._apply_marks(peer, line)
        return lines[-limit:]

    async def close(self) -> None:
        pass

    def _apply_marks(self, peer: str, one: SavedSent | Line) -> None:
        delivered, read = self._saved.marks.get(peer, (0, 0))
        if not one.id or one.state in (QUEUED, FAILED) or (isinstance(one, Line) and not one.mine):
            return
        if one.id <= max(delivered, read):
            one.state = max(one.state, READ if one.id <= read else DELIVERED)

    def _line(self, line: Line) -> None:
        self._saved.key = max(self._saved.key, line.key)
        lines = self._lines.setdefault(line.peer, deque())
        lines.append(line)
        self._by_key[line.key] = line
        if len(lines) > HISTORY_MAX:
            del self._by_key[lines.popleft().key]

    def _add_sent(self, one: AddSent) -> None:
        at_us = one.id or one.queued_us
        self._line(
            Line(one.key, one.to, True, one.id, at_us, one.body, one.state, "", one.c, one.device)
        )
        if not one.own:
            return
        self._saved.submitted = max(self._saved.submitted, one.c)
        self._sent[one.key] = SavedSent(
            one.key, one.device, one.c, one.to, one.body, one.queued_us, one.id, one.state
        )
        if len(self._sent) > KEPT_MAX:
            del self._sent[next(iter(self._sent))]

    def _set_sent(self, one: SetSent) -> None:
        self._saved.submitted = max(self._saved.submitted, one.c)
        sent = self._sent.get(one.key)
        if sent is not None:
            sent.c, sent.id, sent.state, sent.code = one.c, one.id, one.state, one.code
            sent.stored_us = one.stored_us
        line = self._by_key.get(one.key)
        if line is not None:
            line.c, line.id, line.state, line.code = one.c, one.id, one.state, one.code
            line.at_us = one.id or line.at_us

    def _set_marks(self, one: SetMarks) -> None:
        self._saved.marks[one.peer] = (one.delivered, one.read)

    def _fail_sent(self, one: FailSent) -> None:
        found: list[SavedSent | Line] = [s for s in self._sent.values() if s.to == one.peer]
        found += [line for line in self._lines.get(one.peer, ()) if line.mine]
        for sent in found:
            self._apply_marks(one.peer, sent)
            if one.first <= sent.id <= one.last and sent.state in (QUEUED, STORED):
                sent.state, sent.code = FAILED, one.code

    def _add_incoming(self, one: AddIncoming) -> None:
        m = one.message
        self._saved.shown[(m.sender, m.device)] = m.c
        self._saved.unhandled.append(m)
        self._line(Line(m.key, m.sender, False, m.id, m.id, m.body, 0, "", m.c, m.device))

    def _set_last(self, one: SetLast) -> None:
        self._saved.last = one.q

    def _set_era(self, one: SetEra) -> None:
        for peer, lines in self._lines.items():
            for line in lines:
                self._apply_marks(peer, line)
        for sent in self._sent.values():
            self._apply_marks(sent.to, sent)
        self._saved.era, self._saved.last = one.era, 0
        self._saved.marks.clear()

    def _set_handled(self, one: SetHandled) -> None:
        self._handled = one.key
        unhandled = self._saved.unhandled
        count = sum(1 for m in unhandled if m.key <= one.key)
        del unhandled[:count]

    def _set_read(self, one: SetRead) -> None:
        self._read[one.peer] = max(one.id, self._read.get(one.peer, 0))
        if not one.acknowledged:
            self._saved.reads[one.peer] = one.id
        elif self._saved.reads.get(one.peer, 0) <= one.id:
            self._saved.reads.pop(one.peer, None)


_APPLY: dict[type[Change], Callable[[MemoryClientStore, Any], None]] = {
    AddSent: MemoryClientStore._add_sent,
    SetSent: MemoryClientStore._set_sent,
    SetMarks: MemoryClientStore._set_marks,
    FailSent: MemoryClientStore._fail_sent,
    AddIncoming: MemoryClientStore._add_incoming,
    SetLast: MemoryClientStore._set_last,
    SetEra: MemoryClientStore._set_era,
    SetHandled: MemoryClientStore._set_handled,
    SetRead: MemoryClientStore._set_read,
}
