"""Staying connected: connect, notice a dead connection, try again with growing waits.

Part of client.py. The first try after a loss is immediate; then the wait doubles, with
jitter, up to half a minute. A connection that lasted resets it.
"""

import asyncio
import os
import random
import ssl
from typing import TYPE_CHECKING

import msgspec

from whimbrel.client.errors import Ended, UntrustedCertificate
from whimbrel.client.transport import Transport
from whimbrel.client.trust import Trust, check_certificate, tls_context
from whimbrel.client.words import Connection
from whimbrel.domain.limits import Limits
from whimbrel.protocol.wire import Ping

if TYPE_CHECKING:
    from whimbrel.client.client import Client

FRAME_BYTES_MAX = 4 * Limits().frame_bytes_max  # generous: the server's limit may be raised
CONNECT_TIMEOUT_S = 10.0
WELCOME_TIMEOUT_S = 15.0
PING_MIN_S = 1.0
PONG_TIMEOUT_S = 15.0
LASTED_S = 5.0  # a connection that lived this long was a good one


class Backoff(msgspec.Struct, frozen=True):
    """first_s doubles up to max_s; each wait is drawn from its upper half."""

    first_s: float = 0.25
    max_s: float = 30.0

    def delay_s(self, attempt: int) -> float:
        full = min(self.max_s, self.first_s * 2.0 ** min(attempt, 20))
        return full * random.uniform(0.5, 1.0)


class Reconnector:
    def __init__(
        self, client: "Client", host: str, port: int, trust: Trust, backoff: Backoff | None
    ) -> None:
        self._client = client
        self._host = host
        self._port = port
        self._trust = trust
        self._context: ssl.SSLContext | None = None
        self.backoff = backoff or Backoff()
        self._attempt = 0
        self._hold_off_s = 0.0
        self._restarts = False
        self._task: asyncio.Task[None] | None = None
        self._transport: Transport | None = None
        self._closed: asyncio.Future[str] | None = None
        self._stopping = False
        self._welcomed_at = 0.0
        self._ping_s = 60.0
        self._pinged_at = 0.0
        self._watchdog: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = tls_context(self._trust)
        self._task = loop.create_task(self._run())
        self._task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            name = type(error).__name__  # its text might quote a message
            self._client.end(Ended(f"the client stopped by a mistake of its own: {name}"))

    def stop(self) -> None:
        """Called by the client when it has ended, also from within the task itself."""
        self._stopping = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result("")
        elif self._task is not None and self._transport is None:
            self._task.cancel()

    async def stopped(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    # ---- the loop -----------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            reason = await self._connect()
            if reason is None:
                assert self._closed is not None
                reason = await self._closed
                self._after_loss()
            if self._stopping:
                return
            wait_s = self._next_wait_s()
            self._client.event(Connection("offline", reason, wait_s))
            if wait_s:
                await asyncio.sleep(wait_s)

    async def _connect(self) -> str | None:
        """None: connected. Otherwise why not, for people."""
        self._client.event(Connection("connecting"))
        self._closed = None
        loop, client = self._loop, self._client
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, transport = await loop.create_connection(
                    lambda: Transport(client, loop, FRAME_BYTES_MAX),
                    self._host,
                    self._port,
                    ssl=self._context,
                )
        except TimeoutError:
            return f"{self._host}:{self._port} does not answer"
        except ssl.SSLError as error:
            return f"no secure connection to {self._host}:{self._port}: {error.reason}"
        except OSError as error:
            return f"{self._host}:{self._port} cannot be reached ({_plain(error)})"
        try:
            check_certificate(self._trust, transport.peer_certificate(), self._host)
        except UntrustedCertificate as error:
            transport.abort(str(error))
            client.end(error)
            return str(error)
        if transport.is_closed:
            return transport.reason
        self._transport = transport
        self._closed = loop.create_future()
        self._welcomed_at = 0.0
        self._pinged_at = 0.0
        self._watch(WELCOME_TIMEOUT_S)
        client.on_connected(transport)
        return None

    def _next_wait_s(self) -> float:
        wait_s = self.backoff.delay_s(self._attempt - 1) if self._attempt else 0.0
        self._attempt += 1
        held_off_s, self._hold_off_s = self._hold_off_s, 0.0
        if held_off_s:  # many were told the same: each comes somewhere in the second after it
            held_off_s += random.random()
        return max(wait_s, held_off_s)

    def _after_loss(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._transport = None
        lasted = self._loop.time() - self._welcomed_at >= LASTED_S or self._restarts
        if self._welcomed_at and lasted:
            self._attempt = 0
        self._restarts = False

    def hold_off(self, seconds: float) -> None:
        """The server asked us not to come back earlier."""
        self._hold_off_s = max(self._hold_off_s, seconds)

    def restarts(self) -> None:
        """The server has said that it ends, and when to come back: that is no failure."""
        self._restarts = True

    # ---- what the client reports --------------------------------------------------------

    def on_welcome(self, ping_s: float) -> None:
        self._welcomed_at = self._loop.time()
        self._ping_s = max(PING_MIN_S, ping_s)
        self._watch(self._ping_s)

    def on_closed(self, reason: str) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(reason)

    # ---- dead connections ---------------------------------------------------------------

    def _watch(self, seconds: float) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        transport = self._transport
        if transport is None:
            return
        now = self._loop.time()
        silent_s = now - transport.heard_at
        if not self._welcomed_at:
            transport.abort("the server does not answer the hello")
        elif self._pinged_at > transport.heard_at:
            transport.abort("the server does not answer any more")
        elif silent_s >= self._ping_s * 0.99:
            self._pinged_at = now
            transport.write(Ping(int(now)))
            self._watch(PONG_TIMEOUT_S)
        else:
            self._client.watch_again()
            self._watch(self._ping_s - silent_s)


def _plain(error: OSError) -> str:
    """'Connection refused', without the numbers around it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
