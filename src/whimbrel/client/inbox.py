"""The inbox: items from the server, in order and once, and the confirm that answers them.

DELIVERY.md "Actor -> device", the device's side. Sans-I/O. Laws: an item is stored here
before it is shown and shown before it is confirmed; items at or below `last` are dropped;
a hole makes the client resume from `last`; nothing is shown twice, also after a restore.
"""

from collections import deque

from whimbrel.client.shell import Shell
from whimbrel.client.store import AddIncoming, AddSent, Saved, SetEra, SetHandled, SetLast
from whimbrel.client.words import STORED, Copied, Incoming, Trimmed, read_content
from whimbrel.protocol.wire import Copy, Item, Message
from whimbrel.protocol.wire import Trimmed as TrimmedItem

NULL = b"\xc0"  # MessagePack null: the body of a copy for the device that wrote it


class Inbox:
    def __init__(self, shell: Shell, device: int) -> None:
        self._shell = shell
        self._device = device
        self.last = 0  # the highest item taken
        self.era = 0
        self._durable = 0  # the highest item stored here
        self._confirmed = 0  # the highest confirm sent on this connection
        self._repeat = False  # the server sent confirmed items again: it missed the confirm
        self._waiting: deque[Incoming] = deque()  # stored, not yet given to the program
        self._current: Incoming | None = None  # in the program's hands
        self._shown: dict[tuple[str, int], int] = {}  # (account, device) -> highest c
        self._prev = 0  # the item before `last`
        self._arrived: list[Incoming] = []  # of this read, being stored
        self._changed = False

    def load(self, saved: Saved) -> None:
        self.last = self._durable = saved.last
        self.era = saved.era
        self._shown = dict(saved.shown)
        self._waiting.extend(saved.unhandled)

    def on_welcome(self, era: int, confirmed: int) -> bool:
        """True if the server was restored since: item numbers start anew."""
        restored = self.era not in (0, era)
        if era != self.era:
            self.era = era
            self.last = self._durable = 0
            self._shell.change(SetEra(era))
        self._confirmed = confirmed
        self.last = max(self.last, confirmed)
        self._durable = max(self._durable, confirmed)
        return restored

    # ---- items --------------------------------------------------------------------------

    def take(self, item: Item) -> bool:
        """False: seen before, or a hole."""
        if item.q <= self.last:
            if item.q <= self._confirmed:
                self._repeat = True
                self._shell.stored()
            return False
        if item.prev > self.last:
            self._shell.reconnect(f"items {self.last + 1} to {item.prev} are missing")
            return False
        self._prev, self.last = self.last, item.q
        self._changed = True
        return True

    def on_message(self, key: int, item: Message) -> bool:
        """False: dropped, the key was not used."""
        identity = (item.sender, item.device)
        if item.c <= self._shown.get(identity, 0):
            return False
        self._shown[identity] = item.c
        message = Incoming(
            key,
            item.sender,
            item.id,
            item.device,
            item.c,
            bytes(item.body),
            self._prev,
            item.q,
            self.era,
        )
        self._arrived.append(message)
        self._shell.change(AddIncoming(message, self._shell.now_us()))
        return True

    def on_copy(self, key: int, item: Copy) -> bool:
        body = bytes(item.body)
        if item.device == self._device or body == NULL:
            return False
        self._shell.change(
            AddSent(key, item.device, item.c, item.peer, body, item.id, False, item.id, STORED)
        )
        content = read_content(body)
        self._shell.event(Copied(item.peer, item.id, item.device, item.c, content))
        return True

    def on_trimmed(self, item: TrimmedItem) -> None:
        self._shell.event(Trimmed(item.first, item.last, item.code))

    def end_of_read(self) -> None:
        """All frames of one read were taken: store them together, then show."""
        if not self._changed:
            return
        self._changed = False
        self._shell.change(SetLast(self.last))
        arrived, self._arrived = self._arrived, []
        self._shell.then(self._stored, arrived, self.last, self.era)

    def _stored(self, arrived: list[Incoming], q: int, era: int) -> None:
        self._waiting.extend(arrived)
        if era == self.era:
            self._durable = max(self._durable, q)
        self._shell.stored()

    # ---- the program --------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return bool(self._waiting)

    def next(self) -> Incoming:
        """The next message for the program; asking says that it handled the one before."""
        self.handled()
        self._current = self._waiting.popleft()
        return self._current

    def handled(self) -> bool:
        """True if there was one in the program's hands."""
        if self._current is None:
            return False
        self._shell.change(SetHandled(self._current.key))
        self._current = None
        return True

    def holds(self, sender: str, id: int) -> bool:
        """True if a message of `sender` up to this id was not handled yet."""
        if self._current is not None and self._current.sender == sender:
            return self._current.id <= id
        return any(m.sender == sender and m.id <= id for m in (*self._waiting, *self._arrived))

    def confirm(self) -> int:
        """What to confirm now, or 0: everything before the first message not yet handled."""
        first = self._current or (self._waiting[0] if self._waiting else None)
        q = self._durable
        if first is not None and first.era == self.era:
            q = min(q, first.prev)
        if q > self._confirmed or (self._repeat and q == self._confirmed and q > 0):
            self._confirmed = q
            self._repeat = False
            return q
        return 0
