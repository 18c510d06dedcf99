"""The bus: packs between nodes over NATS core, at most once.

Each node listens on a subject of its own and on one for all. A pack that cannot go now is not
kept for later: its sender is told, and actors and sessions say again what matters. So a broken
or slow bus costs time, never a message, and never memory beyond what stands below.

nats-py gives up for good in some cases (a server that refuses us, a protocol error); then a new
client is made, with growing pauses, for as long as the node runs.
"""

import asyncio
import contextlib
import ssl
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from whimbrel.domain.discreet import discreet

log = structlog.get_logger("whimbrel.cluster")

PACK_BYTES = 262_144  # packs are cut here even where the server takes more
QUEUE_BYTES_MAX = 16_777_216  # waits for the line; above it requests are refused
CLIENT_BYTES_MAX = 2_097_152  # of nats-py's own buffer, then it waits for the socket
UNREAD_MESSAGES_MAX = 65_536  # received, not handled yet; above it packs are dropped, counted
UNREAD_BYTES_MAX = 67_108_864
CONNECT_S = 3
PING_S = (
    2  # a server that does not answer two of these is gone: known after 6 s, not by TCP's clock
)
AGAIN_S = 0.25
AGAIN_MAX_S = 2.0
REFUSED = "uthorization"  # stands in what is said of a wrong password or token
READ_SLICE = 64  # packs handled before others get their turn


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How nodes reach each other."""

    url: str = ""  # of NATS: "nats://10.0.0.7:4222", or several with commas; tls:// for TLS
    subject: str = "whimbrel"  # how subjects begin; one for each installation on a NATS
    user: str = ""
    password: str = ""
    password_file: str = ""  # a file with the password, in the place of `password`
    token: str = ""
    credentials: str = ""  # a .creds file (JWT and seed)
    ca: str = ""  # a file with the authority of the servers' certificates; "": the system's
    certificate: str = ""  # ours, where the servers want one
    key: str = ""
    __repr__ = discreet

    @property
    def urls(self) -> list[str]:
        return [each.strip() for each in self.url.split(",") if each.strip()]

    def mistake(self) -> str:
        """What is wrong, beginning with the key; empty if all is well."""
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in ("nats", "tls") or not parts.hostname:
                return 'url: write "nats://HOST:4222" or "tls://HOST:4222", several with commas'
        if not self.subject or not all(c.isalnum() or c in "-_." for c in self.subject):
            return 'subject: write letters, digits and dots, like "whimbrel"'
        if bool(self.certificate) != bool(self.key):
            return "certificate: give both certificate and key, or none of them"
        if bool(self.user) != bool(self.password or self.password_file):
            return "user: give both user and password (or password_file), or none of them"
        if self.password and self.password_file:
            return "password_file: give the password there or in password, not in both"
        for name in ("credentials", "ca", "certificate", "key"):
            file = getattr(self, name)
            if file and not Path(file).is_file():
                return f"{name}: there is no file {file}"
        return ""


class BusAway(Exception):
    """No NATS server could be reached; the text says why."""


class Server(msgspec.Struct, frozen=True):
    """A NATS server, for the doctor. payload_bytes: what one message may hold."""

    version: str
    payload_bytes: int
    tls: bool
    asks_who: bool


class NatsBus:
    """ports.Bus. All of it in the loop's thread."""

    def __init__(
        self,
        settings: BusSettings,
        node: int,
        received: Callable[[bytes], None],
        is_back: Callable[[], None],
        listens: bool = True,
    ) -> None:
        """received: for each pack. is_back: after an interruption, when packs go again.

        listens: False for somebody who only looks whether the bus is there.
        """
        self._listens = listens
        self.settings = settings
        self.node = node
        self.pack_bytes_max = PACK_BYTES
        self.counts: Counter[str] = Counter()
        self.trouble = "not connected yet"  # why nothing goes, for people; "": all is well
        self._received = received
        self._is_back = is_back
        self._client: Client | None = None
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued_bytes = 0
        self._more = asyncio.Event()
        self._up = asyncio.Event()
        self._ended = asyncio.Event()  # this client is closed for good: make another one
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._down_s = self._loop.time()  # since when nothing goes, if nothing goes
        self._subjects: dict[int, str] = {}

    # ---- life ----------------------------------------------------------------------------

    async def start(self, patience_s: float) -> None:
        """Raises BusAway if no server answers in time."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stay()), loop.create_task(self._send_all())]
        try:
            await asyncio.wait_for(self._up.wait(), patience_s)
        except TimeoutError:
            await self.stop()
            hosts = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in self.settings.urls)
            raise BusAway(f"no NATS server at {hosts}: {self.trouble}") from None

    async def stop(self) -> None:
        """What was taken is sent, if that goes at once."""
        self._stopping = True
        client = self._client
        if client is not None and client.is_connected:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    while self._queue:
                        await self._publish(client)
                    await client.flush(1)
        tasks, self._tasks = set(self._tasks), []
        while tasks:
            for task in tasks:
                task.cancel()  # nats-py swallows one of these now and then
            _, tasks = await asyncio.wait(tasks, timeout=0.1)
        if client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(), 2.0)

    def server(self) -> Server | None:
        """What the server that is connected says of itself."""
        client = self._client
        if client is None or not client.is_connected:
            return None
        told = client._server_info
        url = client.connected_url
        tls = bool(told.get("tls_required")) or (url is not None and url.scheme == "tls")
        return Server(
            str(told.get("version", "")),
            int(told.get("max_payload", 0)),
            tls,
            bool(told.get("auth_required")),
        )

    async def _stay(self) -> None:
        """One client after the other, as long as we run."""
        pause_s = AGAIN_S
        while not self._stopping:
            self._ended.clear()
            try:
                await self._connect()
                pause_s = AGAIN_S
                await self._ended.wait()
            except Exception as error:  # whatever it is: the bus is tried again
                self._is_down(_told(error))
            client, self._client = self._client, None
            if client is not None:
                with contextlib.suppress(Exception):
                    await client.close()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, AGAIN_MAX_S)

    async def _connect(self) -> None:
        settings = self.settings
        client = self._client = Client()
        await client.connect(
            servers=settings.urls,
            name=f"whimbrel node {self.node}",
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            connect_timeout=CONNECT_S,
            allow_reconnect=True,
            max_reconnect_attempts=3,  # then _stay() makes a new client, with growing pauses
            reconnect_time_wait=1,
            ping_interval=PING_S,
            max_outstanding_pings=2,
            no_echo=True,
            pending_size=CLIENT_BYTES_MAX,
            flush_timeout=CONNECT_S,
            skip_subject_validation=True,
            **self._credentials(),
        )
        subjects = (self._subject(self.node), f"{settings.subject}.all")
        for subject in subjects if self._listens else ():
            await client.subscribe(
                subject,
                cb=self._on_pack,
                pending_msgs_limit=UNREAD_MESSAGES_MAX,
                pending_bytes_limit=UNREAD_BYTES_MAX,
            )
        # The server must know what we listen to before others are told that we are there. The
        # first flush may overtake the subscriptions: nats-py writes its PING past its own buffer.
        await client.flush(CONNECT_S)
        await client.flush(CONNECT_S)
        self._is_up(client)

    def _credentials(self) -> dict[str, Any]:
        s = self.settings
        known: dict[str, Any] = {}
        if s.user:
            known |= {"user": s.user, "password": s.password}
        if s.token:
            known["token"] = s.token
        if s.credentials:
            known["user_credentials"] = s.credentials
        if s.ca or s.certificate or any(url.startswith("tls://") for url in s.urls):
            context = ssl.create_default_context(cafile=s.ca or None)
            if s.certificate:
                context.load_cert_chain(s.certificate, s.key)
            known["tls"] = context
        return known

    # ---- what nats-py says ---------------------------------------------------------------

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self.counts["dropped_unread"] += 1
            return
        self.counts["errors"] += 1
        if not self._up.is_set() and REFUSED not in self.trouble:
            self.trouble = _told(error)

    async def _on_disconnected(self) -> None:
        self._is_down("the connection to NATS is lost")

    async def _on_reconnected(self) -> None:
        if self._client is not None:
            self._is_up(self._client)

    async def _on_closed(self) -> None:
        self._is_down(self.trouble or "the connection to NATS has ended")
        self._ended.set()

    def _is_up(self, client: Client) -> None:
        self.pack_bytes_max = min(PACK_BYTES, client.max_payload)
        was_down, self.trouble = self.trouble, ""
        self._up.set()
        if self.counts["connected"] and was_down:
            log.info("the bus is back")
            self._is_back()
        self.counts["connected"] += 1

    def _is_down(self, why: str) -> None:
        if self._up.is_set() and not self._stopping:
            self.counts["disconnected"] += 1
            self._down_s = self._loop.time()
            log.warning("the bus is away: actors on other nodes are not reached", reason=why)
        self._up.clear()
        if REFUSED not in self.trouble:  # a server that refuses us may end the line as well
            self.trouble = why
        self.counts["packs_lost"] += len(self._queue)
        self._queue.clear()  # it will be said again, and then it is not old
        self._queued_bytes = 0

    async def _on_pack(self, message: Msg) -> None:
        self.counts["packs_in"] += 1
        self.counts["bytes_in"] += len(message.data)
        self._received(message.data)
        if not self.counts["packs_in"] % READ_SLICE:
            await asyncio.sleep(0)

    @property
    def away_s(self) -> float:
        """For how long nothing has gone; 0: all is well."""
        return 0.0 if self._up.is_set() else self._loop.time() - self._down_s

    # ---- out -----------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        return self._up.is_set() and self._queued_bytes < QUEUE_BYTES_MAX

    def send(self, node: int, pack: bytes) -> bool:
        if not self._up.is_set() or self._queued_bytes >= QUEUE_BYTES_MAX:
            self.counts["packs_lost"] += 1
            return False
        self._queue.append((self._subject(node), pack))
        self._queued_bytes += len(pack)
        self._more.set()
        return True

    def _subject(self, node: int) -> str:
        subject = self._subjects.get(node)
        if subject is None:
            name = "all" if node < 0 else f"node.{node}"
            subject = self._subjects[node] = f"{self.settings.subject}.{name}"
        return subject

    async def _send_all(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                client = self._client
                if client is None or not self._up.is_set():
                    break  # emptied by whoever found the line broken
                try:
                    await self._publish(client)
                except Exception as error:  # whatever it is: the next one may go
                    self.counts["packs_lost"] += 1
                    self.counts["errors"] += 1
                    log.warning("a pack was not sent", error=type(error).__name__)

    async def _publish(self, client: Client) -> None:
        subject, pack = self._queue.popleft()
        self._queued_bytes -= len(pack)
        await client.publish(subject, pack)
        self.counts["packs_out"] += 1
        self.counts["bytes_out"] += len(pack)

    # ---- what operators see --------------------------------------------------------------

    def snapshot(self) -> dict[str, float]:
        table: dict[str, float] = {f"bus_{name}": n for name, n in self.counts.items()}
        table["bus_up"] = float(self._up.is_set())
        table["bus_queued_bytes"] = self._queued_bytes
        return table


def _told(error: BaseException) -> str:
    """For people. Never the URL, which may hold a password."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    return text if text and "://" not in text else type(error).__name__
