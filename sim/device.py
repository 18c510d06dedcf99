"""A phone: keeps what it must, shows what it gets, and is as careless as people are.

It speaks the real protocol (bytes, docs/protocol.md) over a played line, and was written
from that page, not from the server: it is the independent half of every check.
"""

from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from sim.time import MS, SECOND
from whimbrel.domain.ids import account_number
from whimbrel.protocol import wire

if TYPE_CHECKING:
    from sim.network import Line
    from sim.world import SimWorld

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(wire.ToDevice).decode
_content = msgspec.msgpack.Decoder(wire.Content).decode
PING_US, SILENCE_US = 15 * SECOND, 40 * SECOND
KEPT = 1_000  # own messages, for a server that was restored


class Sent:
    """One message of this device, until it needs nothing more."""

    __slots__ = ("answered", "body", "c", "code", "id", "text", "to")

    def __init__(self, c: int, to: str, text: str) -> None:
        self.c = c
        self.to = to
        self.text = text
        self.body = msgspec.Raw(_encode(wire.Content(text=text)))
        self.id = 0
        self.code = ""
        self.answered = False


class SimDevice:
    def __init__(self, world: "SimWorld", account: str, number: int, key: str, seed: int) -> None:
        self.world = world
        self.account = account
        self.actor = account_number(account)
        self.number = number  # as the server named it
        self.key = key
        self.name = f"{account}/{number}"
        self.chance = Random(seed)
        self.online = True  # wants a connection
        self.dead = False  # replaced for good, or unlinked
        self.line: Line | None = None
        self.welcomed = False
        self.heard_us = 0
        self.era = 0
        self.last = 0  # the highest item that is stored here
        self.sent: list[Sent] = []  # rising c, no gaps
        self.lag_us = 0  # how late it confirms
        self.lazy = False  # confirms nothing for now
        self.confirmed = 0  # the highest confirm that left this device
        self.shown: list[tuple[str, int, int, str]] = []  # (sender, device, c, text)
        self.lost = False  # at the bottom of a lake: it never returns
        self.believed: set[int] = set()  # own messages with two marks, checked
        self.highest: dict[tuple[str, int], int] = {}  # c shown, by sender and device
        self.delivered: dict[str, int] = {}
        self.read: dict[str, int] = {}
        self._confirm_set = False
        self._retry_us = 100 * MS
        self._again_set = False

    # ---- connection ----------------------------------------------------------------------

    def connect(self) -> None:
        if self.line is not None or not self.online or self.dead or self.lost:
            return
        up = [node for node in self.world.nodes if node.up]
        if not up:
            self.world.time.after(SECOND, self.connect)
            return
        line = self.line = self.world.connect(self, self.chance.choice(up))
        self.welcomed = False
        self.heard_us = self.world.time.now_us
        self.world.time.after(PING_US, lambda: self._watch(line))
        self._say(
            wire.Hello(wire.VERSION, self.account, self.number, self.key, self.last, self.era)
        )

    def _watch(self, line: "Line") -> None:
        """A server that says nothing any more is left."""
        if self.line is not line:
            return
        if self.world.time.now_us - self.heard_us > SILENCE_US:
            line.hang_up(silently=False)
            self.disconnected(line)
            return
        if self.welcomed:
            self._say(wire.Ping(1))
        self.world.time.after(PING_US, lambda: self._watch(line))

    def disconnected(self, line: "Line") -> None:
        if self.line is not line:
            return
        self.line = None
        self.welcomed = False
        self._retry_us = min(self._retry_us * 2, 5 * SECOND)
        self.world.time.after(self.chance.randrange(self._retry_us), self.connect)

    def finished(self, line: "Line") -> None:
        """The server has ended its side in good order."""
        line.hang_up(silently=False)
        self.disconnected(line)

    def vanish(self, for_us: int, silently: bool) -> None:
        """Into a tunnel; comes back by itself."""
        self.online = False
        if self.line is not None:
            self.line.hang_up(silently)
            self.line = None
            self.welcomed = False
        self.world.time.after(for_us, self.back)

    def back(self) -> None:
        self.online = True
        self.connect()

    def _say(self, *messages: wire.Wire) -> None:
        if self.line is not None:
            data = b"".join(len(p).to_bytes(4, "big") + p for p in map(_encode, messages))
            self.line.send(data)

    # ---- what the person does ------------------------------------------------------------

    def write(self, to: str, text: str) -> None:
        message = Sent(len(self.sent) + 1, to, text)
        self.sent.append(message)
        if self.welcomed:
            self._say(wire.Submit(message.c, to, message.body))

    def twice(self) -> None:
        """A nervous phone sends what is unanswered again."""
        if self.welcomed:
            self._say(*(wire.Submit(s.c, s.to, s.body) for s in self.sent if not s.answered))

    def _again(self) -> None:
        self._again_set = False
        self.twice()

    def read_all(self, peer: str, id: int) -> None:
        if self.welcomed:
            self._say(wire.Read(peer, id))

    def command(self, message: wire.Wire) -> None:
        if self.welcomed:
            self._say(message)

    # ---- what the server says ------------------------------------------------------------

    def received(self, line: "Line", data: bytes) -> None:
        if self.line is not line:
            return
        self.heard_us = self.world.time.now_us
        at = 0
        while at < len(data):  # a line carries whole frames
            stop = at + 4 + int.from_bytes(data[at : at + 4], "big")
            message = _decode(data[at + 4 : stop])
            self.world.laws.heard(self, message)
            _HANDLERS[type(message)](self, message)
            at = stop
            if self.line is not line:
                return

    def on_welcome(self, m: wire.Welcome) -> None:
        self.welcomed = True
        self._retry_us = 100 * MS
        if self.era not in (0, m.era):
            self._restored(m)
        self.era = m.era
        self.last = max(self.last, m.confirmed)
        if self.last > m.confirmed:
            self._confirm()
        for message in self.sent[-KEPT:]:
            if message.c > m.submitted or not message.answered:
                self._say(wire.Submit(message.c, message.to, message.body))

    def _restored(self, m: wire.Welcome) -> None:
        """The server came back from a backup: its numbers begin anew, our messages do not."""
        self.last = self.confirmed = 0
        self.delivered.clear()
        for message in self.sent:
            if message.c > m.submitted:
                message.answered, message.id, message.code = False, 0, ""

    def on_stored(self, m: wire.Stored) -> None:
        message = self.sent[m.c - 1]
        message.answered, message.id, message.code = True, m.id, ""

    def on_refused(self, m: wire.Refused) -> None:
        if m.code in ("gap", "busy", "rate-limited"):
            if not self._again_set:
                self._again_set = True
                self.world.time.after(self.chance.randrange(SECOND, 3 * SECOND), self._again)
            return
        message = self.sent[m.c - 1]
        message.answered, message.code = True, m.code

    def on_message(self, m: wire.Message) -> None:
        if self._new(m.prev, m.q):
            who = (m.sender, m.device)
            if m.c > self.highest.get(who, 0):  # else: sent again after a restore
                self.highest[who] = m.c
                text = _content(m.body).text
                self.shown.append((m.sender, m.device, m.c, text))
                self.world.laws.shown(self, m, text)

    def on_item(self, m: Any) -> None:
        self._new(m.prev, m.q)

    def on_receipt(self, m: wire.Receipt) -> None:
        if self._new(m.prev, m.q):
            self.delivered[m.peer] = max(self.delivered.get(m.peer, 0), m.delivered)
            self.read[m.peer] = max(self.read.get(m.peer, 0), m.read)

    def on_failed(self, m: wire.Failed) -> None:
        if self._new(m.prev, m.q):
            self.world.laws.failed(self, m)

    def on_ping(self, m: wire.Ping) -> None:
        self._say(wire.Pong(m.n))

    def on_replaced(self, m: wire.Replaced) -> None:
        """Another session of this device: normal after a reconnect. A lost key is not."""

    def on_error(self, m: wire.Error) -> None:
        if m.code == "not-authorized":
            self.world.laws.locked_out(self)
            self.dead = True

    def ignore(self, m: object) -> None:
        """Nothing a phone has to remember."""

    # ---- confirming ----------------------------------------------------------------------

    def _new(self, prev: int, q: int) -> bool:
        if q <= self.last:
            return False
        self.world.laws.follows(self, prev, q)
        self.last = q
        self._confirm_soon()
        return True

    def _confirm_soon(self) -> None:
        if not self._confirm_set and not self.lazy:
            self._confirm_set = True
            self.world.time.after(self.lag_us or self.chance.randrange(20 * MS), self._confirm)

    def _confirm(self) -> None:
        self._confirm_set = False
        if self.welcomed and not self.lazy and self.last:
            self.confirmed = self.last
            self.world.laws.confirms(self)
            self._say(wire.Confirm(self.last))

    def wake(self) -> None:
        """No longer lazy: it says what it held back. (Not more: that would hide lost confirms.)"""
        held_back, self.lazy, self.lag_us = self.lazy, False, 0
        if held_back:
            self._confirm_soon()


def hash_of(key: str) -> bytes:
    return sha256(key.encode()).digest()


_HANDLERS: dict[type, Any] = {
    wire.Welcome: SimDevice.on_welcome,
    wire.Stored: SimDevice.on_stored,
    wire.Refused: SimDevice.on_refused,
    wire.Message: SimDevice.on_message,
    wire.Copy: SimDevice.on_item,
    wire.Receipt: SimDevice.on_receipt,
    wire.Failed: SimDevice.on_failed,
    wire.Trimmed: SimDevice.on_item,
    wire.Ping: SimDevice.on_ping,
    wire.Replaced: SimDevice.on_replaced,
    wire.Error: SimDevice.on_error,
    wire.EndOfQueue: SimDevice.ignore,
    wire.ReadDone: SimDevice.ignore,
    wire.Typing: SimDevice.ignore,
    wire.Presence: SimDevice.ignore,
    wire.Pong: SimDevice.ignore,
    wire.Linked: SimDevice.ignore,
    wire.Block: SimDevice.ignore,
    wire.Unlink: SimDevice.ignore,
}
