"""The outbox: what this device sends, from its number to its last check mark.

DELIVERY.md "Device -> actor", seen from the device. Sans-I/O: frames, changes and events go
to the shell. Laws: a number is stored before it is used; an unanswered message is sent again
in order under the same number; at most `window` messages are unanswered on the wire.
"""

from collections import deque

import msgspec

from whimbrel.client.shell import Shell
from whimbrel.client.store import (
    KEPT_MAX,
    AddSent,
    FailSent,
    Saved,
    SavedSent,
    SetMarks,
    SetSent,
)
from whimbrel.client.words import (
    DELIVERED,
    FAILED,
    QUEUED,
    READ,
    STORED,
    Delayed,
    Failed,
    Marked,
    SentMessage,
    Watermarks,
)
from whimbrel.protocol.wire import Failed as FailedItem
from whimbrel.protocol.wire import Receipt, Refused, Stored, Submit

RETRY_CODES = frozenset({"busy", "rate-limited", "try-again"})  # these do not use c up
MARKS_MAX = 20_000  # messages per peer whose marks are awaited; twice a server's inbox


class Outbox:
    def __init__(self, shell: Shell, device: int) -> None:
        self._shell = shell
        self._device = device
        self._submitted = 0  # the highest c given
        self._open = False  # welcomed, may write
        self._stalled = False  # a retry is due; nothing is written until then
        self._attempts = 0
        self.window = 64
        self._committing: deque[SentMessage] = deque()  # not durable here yet
        self._unsent: deque[SentMessage] = deque()  # durable, not on the wire
        self._flying: dict[int, SentMessage] = {}  # on the wire, by c, rising
        self._kept: dict[int, SentMessage] = {}  # by key, the last KEPT_MAX
        self._marks: dict[str, tuple[int, int]] = {}
        self._undelivered: dict[str, deque[SentMessage]] = {}  # by peer, rising id
        self._unread: dict[str, deque[SentMessage]] = {}

    def load(self, saved: Saved) -> None:
        self._submitted = saved.submitted
        self._marks = dict(saved.marks)
        for one in sorted(saved.kept, key=lambda sent: sent.c):
            message = _from_saved(one)
            self._kept[message.key] = message
            if message.state == QUEUED:
                self._unsent.append(message)
            elif message.state in (STORED, DELIVERED):
                self._await_marks(message)

    @property
    def unanswered(self) -> int:
        return len(self._committing) + len(self._unsent) + len(self._flying)

    @property
    def has_room(self) -> bool:
        return self.unanswered < self.window

    # ---- sending ------------------------------------------------------------------------

    def add(self, key: int, to: str, body: bytes) -> SentMessage:
        """Give the next number, store it, and write it when that is durable."""
        self._submitted += 1
        message = SentMessage(key, self._device, self._submitted, to, body, self._shell.now_us())
        self._committing.append(message)
        self._keep(message)
        self._shell.change(AddSent(key, self._device, message.c, to, body, message.queued_us))
        self._shell.then(self._durable)
        return message

    def find(self, device: int, c: int) -> SentMessage | None:
        """One of the last own messages."""
        for message in reversed([*self._kept.values(), *self._committing]):
            if message.c == c and message.device == device:
                return message
        return None

    def _durable(self) -> None:
        self._unsent.append(self._committing.popleft())
        self._pump()

    def _keep(self, message: SentMessage) -> None:
        self._kept[message.key] = message
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def _pump(self) -> None:
        unsent, flying = self._unsent, self._flying
        if not self._open or self._stalled:
            return
        while unsent and len(flying) < self.window:
            message = unsent.popleft()
            flying[message.c] = message
            self._shell.frame(Submit(message.c, message.to, msgspec.Raw(message.body)))

    def _rewind(self) -> None:
        """Everything unanswered goes out again, oldest first."""
        waiting = [*self._flying.values(), *self._unsent]
        self._flying.clear()
        self._unsent = deque(sorted(waiting, key=lambda message: message.c))

    # ---- the connection -----------------------------------------------------------------

    def on_welcome(self, submitted: int, window: int, new_era: bool) -> None:
        """Go on: the unanswered again, after a restore all kept ones above `submitted`."""
        self.window = max(1, window)
        self._open, self._stalled, self._attempts = True, False, 0
        self._rewind()
        if new_era:
            self._forget_era(submitted)
        self._submitted = max(self._submitted, submitted)
        self._pump()

    def _forget_era(self, submitted: int) -> None:
        self._marks.clear()
        self._send_again(self._answered(submitted + 1))

    def _answered(self, first: int) -> list[SentMessage]:
        """Kept messages that had an answer, with c >= first."""
        waiting = {message.key for message in (*self._unsent, *self._committing)}
        return [
            message
            for message in self._kept.values()
            if message.c >= first and message.key not in waiting and message.state != FAILED
        ]

    def _send_again(self, messages: list[SentMessage]) -> None:
        """They get new ids; what they have reached, people keep seeing."""
        for table in (self._undelivered, self._unread):
            for peer in {message.to for message in messages}:
                left = [one for one in table.get(peer, ()) if one not in messages]
                table[peer] = deque(left, maxlen=MARKS_MAX)
        for message in messages:
            message.id = 0
        self._unsent = deque(sorted([*messages, *self._unsent], key=lambda message: message.c))

    def on_lost(self) -> None:
        self._open = False

    # ---- answers ------------------------------------------------------------------------

    def on_stored(self, answer: Stored) -> None:
        message = self._flying.pop(answer.c, None)
        if message is None:
            return
        self._attempts = 0
        message.id = answer.id
        self._record(message, STORED)
        if message.state in (STORED, DELIVERED):
            self._await_marks(message)
            delivered, read = self._marks.get(message.to, (0, 0))
            if message.id <= max(delivered, read):
                self._apply_marks(message.to, delivered, read)
        self._pump()

    def _record(self, message: SentMessage, state: int) -> None:
        raised = message.reach(state, self._shell.now_us())
        self._shell.change(
            SetSent(
                message.key, message.c, message.id, message.state, message.code, message.stored_us
            )
        )
        if raised:
            self._shell.event(Marked(message))

    def on_refused(self, answer: Refused) -> None:
        code, c = answer.code, answer.c
        if code in RETRY_CODES:
            if c in self._flying and not self._stalled:
                wait_s = max(answer.retry_after, self._shell.backoff_s(self._attempts))
                self._shell.event(Delayed(code, wait_s))
                self._stall(wait_s)
        elif code == "gap":
            self._on_gap(answer.expected)
        elif code == "number-used":
            self._on_number_used(c)
        else:
            message = self._flying.pop(c, None)
            if message is not None:
                self._kept.pop(message.key, None)
                self._fail(message, code)
            self._pump()

    def _stall(self, seconds: float) -> None:
        if not self._stalled:
            self._stalled = True
            self._attempts += 1
            self._shell.later(seconds, self._resume)

    def _resume(self) -> None:
        if self._stalled:
            self._stalled = False
            self._rewind()
            self._pump()

    def _on_gap(self, expected: int) -> None:
        """The server lacks an earlier number: repeat from there.

        Usually a `busy` one, still unanswered. One that was answered before is taken from
        the kept ones. A number that nobody holds (it was refused without being used up) is
        closed by moving everything unanswered down.
        """
        if self._stalled:
            return  # everything is sent again anyway
        self._rewind()
        waiting = [*self._unsent, *self._committing]
        if not any(message.c == expected for message in waiting):
            again = self._answered(expected)
            if any(message.c == expected for message in again):
                self._send_again(again)
            else:
                self._renumber([m for m in waiting if m.c > expected], expected)
        self._stall(self._shell.backoff_s(self._attempts))

    def _renumber(self, waiting: list[SentMessage], c: int) -> None:
        for message in waiting:
            message.c = c
            self._record(message, QUEUED)
            c += 1
        self._submitted = c - 1

    def _on_number_used(self, c: int) -> None:
        """Another copy of this device took the number: this message gets the next one."""
        message = self._flying.pop(c, None)
        if message is None:
            return
        self._submitted += 1
        message.c = self._submitted
        self._record(message, QUEUED)
        if self._committing:
            self._committing.append(message)  # behind those with smaller numbers
            self._shell.then(self._durable)
        else:
            self._unsent.append(message)
            self._shell.then(self._pump)

    # ---- marks --------------------------------------------------------------------------

    def _await_marks(self, message: SentMessage) -> None:
        if message.state == STORED:
            self._undelivered.setdefault(message.to, deque(maxlen=MARKS_MAX)).append(message)
        self._unread.setdefault(message.to, deque(maxlen=MARKS_MAX)).append(message)

    def on_receipt(self, item: Receipt) -> None:
        peer = item.peer
        old = self._marks.get(peer, (0, 0))
        delivered, read = max(old[0], item.delivered), max(old[1], item.read)
        if (delivered, read) == old:
            return
        self._marks[peer] = (delivered, read)
        self._shell.change(SetMarks(peer, delivered, read, self._shell.now_us()))
        self._apply_marks(peer, delivered, read)
        self._shell.event(Watermarks(peer, delivered, read))

    def _apply_marks(self, peer: str, delivered: int, read: int) -> None:
        self._raise(self._undelivered, peer, max(delivered, read), DELIVERED)
        self._raise(self._unread, peer, read, READ)

    def _raise(
        self, table: dict[str, deque[SentMessage]], peer: str, upto: int, state: int
    ) -> None:
        waiting = table.get(peer)
        if waiting is None:
            return
        now_us = self._shell.now_us()
        while waiting and waiting[0].id <= upto:
            message = waiting.popleft()
            if message.reach(state, now_us):
                self._shell.event(Marked(message))
        if not waiting:
            del table[peer]

    def on_failed(self, item: FailedItem) -> None:
        """One message by its identity, or all with first <= id <= id without a second mark."""
        first = item.first or item.id
        self._shell.change(FailSent(item.peer, first, item.id, item.code))
        for message in self._failing(item):
            self._fail(message, item.code)
        self._shell.event(Failed(item.peer, first, item.id, item.code))

    def _failing(self, item: FailedItem) -> list[SentMessage]:
        if item.first:
            waiting = self._undelivered.get(item.peer, ())
            return [message for message in waiting if item.first <= message.id <= item.id]
        if item.device != self._device:
            return []
        return [message for message in self._kept.values() if message.c == item.c]

    def _fail(self, message: SentMessage, code: str) -> None:
        if message.fail(code):
            self._shell.change(
                SetSent(message.key, message.c, message.id, FAILED, code, message.stored_us)
            )
            self._shell.event(Marked(message))

    def abandon(self, error: Exception) -> None:
        """The client ended; whoever awaits a mark hears why."""
        seen = [*self._committing, *self._unsent, *self._flying.values(), *self._kept.values()]
        for table in (self._undelivered, self._unread):
            for waiting in table.values():
                seen.extend(waiting)
        for message in seen:
            message.abandon(error)


def _from_saved(one: SavedSent) -> SentMessage:
    message = SentMessage(one.key, one.device, one.c, one.to, one.body, one.queued_us)
    message.id, message.state, message.code = one.id, one.state, one.code
    message.stored_us, message.delivered_us = one.stored_us, one.delivered_us
    message.read_us = one.read_us
    return message
