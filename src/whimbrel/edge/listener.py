"""The native listener: accepts, bounds, sweeps and ends all sessions of the own protocol.

Those of WebSockets too: HTTP hands over a connection that asks for one (edge/http/socket.py).

Limits per network address and in all stand here; what one session may do stands in
session.py. Law 5: too many connections are refused by name, and of those that have not said
hello the oldest goes first, so that a flood of silent ones keeps nobody else out.
"""

import asyncio
import socket
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from heapq import heappush, heappushpop
from typing import Any, ClassVar, NamedTuple, Protocol

import structlog

from whimbrel.domain.errors import Refused, ShuttingDown, TooManyConnections
from whimbrel.domain.ids import NODES_MAX
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Clock, Router
from whimbrel.edge.framed import FramedSession
from whimbrel.edge.session import Numbers, Session
from whimbrel.edge.sockets import BACKLOG
from whimbrel.edge.throttle import Throttle
from whimbrel.edge.transport import Application, Connection
from whimbrel.edge.websocket import WebSocket
from whimbrel.protocol import wire
from whimbrel.protocol.native import JsonCodec, MsgpackCodec
from whimbrel.protocol.sasl.verifiers import Keeper, keep_nothing
from whimbrel.protocol.websocket import WebSocketDecoder, text_frame

log = structlog.get_logger("whimbrel.edge")

SWEEP_S = 0.25
SWEEP_PARTS = 4  # each session is looked at once a second
READERS_SHOWN = 8
ADDRESSES_MAX = 100_000
ACCOUNTS_MAX = 100_000
COME_BACK_S_MAX = 120
AWAY_STEP_S = 0.1
BEHIND_BYTES = 65_536  # unsent: more than what any reader leaves for a moment


class Output(NamedTuple):
    """Bytes that wait for the slowest reader, who it is, and how long it has been behind."""

    bytes: int = 0
    who: str = ""
    behind_s: float = 0.0
    all_bytes: int = 0  # that wait for anybody, as of the last second


class Held(Protocol):
    """What the listener keeps of a connection, whatever is spoken on it."""

    number: int
    front: ClassVar[str]  # by which door it came, for the operator

    @property
    def unsent_bytes(self) -> int: ...
    @property
    def who(self) -> str: ...
    def sweep(self) -> None: ...
    def refuse(self, error: Refused) -> None: ...
    def shut_down(self, message: Any) -> None: ...
    def abort(self) -> None: ...


class Admitted(Held, Application, Protocol):
    """A connection's application that the listener keeps."""


Make = Callable[[Connection], Admitted]


class Listener:
    def __init__(
        self,
        router: Router,
        numbers: Numbers,
        limits: Limits,
        clock: Clock,
        ready: Callable[[], bool],
        keep: Keeper = keep_nothing,
    ) -> None:
        self.router = router
        self.numbers = numbers
        self.limits = limits
        self.counts: Counter[str] = Counter()
        self.now_s = clock.monotonic_us() / 1e6
        self.ready = ready
        self.keep = keep
        self._clock = clock
        self._codec = MsgpackCodec()
        self._json = JsonCodec()
        self._sessions: dict[int, Held] = {}
        self.fronts: Counter[str] = Counter()  # connections by front end
        self.silent_fronts: Counter[str] = Counter()  # those of them that are in _silent
        self._readers: list[tuple[int, str, str]] = []  # unsent bytes, who, front: the most
        self._slowest = Output()  # whose bytes wait longest, since somebody asked
        self._unsent = 0  # of all, in this round of sweeps and
        self._unsent_all = 0  # in the one before
        self._behind: dict[int, float] = {}  # sessions that read too slowly, since when
        self._silent: OrderedDict[int, Held] = OrderedDict()  # not welcomed, oldest first
        self._by_address: Counter[str] = Counter()
        self._addresses: dict[int, str] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._part = 0
        self.sweeps: list[Callable[[], None]] = []  # of what has no connection; 4 times a second
        self._closing = False
        minute = 60.0
        self._logins = Throttle(
            limits.logins_per_address_per_minute / minute,
            limits.logins_per_address_per_minute,
            ADDRESSES_MAX,
        )
        self._failed_address = Throttle(
            limits.failed_logins_per_address_per_minute / minute,
            limits.failed_logins_per_address_per_minute,
            ADDRESSES_MAX,
        )
        self._failed_account = Throttle(
            limits.failed_logins_per_account_per_minute / minute,
            limits.failed_logins_per_account_per_minute,
            ACCOUNTS_MAX,
        )
        self._locked: dict[str, float] = {}  # addresses, and accounts from one, until when

    # ---- listening -----------------------------------------------------------------------

    async def listen(
        self,
        sockets: Sequence[socket.socket],
        context: ssl.SSLContext | None,
        make: Make | None = None,
        alpn_needed: bool = True,
    ) -> int:
        """Accept on these (edge/sockets.py), which are closed in the end; returns their port.

        make: whom a connection is for, instead of a session of the own protocol.
        """
        self.start()
        real: int = sockets[0].getsockname()[1]
        for one in sockets:
            server = await self._loop.create_server(
                lambda: self._accept(context, make, alpn_needed), sock=one, backlog=BACKLOG
            )
            self._servers.append(server)
        return real

    def start(self) -> None:
        """Begin to sweep; also without a port of its own, for the WebSockets of HTTP."""
        if self._handle is None:
            self._handle = self._loop.call_later(SWEEP_S, self._sweep)

    def _accept(
        self, context: ssl.SSLContext | None, make: Make | None, alpn_needed: bool
    ) -> Connection:
        return Connection(
            _Opening(self, make or self._own),
            context,
            self.counts,
            self.limits.out_buffer_bytes_max,
            alpn_needed,
        )

    def _own(self, connection: Connection) -> FramedSession:
        return FramedSession(self, self._codec, connection)

    def admit(self, connection: Connection, make: Make) -> Application | None:
        """A TCP connection: a session, or None if a bound is met."""
        if not self._has_room(connection.address):
            return None
        session = make(connection)
        self._begin(session, connection.address)
        return session

    def admit_socket(self, connection: Connection, address: str) -> WebSocket:
        """A connection that asks to become a WebSocket; `address` is what limits count by.

        Raises ShuttingDown or TooManyConnections, which HTTP answers by name.
        """
        if self._closing:
            raise ShuttingDown(retry_after_s=1)
        if not self._has_room(address):
            raise TooManyConnections(retry_after_s=1)
        decoder = WebSocketDecoder(self.limits.hello_bytes_max)
        socket = WebSocket(connection, address, decoder)
        socket.session = Session(self, self._json, socket, decoder, text_frame)
        self._begin(socket.session, address)
        return socket

    def _has_room(self, address: str) -> bool:
        """False if a bound is met. Of those without a hello, the oldest makes room."""
        self.counts["connections"] += 1
        limits = self.limits
        if (
            self._closing
            or len(self._sessions) >= limits.connections_max
            or self._by_address[address] >= limits.connections_per_address_max
        ):
            self.counts[f"refused:{TooManyConnections.code}"] += 1
            return False
        if len(self._silent) >= limits.unauthenticated_max:
            oldest = next(iter(self._silent.values()))
            oldest.refuse(TooManyConnections("too many connections without a hello"))
            self._not_silent(oldest.number)
        return True

    def admit_other(self, address: str, make: Callable[[], Admitted]) -> Admitted:
        """The same for what comes through HTTP. Raises ShuttingDown or TooManyConnections."""
        if self._closing:
            raise ShuttingDown(retry_after_s=1)
        if not self._has_room(address):
            raise TooManyConnections(retry_after_s=1)
        session = make()
        self._begin(session, address)
        return session

    def _begin(self, session: Held, address: str) -> None:
        self._sessions[session.number] = session
        self._silent[session.number] = session
        self.fronts[session.front] += 1
        self.silent_fronts[session.front] += 1
        self._by_address[address] += 1
        self._addresses[session.number] = address

    def _not_silent(self, number: int) -> None:
        session = self._silent.pop(number, None)
        if session is not None:
            self.silent_fronts[session.front] -= 1

    # ---- what sessions ask (session.Edge) ------------------------------------------------

    def wall_us(self) -> int:
        return self._clock.now_us()

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, call)

    def may_log_in(self, address: str, account: int) -> bool:
        """False while there were too many logins, or too many wrong ones, of late.

        An account is locked for the network address that failed, never for its owner
        elsewhere: keys of 256 bits are not guessed, but a lock would be a weapon.
        """
        now_s = self.now_s
        for key in (address, f"{account} {address}"):
            until_s = self._locked.get(key)
            if until_s is not None:
                if until_s > now_s:
                    return False
                del self._locked[key]
        return self._logins.allow(address, now_s)

    def login_failed(self, address: str, account: int) -> None:
        self.counts["logins-failed"] += 1
        now_s = self.now_s
        if not self._failed_address.allow(address, now_s):
            self._lock(address)
        both = f"{account} {address}"
        if not self._failed_account.allow(both, now_s):
            self._lock(both)

    def _lock(self, key: str) -> None:
        if len(self._locked) >= ADDRESSES_MAX:
            self._locked.pop(next(iter(self._locked)))
        self._locked[key] = self.now_s + 60.0

    def authenticated(self, session: Held) -> None:
        self._not_silent(session.number)
        self.counts["logins"] += 1
        log.debug("session", session=f"{session.number:x}", who=session.who)

    def ended(self, session: Held) -> None:
        if self._sessions.pop(session.number, None) is None:
            return
        self.fronts[session.front] -= 1
        self._not_silent(session.number)
        self._behind.pop(session.number, None)
        address = self._addresses.pop(session.number)
        log.debug("session ended", session=f"{session.number:x}")
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    # ---- time ----------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._handle = self._loop.call_later(SWEEP_S, self._sweep)
        self.sweep_part()

    def sweep_part(self) -> None:
        """A quarter of the sessions, four times a second."""
        self.now_s = self._clock.monotonic_us() / 1e6
        self._part = (self._part + 1) % SWEEP_PARTS
        part = self._part
        for call in self.sweeps:
            call()
        for number in [
            number for number in self._sessions if number // NODES_MAX % SWEEP_PARTS == part
        ]:
            session = self._sessions.get(number)
            if session is not None:
                session.sweep()
                unsent = session.unsent_bytes
                if unsent or self._behind:
                    self._measure(session, unsent)
        if not part:
            self._unsent_all, self._unsent = self._unsent, 0

    def _measure(self, session: Held, unsent: int) -> None:
        self._unsent += unsent
        if unsent:
            self._note_reader((unsent, session.who, session.front))
        since_s = self.now_s
        if unsent > BEHIND_BYTES:
            since_s = self._behind.setdefault(session.number, since_s)
        else:
            self._behind.pop(session.number, None)
        if unsent > self._slowest.bytes:
            self._slowest = Output(unsent, session.who, self.now_s - since_s)

    def _note_reader(self, reader: tuple[int, str, str]) -> None:
        if len(self._readers) < READERS_SHOWN:
            heappush(self._readers, reader)
        else:
            heappushpop(self._readers, reader)

    def take_readers(self) -> list[tuple[int, str, str]]:
        """(bytes, who, front) of those for whom most waits, the most first, since the last call:
        once a second, because each session is looked at so often.
        """
        readers, self._readers = sorted(self._readers, reverse=True), []
        return readers

    def take_slowest(self) -> "Output":
        """The most that waited for one reader since the last call, and for whom."""
        slowest, self._slowest = self._slowest, Output()
        return slowest._replace(all_bytes=self._unsent_all)

    def statistics(self) -> dict[str, int]:
        return {"sessions": len(self._sessions), "silent": len(self._silent), **self.counts}

    def __len__(self) -> int:
        return len(self._sessions)

    # ---- the end -------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        self._closing = True
        for server in self._servers:
            server.close()

    def say_goodbye(self, logins_per_s: int, kept: type | None = None) -> None:
        """To everybody but those of the type `kept`; what they say from here on is not taken.

        logins_per_s: of a restart, after which so many are asked back in each second; those of
        the first second at once (0: after a second, as for any stop).
        """
        self.stop_accepting()
        sessions = [s for s in self._sessions.values() if kept is None or not isinstance(s, kept)]
        for at, session in enumerate(sessions):
            wait_s = min(at // logins_per_s, COME_BACK_S_MAX) if logins_per_s else 1
            session.shut_down(wire.Error(ShuttingDown.code, "", True, wait_s))

    async def send_away(self, per_s: int, within_s: float) -> None:
        """Other nodes serve: so many in each second are asked to come back at once, and the others
        are served until it is their turn. All are asked within `within_s`.
        """
        self.stop_accepting()
        sessions = list(self._sessions.items())
        step = max(1, int(max(per_s, len(sessions) / within_s) * AWAY_STEP_S))
        for at, (number, session) in enumerate(sessions):
            if at and at % step == 0:
                await asyncio.sleep(AWAY_STEP_S)
            if number in self._sessions:
                session.shut_down(wire.Error(ShuttingDown.code, "", True, 0))

    async def close(self) -> None:
        """Tell everybody who was not told, flush, close."""
        self.say_goodbye(0)
        if self._handle is not None:
            self._handle.cancel()
        for server in self._servers:
            await server.wait_closed()

    def abort(self) -> None:
        """End what is left at once."""
        for session in list(self._sessions.values()):
            session.abort()


class _Opening:
    """The application of a connection until TCP stands, and of one that is not admitted.

    A session begins with TCP, so one that never finishes its handshake counts and is swept.
    """

    __slots__ = ("_listener", "_make")

    def __init__(self, listener: Listener, make: Make) -> None:
        self._listener = listener
        self._make = make

    def connected(self, connection: Connection) -> Application:
        session = self._listener.admit(connection, self._make)
        if session is None:
            connection.abort()
            return self
        return session

    def opened(self) -> None:
        """Never: it was not admitted."""

    def received(self, data: bytes) -> None:
        """Never: it was not admitted."""

    def closed(self) -> None:
        """Nothing to undo."""
