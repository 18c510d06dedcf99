"""The client: one account on one device, connected whenever that is possible.

    async with Client(account, device, key, host, port, trust=Pinned(fingerprint)) as client:
        sent = await client.send("bob", "A monster is attacking the Golden Gate Bridge")
        print(await sent.delivered)
        async for message in client.messages():
            print(message.sender, message.text)      # confirmed when the next is asked for

Puts outbox, inbox, journal and transport together; connecting stands in reconnect.py.
Longer than most files, because every word of the protocol has its short handler here.
Laws: stored here before it is used or confirmed; a lost connection loses nothing; after
`replaced` or `not-authorized` it never connects again by itself.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from whimbrel.client.errors import (
    ENDED_BY_CODE,
    Closed,
    CommandRefused,
    Ended,
    NotConnected,
    StoreFailed,
    Undelivered,
)
from whimbrel.client.inbox import Inbox
from whimbrel.client.journal import Journal
from whimbrel.client.outbox import Outbox
from whimbrel.client.reconnect import Backoff, Reconnector
from whimbrel.client.store import Change, ClientStore, MemoryClientStore, SetRead
from whimbrel.client.streams import Events, Messages
from whimbrel.client.transport import Transport
from whimbrel.client.trust import Authority, Trust
from whimbrel.client.words import (
    CaughtUp,
    Connection,
    Event,
    Presence,
    ReadStored,
    Restored,
    SentMessage,
    Step,
    Typing,
    as_time,
    encode_content,
)
from whimbrel.domain.errors import BadAddress, ShuttingDown
from whimbrel.domain.ids import parse_address
from whimbrel.domain.limits import Limits
from whimbrel.protocol import wire

CONFIRM_LAZY_S = 0.05  # receipts alone may wait this long for a frame to ride with
WATCH_AGAIN_S = 240.0  # the server forgets a watch after five minutes
BODY_BYTES_MAX = Limits().body_bytes_max


class Client:
    """See the module. Methods that ask the server something raise NotConnected or Ended."""

    def __init__(
        self,
        account: str,
        device: int,
        key: str,
        host: str,
        port: int,
        *,
        store: ClientStore | None = None,
        trust: Trust | None = None,
        agent: str = "whimbrel-python",
        backoff: Backoff | None = None,
    ) -> None:
        self.account = account
        self.device = device
        self.store: ClientStore = store if store is not None else MemoryClientStore()
        self._key = key
        self._agent = agent
        self._outbox = Outbox(self, device)
        self._inbox = Inbox(self, device)
        self._messages = Messages(self._inbox, self._confirm_soon)
        self._listeners: list[Events] = []
        self._reconnector = Reconnector(self, host, port, trust or Authority(), backoff)
        self._transport: Transport | None = None
        self._welcomed = False
        self._ended: Ended | None = None
        self._local_key = 0  # the last one given
        self._room: deque[asyncio.Future[None]] = deque()  # sends that wait for the window
        self._asked: dict[str, deque[asyncio.Future[Any]]] = {"block": deque(), "link": deque()}
        self._asked["unlink"], self._asked["hide"] = deque(), deque()
        self.hidden = False  # whether this account hides when it is online
        self._reads: dict[str, int] = {}  # read marks the server has not acknowledged
        self._reads_due: set[str] = set()  # of these, not sent on this connection
        self._watched: dict[str, float] = {}  # peer -> loop time of the last watch
        self._lazy: asyncio.TimerHandle | None = None
        self._online: list[asyncio.Future[None]] = []

    # ---- life ---------------------------------------------------------------------------

    async def __aenter__(self) -> "Client":
        self._loop = asyncio.get_running_loop()
        self._journal = Journal(self.store, self._loop, self._on_store_failed)
        saved = await self.store.open(self.device)
        self._local_key = saved.key
        self._reads = dict(saved.reads)
        self._outbox.load(saved)
        self._inbox.load(saved)
        self._reconnector.start(self._loop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what is under way, say goodbye, close the store. Unanswered messages keep."""
        self.end(Closed("the client was closed"))
        await self._reconnector.stopped()
        await self._journal.drained()
        await self.store.close()

    def end(self, error: Ended) -> None:
        """Stop for good; everybody who waits hears why."""
        if self._ended is not None:
            return
        self._ended = error
        if self._transport is not None:
            self._leave(self._transport, error)
        self._lost_connection()
        self._reconnector.stop()
        self._outbox.abandon(error)
        for future in (*self._room, *self._online):
            if not future.done():
                future.set_exception(error)
                future.exception()
        self._room.clear()
        self._messages.end(error)
        self.event(Connection("ended", str(error)))
        for listener in self._listeners:
            listener.end()

    def _leave(self, transport: Transport, error: Ended) -> None:
        if self._welcomed and isinstance(error, Closed):
            self._inbox_confirm(transport)
            transport.write(wire.Bye())
            transport.finish()
        else:
            transport.abort(str(error))

    @property
    def ended(self) -> Ended | None:
        """Why it stopped for good, or None."""
        return self._ended

    @property
    def is_online(self) -> bool:
        return self._welcomed

    async def online(self) -> None:
        """Wait until the server has accepted the key; raises what ended the client."""
        self._alive()
        if not self._welcomed:
            future: asyncio.Future[None] = self._loop.create_future()
            self._online.append(future)
            await future

    def _alive(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _on_store_failed(self, error: Exception) -> None:
        self.end(StoreFailed(f"the local files cannot be written: {error}"))

    # ---- what a program does ------------------------------------------------------------

    async def send(self, to: str, text: str, content: wire.Content | None = None) -> SentMessage:
        """Send; returns once it has a number. Waits while too many are unanswered.

        Works without a connection: the message goes out when there is one. Raises
        Undelivered at once for what can never be sent (bad address, too long).
        """
        try:
            address = parse_address(to)
        except BadAddress:
            raise Undelivered("bad-address") from None
        body = encode_content(content if content is not None else wire.Content(text=text))
        if len(body) > BODY_BYTES_MAX:
            raise Undelivered("body-too-big")
        self._alive()
        while not self._outbox.has_room or self._room:
            await self._wait_for_room()
            if self._outbox.has_room:
                break
        return self._outbox.add(self._next_key(), address, body)

    def trace(self, c: int, device: int = 0) -> list[Step]:
        """The timeline of one of our last 1,000 messages, by its submit number. `device`: 0
        for this one. Raises KeyError if it is not among them.
        """
        message = self._outbox.find(device or self.device, c)
        if message is None:
            raise KeyError(c)
        return message.timeline

    async def _wait_for_room(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._room.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._wake_senders()  # hand the turn on
            raise
        finally:
            if future in self._room:
                self._room.remove(future)
        self._alive()

    def _wake_senders(self) -> None:
        free = self._outbox.window - self._outbox.unanswered
        for future in list(self._room):
            if free <= 0:
                return
            if not future.done():
                future.set_result(None)
                free -= 1

    def messages(self) -> Messages:
        """Incoming messages, oldest first. The one iterator of this client."""
        return self._messages

    def events(self) -> Events:
        """A new iterator over everything else that happens, from now on."""
        events = Events()
        if self._ended is not None:
            events.end()
        self._listeners.append(events)
        return events

    def typing(self, to: str, on: bool) -> None:
        """Shown to `to` if both are connected; never stored."""
        if self._welcomed:
            self.frame(wire.Typing(to, on))

    def read(self, peer: str, id: int) -> None:
        """The person has read everything from `peer` up to message id."""
        if id <= self._reads.get(peer, 0):
            return
        self._reads[peer] = id
        self.change(SetRead(peer, id, False))
        self._reads_due.add(peer)
        self._confirm_soon()

    def watch(self, peer: str) -> None:
        """Presence events about `peer` from now on, until unwatch()."""
        self._watched[peer] = self._loop.time()
        if self._welcomed:
            self.frame(wire.Watch(peer))

    def unwatch(self, peer: str) -> None:
        self._watched.pop(peer, None)

    async def block(self, peer: str, on: bool) -> None:
        """Refuse (or accept again) what `peer` sends."""
        await self._ask("block", wire.Block(peer, on))

    async def hide(self, on: bool) -> None:
        """Show nobody (or everybody again) when this account is online and was last seen."""
        await self._ask("hide", wire.Hide(on))

    async def link(self, name: str) -> tuple[int, str]:
        """A further device of this account: its number and its key, shown once."""
        linked: wire.Linked = await self._ask("link", wire.Link(name))
        if not linked.device:
            raise CommandRefused(linked.code)
        return linked.device, linked.key

    async def unlink(self, device: int) -> None:
        await self._ask("unlink", wire.Unlink(device))

    async def _ask(self, about: str, message: wire.Wire) -> Any:
        self._alive()
        if not self._welcomed:
            raise NotConnected("not connected to the server; try again when it is back")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked[about].append(future)
        self.frame(message)
        return await future

    # ---- the shell of outbox and inbox (shell.py) ---------------------------------------

    def frame(self, message: wire.Wire) -> None:
        if self._transport is not None:
            self._transport.write(message)

    def change(self, change: Change) -> None:
        self._journal.change(change)

    def then(self, action: Callable[..., None], *args: Any) -> None:
        self._journal.then(action, *args)

    def event(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put(event)

    def stored(self) -> None:
        self._messages.wake()
        self._confirm_later()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self._loop.call_later(seconds, action)

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def backoff_s(self, attempt: int) -> float:
        return self._reconnector.backoff.delay_s(attempt)

    def reconnect(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.abort(reason)

    def _next_key(self) -> int:
        self._local_key += 1
        return self._local_key

    # ---- the connection (called by reconnect.py and transport.py) ------------------------

    def on_connected(self, transport: Transport) -> None:
        self._transport = transport
        last, era = self._inbox.last, self._inbox.era
        transport.write(
            wire.Hello(wire.VERSION, self.account, self.device, self._key, last, era, self._agent)
        )

    def on_frames(self, messages: list[wire.Wire]) -> None:
        for message in messages:
            if self._ended is not None:
                return
            handle = _ON.get(type(message))
            if handle is not None:
                handle(self, message)
        self._inbox.end_of_read()
        self._journal.commit()
        if self._room:
            self._wake_senders()

    def on_closed(self, transport: Transport, reason: str) -> None:
        if transport is not self._transport:
            return
        self._lost_connection()
        self._reconnector.on_closed(reason)

    def _lost_connection(self) -> None:
        self._transport = None
        self._welcomed = False
        self._outbox.on_lost()
        error = self._ended or NotConnected("the connection was lost before the answer came")
        for waiting in self._asked.values():
            while waiting:
                future = waiting.popleft()
                if not future.done():
                    future.set_exception(error)
                    future.exception()

    def before_write(self) -> None:
        if self._transport is not None and self._welcomed:
            self._inbox_confirm(self._transport)
            if self._reads_due:
                self._send_reads(self._transport)

    # ---- confirming ---------------------------------------------------------------------

    def _inbox_confirm(self, transport: Transport) -> None:
        q = self._inbox.confirm()
        if q:
            transport.write(wire.Confirm(q))

    def _send_reads(self, transport: Transport) -> None:
        """Behind the confirm: the server counts as read only what was delivered before."""
        for peer in list(self._reads_due):
            id = self._reads.get(peer, 0)
            if self._inbox.holds(peer, id):
                continue
            self._reads_due.discard(peer)
            if id:
                transport.write(wire.Read(peer, id))

    def _confirm_soon(self) -> None:
        """A message was handled: one confirm at the end of this turn, for all of them."""
        if self._transport is not None and self._welcomed:
            self._transport.write_soon()

    def _confirm_later(self) -> None:
        """Receipts wait a moment for a frame to ride with."""
        if self._lazy is None and self._welcomed:
            self._lazy = self._loop.call_later(CONFIRM_LAZY_S, self._confirm_lazily)

    def _confirm_lazily(self) -> None:
        self._lazy = None
        self._confirm_soon()

    # ---- what the server says -----------------------------------------------------------

    def _on_welcome(self, m: wire.Welcome) -> None:
        self._welcomed = True
        restored = self._inbox.on_welcome(m.era, m.confirmed)
        if restored:
            self.event(Restored(m.era))
        self._outbox.on_welcome(m.submitted, m.submits_max, restored)
        self._reads_due.update(self._reads)
        for peer in self._watched:
            self.watch(peer)
        self._reconnector.on_welcome(m.ping_s)
        self._confirm_later()  # the confirm of before may have been lost
        self.event(Connection("online"))
        for future in self._online:
            if not future.done():
                future.set_result(None)
        self._online.clear()

    def _on_stored(self, m: wire.Stored) -> None:
        self._outbox.on_stored(m)

    def _on_refused(self, m: wire.Refused) -> None:
        self._outbox.on_refused(m)

    def _on_message(self, m: wire.Message) -> None:
        if self._inbox.take(m) and self._inbox.on_message(self._local_key + 1, m):
            self._local_key += 1

    def _on_copy(self, m: wire.Copy) -> None:
        if self._inbox.take(m) and self._inbox.on_copy(self._local_key + 1, m):
            self._local_key += 1

    def _on_receipt(self, m: wire.Receipt) -> None:
        if self._inbox.take(m):
            self._outbox.on_receipt(m)

    def _on_failed(self, m: wire.Failed) -> None:
        if self._inbox.take(m):
            self._outbox.on_failed(m)

    def _on_trimmed(self, m: wire.Trimmed) -> None:
        if self._inbox.take(m):
            self._inbox.on_trimmed(m)

    def _on_end_of_queue(self, m: wire.EndOfQueue) -> None:
        self._inbox.end_of_read()
        self.then(self.event, CaughtUp())  # behind the messages before it

    def _on_read_done(self, m: wire.ReadDone) -> None:
        if self._reads.get(m.peer, 0) <= m.id:
            self._reads.pop(m.peer, None)
            self.change(SetRead(m.peer, m.id, True))
        self.event(ReadStored(m.peer, m.id))

    def _on_typing(self, m: wire.Typing) -> None:
        self.event(Typing(m.peer, m.on))

    def _on_presence(self, m: wire.Presence) -> None:
        seen = as_time(m.last_seen) if m.last_seen else None
        self.event(Presence(m.peer, m.online, seen))

    def _on_block(self, m: wire.Block) -> None:
        self._answer("block", m)

    def _on_hide(self, m: wire.Hide) -> None:
        self.hidden = m.on
        self._answer("hide", m)

    def _on_linked(self, m: wire.Linked) -> None:
        self._answer("link", m)

    def _on_unlink(self, m: wire.Unlink) -> None:
        self._answer("unlink", m)

    def _answer(self, about: str, result: Any) -> None:
        waiting = self._asked[about]
        if waiting:
            future = waiting.popleft()
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _on_ping(self, m: wire.Ping) -> None:
        self.frame(wire.Pong(m.n))

    def _on_replaced(self, m: wire.Replaced) -> None:
        self._end_with("replaced")

    def _on_error(self, m: wire.Error) -> None:
        if m.code in ENDED_BY_CODE:
            self._end_with(m.code)
        elif m.fatal:
            self._reconnector.hold_off(m.retry_after)
            if m.code == ShuttingDown.code:
                self._reconnector.restarts()
            self.reconnect(f"the server refused: {m.code}")
        elif m.about in self._asked:
            self._answer(m.about, CommandRefused(m.code, m.retry_after))
        elif m.about == "read" and self._reads:
            self._loop.call_later(max(1, m.retry_after), self._read_again)

    def _read_again(self) -> None:
        if self._welcomed:
            self._reads_due.update(self._reads)
            self._confirm_soon()

    def _end_with(self, code: str) -> None:
        kind, text = ENDED_BY_CODE[code]
        self.end(kind(text))

    def watch_again(self) -> None:
        """Called from time to time by reconnect.py: a watch ends after five minutes."""
        now = self._loop.time()
        for peer, since in list(self._watched.items()):
            if now - since > WATCH_AGAIN_S:
                self.watch(peer)


_ON: dict[type, Callable[[Client, Any], None]] = {
    wire.Welcome: Client._on_welcome,
    wire.Stored: Client._on_stored,
    wire.Refused: Client._on_refused,
    wire.Message: Client._on_message,
    wire.Copy: Client._on_copy,
    wire.Receipt: Client._on_receipt,
    wire.Failed: Client._on_failed,
    wire.Trimmed: Client._on_trimmed,
    wire.EndOfQueue: Client._on_end_of_queue,
    wire.ReadDone: Client._on_read_done,
    wire.Typing: Client._on_typing,
    wire.Presence: Client._on_presence,
    wire.Block: Client._on_block,
    wire.Hide: Client._on_hide,
    wire.Ping: Client._on_ping,
    wire.Linked: Client._on_linked,
    wire.Unlink: Client._on_unlink,
    wire.Replaced: Client._on_replaced,
    wire.Error: Client._on_error,
}
