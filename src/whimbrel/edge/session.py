"""A session: one connected device, from hello to its end. Knows frames' meaning, no socket.

It turns wire messages into messages to the account's actor, and answers into frames, in
order. DELIVERY.md "Device -> actor": it keeps unanswered submits (bounded, then it stops
reading), repeats them with back-off, attaches again when its actor lost its memory, and
forwards items without gap or repetition. Laws 2, 3 and 5.

One class, longer than others here: hello, commands, answers and time-outs share one small set
of fields, and each is a few lines; apart they would only hand the same object to each other.
"""

import secrets
from collections import Counter, deque
from collections.abc import Callable
from hashlib import sha256
from typing import Any, ClassVar, Protocol

import structlog

from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.discreet import stack_of
from whimbrel.domain.errors import (
    INTERNAL,
    TRY_AGAIN,
    BadAddress,
    BadMessage,
    BadVersion,
    BodyTooBig,
    HelloExpected,
    HelloTimeout,
    IdleTimeout,
    NotAuthorized,
    RateLimited,
    Refused,
    ShuttingDown,
    SlowReader,
)
from whimbrel.domain.ids import (
    ADDRESS_CHARS_MAX,
    account_number,
    parse_address,
    submit_hash,
)
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Router, SessionSink
from whimbrel.edge.transport import Link
from whimbrel.protocol import wire
from whimbrel.protocol.native import Codec
from whimbrel.protocol.translate import ANSWERS, item_to_wire

log = structlog.get_logger("whimbrel.edge")

GOODBYE_S = 5.0  # for reading why the session ended
ATTACH_FIRST_S = 0.1
ATTACH_MAX_S = 5.0
ATTACH_CALM_S = 10.0  # without an attach, after which the next one is a first one
BUSY_RETRY_S = 0.05
PEERS_CACHED = 512
AGENT_CHARS_MAX = 128
COMMANDS_MAX = 64  # that wait for an answer and are said again; more are said once
COMMAND_TRIES = 3

_Command = m.MarkRead | m.Block | m.Hide


class Numbers(Protocol):
    """The node's registry: session numbers to sinks."""

    def open(self, sink: SessionSink) -> int: ...
    def close(self, number: int) -> None: ...


class Edge(Protocol):
    """What all sessions of a listener share."""

    router: Router
    numbers: Numbers
    limits: Limits
    counts: Counter[str]
    now_s: float  # coarse monotonic time, fresh to about a quarter of a second

    def keep(self, address: str, password: str, /) -> bytes: ...
    def wall_us(self) -> int: ...
    def ready(self) -> bool: ...
    def later(self, delay_s: float, call: Callable[[], None]) -> None: ...
    def may_log_in(self, address: str, account: int) -> bool: ...
    def login_failed(self, address: str, account: int) -> None: ...
    def authenticated(self, session: "Session") -> None: ...
    def ended(self, session: "Session") -> None: ...


class Cutter(Protocol):
    """What a session asks of whoever cuts bytes into messages."""

    limit: int  # bytes of a message; raised at the welcome

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""


class Session:
    """`frame` puts a message's bytes into the transport's frame."""

    front: ClassVar[str] = "websocket"
    __slots__ = (
        "_account",
        "_address",
        "_attach_delay_s",
        "_attach_s",
        "_attaching",
        "_backlog",
        "_codec",
        "_command_s",
        "_command_tries",
        "_commands",
        "_confirmed",
        "_cutter",
        "_device",
        "_edge",
        "_end_s",
        "_forgotten",
        "_frame",
        "_frames",
        "_hello",
        "_keys",
        "_last",
        "_link",
        "_open",
        "_ordinal",
        "_paused",
        "_peers",
        "_pinged",
        "_resend_delay_s",
        "_resend_s",
        "_waits_for_welcome",
        "agent",
        "allowance_bytes",
        "allowance_frames",
        "heard_s",
        "number",
        "over",
        "started_s",
        "welcomed",
    )

    def __init__(
        self,
        edge: Edge,
        codec: Codec,
        link: Link,
        cutter: Cutter,
        frame: Callable[[bytes], bytes],
    ) -> None:
        self._edge = edge
        self._codec = codec
        self._link = link
        self._cutter = cutter
        self._frame = frame
        self._frames: deque[bytes] = deque()  # read, but not worked on yet
        self._backlog: deque[m.ToActor] = deque()  # what a full mailbox did not take yet
        self._open: dict[int, m.Submit] = {}  # unanswered submits, in order
        self._hello: m.Hello | None = None
        self._peers: dict[str, tuple[str, int]] = {}  # as written -> address, number
        self._keys: dict[int, str] | None = None  # of devices being linked
        self._account = 0
        self._address = ""
        self._device = 0
        self._ordinal = 0
        self._last = 0  # the last item forwarded
        self._confirmed = 0
        self._paused = False
        self._pinged = False
        self._forgotten = False
        self._waits_for_welcome = False
        self._resend_s = 0.0
        self._resend_delay_s = 0.0
        self._attach_s = self._end_s = 0.0
        self._attach_delay_s = ATTACH_FIRST_S
        self._attaching = False
        self._commands: dict[tuple[str, str], _Command] | None = None  # not answered yet
        self._command_s = 0.0
        self._command_tries = 0
        self.allowance_frames = 2 * edge.limits.frames_per_s
        self.allowance_bytes = 2 * edge.limits.bytes_per_s
        self.started_s = self.heard_s = edge.now_s
        self.agent = ""  # the client's own word for itself
        self.welcomed = False
        self.over = False
        self.number = edge.numbers.open(self)

    # ---- bytes in ------------------------------------------------------------------------

    def take(self, messages: list[bytes], size: int, frames: int) -> None:
        """Whole messages out of `size` bytes in `frames` frames, some of which may hold none."""
        self.heard_s = self._edge.now_s
        self._pinged = False
        if self.over:
            return
        self.allowance_bytes -= size
        self.allowance_frames -= frames
        self._frames.extend(messages)
        self._work()

    def hang_up(self) -> None:
        """The peer ends it politely, by the means of its transport."""
        self._end(None)

    def _work(self) -> None:
        """Take frames until something makes us wait; then stop reading (back-pressure)."""
        frames = self._frames
        decode = self._codec.decode
        submits_max = self._edge.limits.submits_open_max
        while frames and not self.over:
            if self._backlog or len(self._open) >= submits_max or self._waits_for_welcome:
                break
            try:
                message = decode(frames.popleft())
                _HANDLERS[type(message)](self, message)
            except Refused as error:
                self.refuse(error)
            except Exception as error:
                log.error(
                    "session failed",
                    session=f"{self.number:x}",
                    error=type(error).__name__,
                    stack=stack_of(error),
                )
                self._edge.counts["internal"] += 1
                self._end(wire.Error(INTERNAL, "", True, 0, f"{self.number:x}"))
        if self.over:
            return
        wait = (
            frames
            or self._backlog
            or len(self._open) >= submits_max
            or self._waits_for_welcome
            or self.allowance_frames < 0
            or self.allowance_bytes < 0
        )
        if wait:
            if not self._paused:
                self._paused = True
                self._link.pause_reading()
                if self.allowance_frames < 0 or self.allowance_bytes < 0:
                    self._edge.counts["slowed-down"] += 1
        elif self._paused:
            self._paused = False
            self._link.resume_reading()

    def _tell(self, message: m.ToActor) -> None:
        """In order, also when the actor's mailbox is full: then we wait and stop reading."""
        backlog = self._backlog
        if backlog or not self._edge.router.tell(self._account, message):
            if not backlog:
                self._edge.later(BUSY_RETRY_S, self._try_backlog)
            backlog.append(message)

    def _try_backlog(self) -> None:
        if self.over or not self._backlog:
            return
        self._drain()
        if self._backlog:
            self._edge.later(BUSY_RETRY_S, self._try_backlog)

    def _drain(self) -> None:
        backlog = self._backlog
        tell = self._edge.router.tell
        while backlog and tell(self._account, backlog[0]):
            backlog.popleft()
        if not backlog:
            self._work()

    # ---- what devices say ----------------------------------------------------------------

    def on_hello(self, hello: wire.Hello) -> None:
        edge = self._edge
        if self._hello is not None:
            raise HelloExpected("a second hello")
        if hello.version != wire.VERSION:
            raise BadVersion(f"version {hello.version}")
        if not edge.ready():
            edge.counts["refused:try-again"] += 1
            self._end(wire.Error(TRY_AGAIN, "hello", True, 5, f"{self.number:x}"))
            return
        try:
            address = parse_address(hello.account)
        except BadAddress:
            raise NotAuthorized("no such address") from None
        self._account = account_number(address)
        self._address = address
        if not edge.may_log_in(self._link.address, self._account):
            raise RateLimited("logins", retry_after_s=60)
        self._device = hello.device
        self.agent = hello.agent[:AGENT_CHARS_MAX]
        self._last = hello.last
        key_hash = sha256(hello.key.encode()).digest()
        self._hello = m.Hello(hello.device, self.number, key_hash, hello.last, hello.era)
        self._waits_for_welcome = True
        self._say_hello()

    def _say_hello(self) -> None:
        assert self._hello is not None
        self._resend_s = self._edge.now_s + self._edge.limits.resend_first_s
        self._tell(self._hello)

    def on_submit(self, submit: wire.Submit) -> None:
        self._must_be_welcomed()
        limits = self._edge.limits
        refused = ""
        try:
            body = self._codec.check_body(bytes(submit.body), limits.body_bytes_max)
        except BodyTooBig as error:
            body, refused = b"", error.code
            self._edge.counts[f"refused:{refused}"] += 1
        to, peer = self._peer(submit.to)
        message = m.Submit(
            self._device,
            self.number,
            submit.c,
            to,
            peer,
            submit_hash(to, body),
            body,
            refused,
        )
        if not self._open:
            self._put_off_resend()
        self._open[submit.c] = message
        self._tell(message)

    def on_confirm(self, confirm: wire.Confirm) -> None:
        self._must_be_welcomed()
        q = confirm.q
        if q > self._confirmed:
            self._confirmed = q
        if q > self._last:
            self._last = q
        self._tell(m.Confirm(self._device, self.number, q))

    def on_read(self, read: wire.Read) -> None:
        self._must_be_welcomed()
        to, peer = self._peer(read.peer)
        self._command("read", to, m.MarkRead(self._device, self.number, to, peer, read.id))

    def on_typing(self, typing: wire.Typing) -> None:
        self._must_be_welcomed()
        to, peer = self._peer(typing.peer)
        if not self._backlog:  # ephemeral: not worth waiting for
            message = m.Typing(self._device, self.number, to, peer, typing.on)
            self._edge.router.tell(self._account, message)

    def on_watch(self, watch: wire.Watch) -> None:
        self._must_be_welcomed()
        to, peer = self._peer(watch.peer)
        self._tell(m.Watch(self._device, self.number, to, peer))

    def on_block(self, block: wire.Block) -> None:
        self._must_be_welcomed()
        to, peer = self._peer(block.peer)
        self._command("block", to, m.Block(self._device, self.number, to, peer, block.on))

    def on_hide(self, hide: wire.Hide) -> None:
        self._must_be_welcomed()
        self._command("hide", "", m.Hide(self._device, self.number, hide.on))

    def _command(self, about: str, to: str, message: _Command) -> None:
        """What does no harm twice is kept until it is answered: between nodes it may get lost."""
        commands = self._commands
        if commands is None:
            commands = self._commands = {}
        commands.pop((about, to), None)  # the last word counts
        if len(commands) < COMMANDS_MAX:
            commands[about, to] = message
            self._command_tries = 1
            self._command_s = self._edge.now_s + self._edge.limits.resend_first_s
        self._tell(message)

    def on_link(self, link: wire.Link) -> None:
        """The edge draws the key (chance is an argument of rules); its hash goes in."""
        self._must_be_welcomed()
        if self._keys is None:
            self._keys = {}
        if len(self._keys) >= self._edge.limits.devices_max:
            raise RateLimited("links under way", retry_after_s=10)
        key = secrets.token_urlsafe(32)
        tag = max(self._keys, default=0) + 1
        self._keys[tag] = key
        key_hash = sha256(key.encode()).digest()
        # People and terminals will show it: no control characters.
        name = "".join(filter(str.isprintable, link.name))[:AGENT_CHARS_MAX].strip()
        kept = self._edge.keep(self._address, key)
        self._tell(m.Link(self._device, self.number, key_hash, name, tag, kept))

    def on_unlink(self, unlink: wire.Unlink) -> None:
        self._must_be_welcomed()
        self._tell(m.Unlink(self._device, self.number, unlink.device))

    def on_ping(self, ping: wire.Ping) -> None:
        self._send(wire.Pong(ping.n))
        self.push()

    def on_pong(self, pong: wire.Pong) -> None:
        """The peer lives; received() has noted it."""

    def on_bye(self, bye: wire.Bye) -> None:
        self._end(None)

    def _must_be_welcomed(self) -> None:
        if not self.welcomed:
            raise HelloExpected("hello comes first")

    def _peer(self, text: str) -> tuple[str, int]:
        """The canonical address and its account number.

        What is no address goes on as it is: nobody has it, and a submit uses its number up.
        """
        peer = self._peers.get(text)
        if peer is None:
            if len(text) > ADDRESS_CHARS_MAX:
                raise BadMessage("an address of more than 64 characters")
            if len(self._peers) >= PEERS_CACHED:
                self._peers.clear()
            try:
                address = parse_address(text)
            except BadAddress:
                address = text
            peer = self._peers[text] = (address, account_number(address))
        return peer

    # ---- what the actor says -------------------------------------------------------------

    def deliver(self, answer: a.ToSession) -> None:
        """Take an answer; its bytes leave with flush()."""
        if self.over:
            return
        kind = type(answer)
        if kind is a.Item:
            self._forward(answer)  # type: ignore[arg-type]
        elif kind is a.Stored or kind is a.SubmitRefused:
            c: int = answer.c  # type: ignore[attr-defined]
            if self._open.pop(c, None) is not None:  # else: a submit sent twice, answered twice
                self._put_off_resend()
                self._attach_delay_s = ATTACH_FIRST_S  # the actor answers
                self._send(ANSWERS[kind](answer))
        elif kind in _OWN:
            _OWN[kind](self, answer)
        else:
            if self._commands:
                self._answered(answer)
            self._send(ANSWERS[kind](answer))

    def _answered(self, answer: a.ToSession) -> None:
        commands = self._commands
        assert commands is not None
        if isinstance(answer, a.ReadDone):
            commands.pop(("read", answer.address), None)
        elif isinstance(answer, a.CommandRefused):  # does not say which: the oldest
            key = next((key for key in commands if key[0] == answer.about), None)
            commands.pop(key or ("", ""), None)
        elif isinstance(answer, a.BlockDone):
            self._told_to_all(("block", answer.address), answer.on)
        elif isinstance(answer, a.HideDone):
            self._told_to_all(("hide", ""), answer.on)

    def _told_to_all(self, key: tuple[str, str], on: bool) -> None:
        """All devices of the account hear of it: it may be another one's word."""
        commands = self._commands
        command = commands.get(key) if commands else None
        if commands and isinstance(command, m.Block | m.Hide) and command.on == on:
            del commands[key]

    def flush(self) -> None:
        if self.over:
            return
        self.push()
        if self._paused:
            self._work()

    def push(self) -> None:
        """What was written leaves now; who lets too much of it wait is disconnected."""
        self._link.flush()
        if self._link.is_slow:
            self._edge.counts["refused:slow-reader"] += 1
            log.info(
                "reader is too slow, disconnected",
                session=f"{self.number:x}",
                code=SlowReader.code,
            )
            self.abort()

    def _forward(self, item: a.Item) -> None:
        """DELIVERY.md: forward if prev <= last < q, drop q <= last, else ask to rewind."""
        last = self._last
        if item.prev <= last < item.q:
            self._last = item.q
            self._attach_delay_s = ATTACH_FIRST_S
            self._send(item_to_wire(item))
        elif item.q > last:
            self._tell(m.Rewind(self._device, self.number, last))

    def _on_welcome(self, welcome: a.Welcome) -> None:
        limits = self._edge.limits
        hello = self._hello
        assert hello is not None
        self._ordinal = welcome.ordinal
        first = not self.welcomed
        if first and hello.era == welcome.era and hello.last <= welcome.tail:
            self._last = hello.last
        elif first:
            self._last = 0
        # A welcome that is repeated (a hello came twice) is older than what was forwarded since.
        self._last = max(self._last, welcome.confirmed)
        self._confirmed = max(self._confirmed, welcome.confirmed)
        if first:
            self.welcomed = True
            self._waits_for_welcome = False
            self._edge.authenticated(self)
            self._cutter.limit = limits.frame_bytes_max
            self._send(
                wire.Welcome(
                    welcome.account,
                    welcome.device,
                    welcome.era,
                    welcome.submitted,
                    welcome.confirmed,
                    welcome.tail,
                    self._edge.wall_us(),
                    limits.frame_bytes_max,
                    limits.submits_open_max,
                    int(limits.idle_ping_s),
                )
            )
        self._attach_s = self._edge.now_s + limits.reattach_s
        if self._forgotten:
            self._forgotten = False
            self._attach_soon()

    def _on_rejected(self, rejected: a.Rejected) -> None:
        self._edge.counts[f"refused:{rejected.code}"] += 1
        if not self.welcomed:
            self._edge.login_failed(self._link.address, self._account)
        self._end(wire.Error(rejected.code, "", True, 0, f"{self.number:x}"))

    def _on_gone(self, gone: a.Gone) -> None:
        if gone.code == ShuttingDown.code:  # an administrator ends it; the device may come back
            self._edge.counts["disconnected"] += 1
            self._end(wire.Error(gone.code, "", True, 1))
            return
        self._edge.counts["replaced"] += 1
        self._end(wire.Replaced())

    def _on_link_done(self, done: a.LinkDone) -> None:
        key = (self._keys or {}).pop(done.tag, "")
        shown = key if done.device else ""
        self._send(wire.Linked(done.device, shown, done.code))

    def _on_unknown_session(self, unknown: a.UnknownSession) -> None:
        """Our actor lost its memory, or has another owner. Before the welcome, that may still be
        on its way, or never come: the hello is said again.
        """
        self._forgotten = not self.welcomed
        self._attach_soon()

    # ---- attaching and repeating ---------------------------------------------------------

    def _attach_soon(self) -> None:
        """Once, however often we are told within the delay."""
        if self._attaching:
            return
        self._attaching = True
        if self._edge.now_s > self._attach_s - self._edge.limits.reattach_s + ATTACH_CALM_S:
            self._attach_delay_s = ATTACH_FIRST_S
        delay_s = self._attach_delay_s
        self._attach_delay_s = min(delay_s * 2, ATTACH_MAX_S)
        self._attach_s = self._edge.now_s + self._edge.limits.reattach_s
        self._edge.later(delay_s, self._attach)

    def _attach(self) -> None:
        """Say where we stand, then repeat what is unanswered, in order."""
        self._attaching = False
        if self.over:
            return
        if not self._edge.ready():
            self._attach_soon()
            return
        self._attach_s = self._edge.now_s + self._edge.limits.reattach_s
        self._backlog.clear()  # all of it is repeated here, or harmless to lose
        if not self.welcomed:
            self._say_hello()
            return
        self._tell(m.Attach(self._device, self.number, self._ordinal, self._last, self._confirmed))
        for message in self._open.values():
            self._tell(message)
        for command in (self._commands or {}).values():
            self._tell(command)
        self._work()

    @property
    def account(self) -> int:
        return self._account

    @property
    def unsent_bytes(self) -> int:
        return self._link.unsent_bytes

    @property
    def whence(self) -> str:
        """The network address, as limits count it."""
        return self._link.address

    @property
    def who(self) -> str:
        """Whose connection it is, for the operator."""
        return self._address or self._link.address

    def sweep(self) -> None:
        """About once a second: time-outs, repetitions, what the allowance held back."""
        edge = self._edge
        limits, now_s = edge.limits, edge.now_s
        if self.over:
            if now_s > self._end_s + GOODBYE_S:
                self._link.abort()
            return
        self.allowance_frames = min(
            self.allowance_frames + limits.frames_per_s, 2 * limits.frames_per_s
        )
        self.allowance_bytes = min(
            self.allowance_bytes + limits.bytes_per_s, 2 * limits.bytes_per_s
        )
        if self._paused:
            self._work()
        if not self.welcomed:
            self._sweep_unwelcomed(now_s, limits)
            return
        if self._open and now_s >= self._resend_s:
            self._resend(now_s, limits)
        if self._commands and now_s >= self._command_s:
            self._command_again(self._commands, now_s, limits)
        if now_s >= self._attach_s:
            self._attach_delay_s = ATTACH_FIRST_S
            self._attach_s = now_s + limits.reattach_s
            self._tell(
                m.Attach(self._device, self.number, self._ordinal, self._last, self._confirmed)
            )
        silent_s = now_s - self.heard_s
        if silent_s > limits.idle_timeout_s:
            self.refuse(IdleTimeout(f"silent for {silent_s:.0f} s"))
        elif silent_s > limits.idle_ping_s and not self._pinged:
            self._pinged = True
            self._send(wire.Ping(int(now_s)))
            self.push()

    def _sweep_unwelcomed(self, now_s: float, limits: Limits) -> None:
        if now_s - self.started_s > limits.hello_timeout_s:
            self.refuse(HelloTimeout())
        elif self._hello is not None and now_s >= self._resend_s and not self._backlog:
            self._say_hello()

    def _put_off_resend(self) -> None:
        """Submits are sent again after silence only; an answer shows that the actor works."""
        self._resend_delay_s = self._edge.limits.resend_first_s
        self._resend_s = self._edge.now_s + self._resend_delay_s

    def _resend(self, now_s: float, limits: Limits) -> None:
        self._resend_delay_s = min(self._resend_delay_s * 2, limits.resend_max_s)
        self._resend_s = now_s + self._resend_delay_s
        if not self._backlog:
            for message in self._open.values():
                self._tell(message)

    def _command_again(
        self, commands: dict[tuple[str, str], _Command], now_s: float, limits: Limits
    ) -> None:
        if self._command_tries >= COMMAND_TRIES:
            commands.clear()  # its client hears nothing, and says it again when it wants to
            return
        self._command_s = now_s + limits.resend_first_s * (1 << self._command_tries)
        self._command_tries += 1
        if not self._backlog:
            for command in commands.values():
                self._tell(command)

    # ---- bytes out -----------------------------------------------------------------------

    def _send(self, message: wire.Wire) -> None:
        payload = self._codec.encode(message)
        self._link.write(self._frame(payload))

    def refuse(self, error: Refused) -> None:
        """Say what was refused, by name; end the connection if it is that kind."""
        self._edge.counts[f"refused:{error.code}"] += 1
        fatal = error.fatal or not self.welcomed
        message = wire.Error(error.code, "", fatal, error.retry_after_s, f"{self.number:x}")
        if fatal:
            self._end(message)
        else:
            self._send(message)
            self.push()

    def shut_down(self, message: wire.Wire) -> None:
        """The server ends: tell the device, then close."""
        self._end(message)

    def abort(self) -> None:
        self.over = True
        self._link.abort()

    def _end(self, message: wire.Wire | None) -> None:
        if self.over:
            return
        if message is not None:
            self._send(message)
        self.over = True
        self._end_s = self._edge.now_s
        self._frames.clear()
        self._link.close(message.code if isinstance(message, wire.Error) else "")

    def closed(self) -> None:
        """The connection is gone, for whatever reason."""
        if self._cutter.pending and not self.over:
            self._edge.counts["frame-incomplete"] += 1
        self.over = True
        self._frames.clear()
        self._backlog.clear()
        self._open.clear()
        self._edge.numbers.close(self.number)
        if self._hello is not None:
            self._edge.router.tell(self._account, m.Detach(self._device, self.number))
        self._edge.ended(self)


_HANDLERS: dict[type, Callable[[Session, Any], None]] = {
    wire.Hello: Session.on_hello,
    wire.Submit: Session.on_submit,
    wire.Confirm: Session.on_confirm,
    wire.Read: Session.on_read,
    wire.Typing: Session.on_typing,
    wire.Watch: Session.on_watch,
    wire.Block: Session.on_block,
    wire.Hide: Session.on_hide,
    wire.Link: Session.on_link,
    wire.Unlink: Session.on_unlink,
    wire.Ping: Session.on_ping,
    wire.Pong: Session.on_pong,
    wire.Bye: Session.on_bye,
}

_OWN: dict[type, Callable[[Session, Any], None]] = {
    a.Welcome: Session._on_welcome,
    a.Rejected: Session._on_rejected,
    a.Gone: Session._on_gone,
    a.LinkDone: Session._on_link_done,
    a.UnknownSession: Session._on_unknown_session,
}
