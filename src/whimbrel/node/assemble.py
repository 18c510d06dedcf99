"""Assembly: the parts of a server, put together in the order in which they depend on each
other. Read this first: it names every part once (and is long for that reason).

store -> interpreter and engine -> router -> listeners (native, HTTP) -> housekeeping.
"""

import asyncio
import json
import os
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiohttp import web
from msgspec.structs import replace

from whimbrel.domain.desk import Desk
from whimbrel.domain.errors import Unready
from whimbrel.domain.ids import ACTOR_DESK
from whimbrel.domain.messages import PinNotSent, ToActor
from whimbrel.domain.ports import Router
from whimbrel.edge.certificate import Certificate, self_signed
from whimbrel.edge.http.app import HttpParts, HttpServer, make_app
from whimbrel.edge.http.origin import normal_origin
from whimbrel.edge.http.shapes import Alerts
from whimbrel.edge.listener import Listener
from whimbrel.edge.sockets import ListenSockets, Place
from whimbrel.edge.transport import Connection
from whimbrel.edge.xmpp.bosh import Bosh
from whimbrel.edge.xmpp.carried import CarriedSession, carry, carry_on
from whimbrel.edge.xmpp.component import ComponentStream
from whimbrel.edge.xmpp.features import features_for
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.edge.xmpp.websocket import XmppSocket
from whimbrel.logic import desk as desk_rules
from whimbrel.logic import user as user_rules
from whimbrel.node.alerts import Alert, Board
from whimbrel.node.asking import Asking
from whimbrel.node.audit import Auditor
from whimbrel.node.clock import ClockWatch, SystemClock
from whimbrel.node.company import Company, identity_of
from whimbrel.node.config import Config, ConfigError
from whimbrel.node.house import House
from whimbrel.node.housekeeping import Housekeeping
from whimbrel.node.inner import InnerClient
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.live import Live, alert_line
from whimbrel.node.metrics import Metrics
from whimbrel.node.monitor import Monitor, to_log
from whimbrel.node.neighbours import Neighbours
from whimbrel.node.office import open_office
from whimbrel.node.places import cannot_listen, places
from whimbrel.node.probe import Probe
from whimbrel.node.secret_files import scram_keeper, secret_file, share_secrets, write_private
from whimbrel.node.sessions import Sessions
from whimbrel.node.spokesman import Spokesman
from whimbrel.node.statistics import Statistics
from whimbrel.node.storing import NodeStore, SharedStore
from whimbrel.node.succession import HandedOver
from whimbrel.node.upgrade.upgrader import Upgrader
from whimbrel.node.webhook import Webhook
from whimbrel.protocol.sasl.verifiers import salt_of
from whimbrel.protocol.wire import ALPN
from whimbrel.runtime.behaviour import Behaviours
from whimbrel.runtime.engine import Engine
from whimbrel.services.media.service import MediaService, open_media, open_shared_media
from whimbrel.services.media.tidy import Tidy
from whimbrel.services.sms.choose import SmsConfigError, make_sender
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.postgres.side import Side
from whimbrel.storage.private import exposed
from whimbrel.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from whimbrel.node.tracing import Tracing

log = structlog.get_logger("whimbrel.node")

USER, DESK = 0, 1
GOODBYE_S = 2.0
DRAIN_S = 10.0
SEND_AWAY_S = 10.0  # for all sessions of a node that others take over from
MOVES_S = 5.0  # so long a request waits for an account that is being handed over
CERTIFICATE_EVERY_S = 5


def kind_of(key: int) -> int:
    return DESK if key == ACTOR_DESK else USER


class LocalRouter:
    """All actors live here; a cluster's router will look at the shard map first."""

    def __init__(self, engine: Engine) -> None:
        self.tell: Callable[[int, ToActor], bool] = engine.post


class Deaf:
    """A router behind which nobody is any more: the connections that are left only end."""

    def tell(self, account: int, message: ToActor) -> bool:
        return True


class Node:
    """A running server. start() raises Unready or ConfigError; stop() loses nothing.

    sockets: those that listen already (edge/sockets.py); they outlive this node.
    """

    def __init__(self, config: Config, folder: Path, sockets: ListenSockets | None = None) -> None:
        self.config = config
        self.folder = folder
        self._own_sockets = sockets is None
        self.sockets = sockets or ListenSockets()
        self.loop = asyncio.get_running_loop()
        self.clock = SystemClock()
        self.damage = ""
        self.ports: dict[str, int] = {}
        self.company: list[str] = []  # demo accounts that answer
        self._pins: set[asyncio.Task[None]] = set()
        self._acts: set[asyncio.Task[None]] = set()  # being written down
        self._seconds = 0
        self.others: Company | None = None  # nodes of this installation
        self.leaving = ""  # why nobody new should be sent here
        self.side: Side | None = None  # what they know together
        self.neighbours: Neighbours | None = None  # where they ask each other
        self.webhook: Webhook | None = None
        self.probe: Probe | None = None
        self.tracing: Tracing | None = None
        self.trace_to: SpanExporter | None = None  # in the place of OTLP, for tests
        self.teller: InnerClient | None = None  # the account that writes to administrators
        self.reload_upgrades = True  # what was accepted before a restart

    def prepare(self) -> None:
        """What needs no database, and may be done while another process still has it.

        Raises ConfigError or Unready; then nothing has changed, and no socket listens.
        """
        try:
            self.sender = make_sender(self.config.sms)
        except SmsConfigError as error:
            raise ConfigError(str(error)) from error
        self.certificate = self._open_certificate()
        try:
            for place in places(self.config):
                for one in self.sockets.open(place):
                    one.close()
        except OSError as error:
            raise cannot_listen(error) from error

    async def start(self, lock: FolderLock | None = None, carried: bytes = b"") -> None:
        """lock, carried: what hand_over() gave, of the node before this one."""
        make_folder(self.folder)
        was_open = exposed(self.folder)
        number = await self._open_store(lock)
        try:
            await self._begin(number, was_open, carried)
        except BaseException:
            # Nothing was begun; or what this node owns is for others at once.
            if self.others is not None or not hasattr(self, "sessions"):
                await self._close_store()
            raise

    async def _begin(self, number: int, was_open: list[str], carried: bytes) -> None:
        """All parts over an open store, number: of this node among others."""
        config, limits = self.config, self.config.limits
        if not hasattr(self, "certificate"):
            self.prepare()
        if was_open:
            log.warning(
                "the data folder was open to other users of this machine; it is closed now",
                folder=str(self.folder),
                files=was_open,
            )
        self.sessions = Sessions(self.clock.now_us(), number)
        self.host = Interpreter(
            self.sessions, limits, self.clock, self.store.era, self._send_pin, adopt=self._adopt
        )
        self.behaviours = Behaviours([user_rules, desk_rules], kind_of)
        self.engine = Engine(
            self.store, self.host, self.behaviours, limits, self._soon, self._later_us
        )
        self.host.engine = self.engine
        self.router = self._open_router()
        self.asking = Asking(
            self.engine,
            self.host,
            self.store,
            self.router,
            number,
            self.clock.now_us(),
            MOVES_S if self.others is not None else 0.0,
        )
        self.keep = scram_keeper(self.folder)
        self.listener = Listener(
            self.router, self.sessions, limits, self.clock, self._is_ready, self.keep
        )
        if config.traces.on:
            self.tracing = self._open_tracing()
        # The audit reads SQLite's files.
        audited = limits if self.others is None else replace(limits, audit_every_s=0)
        self.auditor = Auditor(self.folder, audited, self.clock)
        self.statistics = Statistics(
            self.engine, self.host, self.store, self.listener, self.auditor, self.others
        )
        self.house = House(self.folder, self.asking.ask, self.keep, self.side)
        self.spokesman = Spokesman(self)
        self.monitor = self._open_monitor()
        self.live = Live(self, lambda: self.http.connections)
        self.monitor.then.append(self.live.second)
        self.office = open_office(self)
        self.metrics = Metrics(self.statistics.flat, self.monitor)
        self.listener.start()
        self.media = await self._open_media()
        self.hub = self._open_hub()
        self.tidy = Tidy(self.media) if self.media is not None else None
        self.upgrader = Upgrader(
            self.folder, config.upgrade, self.behaviours, self.hub, limits, self._wall_s
        )
        await self.upgrader.start(self.reload_upgrades)
        self.http = HttpServer()
        self._carry_on(carried)
        if self.others is not None:
            await self.others.connect()
        await self._listen()
        await self._open_to_neighbours()
        self.housekeeping = Housekeeping(
            self.engine,
            self.store,
            self.clock,
            ClockWatch(self.clock),
            limits,
            [
                self.store.tick,
                self._every_second,
                self.auditor.every_second,
                self.upgrader.every_second,
                *([self.tidy.every_second] if self.tidy is not None else []),
                *([self.others.every_second] if self.others is not None else []),
                self.spokesman.every_second,
            ],
            lambda account: self.host.tenure(account) >= 0,
        )
        self.host.look_for_work = self._scan_soon
        self.housekeeping.start()
        self.monitor.start()
        self.spokesman.every_second()

    async def _open_store(self, lock: FolderLock | None) -> int:
        """Rows, and the number of this node: 0 where it is alone."""
        limits, config = self.config.limits, self.config
        if not config.store.url:
            self.store: NodeStore = SqliteStore(
                self.folder,
                self.loop.call_soon_threadsafe,
                limits,
                on_damage=self._on_damage,
                lock=lock,
            )
            return 0
        shared = SharedStore(config.store.url, limits, self.folder, unsafe=config.store.unsafe)
        await shared.open()
        self.store = shared
        self.side = Side(config.store.url)
        await share_secrets(config.store.url, self.folder)
        self.others = Company(config, self.folder, self.clock, shared)
        return await self.others.claim()

    async def _close_store(self) -> None:
        """Also twice."""
        others, self.others = self.others, None
        if others is not None:
            await others.stop()
        if self.neighbours is not None:
            await self.neighbours.close()
        if self.side is not None:
            await self.side.close()
        self.store.close()
        if isinstance(self.store, SharedStore):
            await self.store.wait_closed()

    def _open_router(self) -> Router:
        if self.others is None:
            return LocalRouter(self.engine)
        return self.others.join(
            self.engine, self.host, self.sessions, self._later_us, self._scan_soon
        )

    def _scan_soon(self) -> None:
        """Shards came: whoever owes something there is woken."""
        if hasattr(self, "housekeeping"):  # else it begins with that
            self.housekeeping.scan_open(0)

    async def _listen(self) -> None:
        """Open every configured port. A port in use is a clear error, nothing half open."""
        token = secret_file(self.folder / "admin.token", 32)
        secret = bytes.fromhex(secret_file(self.folder / "pin.secret", 32))
        if self.side is not None and self.others is not None:
            self.neighbours = Neighbours(self.side, self.others.number, secret)
            self.others.more = self.neighbours.snapshot
        parts = HttpParts(
            ask=self.asking.ask,
            load=self.asking.load,
            sender=self.sender,
            secret=secret,
            neighbours=self.neighbours,
            admin_token=token,
            ready=lambda: self.trouble or self.leaving,
            stats=self.statistics.flat,
            metrics=self.metrics.text,
            alerts=self._alerts,
            office=self.office,
            admin_anywhere=self.config.web.admin_anywhere,
            domain=self.config.domain,
            native_port=lambda: self.ports.get("native", 0),
            fingerprint=lambda: self.certificate.fingerprint,
            default_region=self.config.default_region,
            pin_digits=self.config.signup.pin_digits,
            sockets=self.listener.admit_socket,
            origins=frozenset(map(normal_origin, self.config.web.origins)),
            trusted_proxies=tuple(map(ip_network, self.config.web.trusted_proxies)),
            media=self.media,
            keep=self.keep,
            xmpp_sockets=self._admit_xmpp_socket,
            bosh=self.bosh,
            xmpp_places=self._xmpp_places,
            upgrades=self.upgrader,
        )
        self.app = make_app(parts)
        try:
            for place in places(self.config):
                self.ports[place.name] = await self._accept(place, self.app)
        except OSError as error:
            await self.stop()
            raise cannot_listen(error) from error
        for name in self.sockets.drop_others():
            log.warning("a socket that was handed over is not in the configuration", name=name)
        if "http" in self.ports:
            url = f"http://{self.config.listen.plain_host}:{self.ports['http']}"
            write_private(self.folder / "admin.json", json.dumps({"url": url, "token": token}))

    async def _accept(self, place: Place, app: web.Application) -> int:
        """Serve what stands behind this name; its real port."""
        name, tls, sockets = place.name, self.certificate, self.sockets.open(place)
        if name in ("http", "https"):
            context = tls.http if name == "https" else None
            return await self.http.start(app, place.host, place.port, context, sockets)
        context, make, alpn_needed = {
            "native": (tls.native, None, True),
            "native_plain": (None, None, True),
            "xmpp": (None, lambda c: XmppStream(self.hub, c, tls.xmpp), False),
            "xmpp_tls": (tls.xmpp, self._xmpp, False),
            "xmpp_plain": (None, self._xmpp, True),
            "xmpp_component": (None, lambda c: ComponentStream(self.hub, c), True),
        }[name]
        return await self.listener.listen(sockets, context, make, alpn_needed)

    def _xmpp(self, connection: Connection) -> XmppStream:
        """A stream whose connection is as safe as it will be."""
        return XmppStream(self.hub, connection, None)

    def _admit_xmpp_socket(self, connection: Connection, address: str) -> XmppSocket:
        """Plain HTTP is only on this machine's own port, or behind a proxy that speaks TLS."""
        socket = self.listener.admit_other(
            address, lambda: XmppSocket(self.hub, connection, connection.is_tls)
        )
        assert isinstance(socket, XmppSocket)
        return socket

    def _xmpp_places(self) -> dict[str, str]:
        """XEP-0156: by relation."""
        base = self._media_base()
        socket = f"ws{base.removeprefix('http')}/xmpp-websocket"
        return {
            "urn:xmpp:alt-connections:websocket": socket,
            "urn:xmpp:alt-connections:xbosh": f"{base}/http-bind",
        }

    async def _open_media(self) -> MediaService | None:
        media, shared = self.config.media, self.config.node.media
        if not media.on:
            return None
        folder = Path(shared) if shared else self.folder
        make_folder(folder)
        if self.side is None:
            return open_media(media, folder, self.clock)
        everywhere = bool(shared) or media.store == "s3"
        if not everywhere:
            log.info(
                "files lie on the node that took them: while it is away they are too; "
                "node.media or media.store = s3 has them everywhere"
            )
        me = identity_of(self.config, self.folder)
        return await open_shared_media(media, folder, self.clock, self.side, me, everywhere)

    async def _open_to_neighbours(self) -> None:
        """A port for the other nodes, who are told where it is."""
        if self.neighbours is None:
            return
        host, port = self.config.node.inside_place
        try:
            port = await self.http.start(self.app, host, port, None, per_client=False)
        except OSError as error:
            raise ConfigError(
                f"node.inside: {host}:{port}: {error.strerror or error}; choose another port"
            ) from error
        await self.neighbours.announce(host, port)

    def _open_hub(self) -> Hub:
        secret = bytes.fromhex(secret_file(self.folder / "scram.secret", 32))
        hub = Hub(
            self.listener,
            self.config.domain,
            self.config.xmpp,
            features_for(self.config.limits),
            lambda address: salt_of(secret, address),
            lambda: self.certificate.end_point,
            self.media,
            self._media_base,
        )
        hub.acted = self._acted_by_xmpp
        number = self.others.number if self.others is not None else 0
        self.bosh = Bosh(hub, self.listener.admit_other, number)
        self.listener.sweeps.append(hub.sweep_part)
        return hub

    def _acted_by_xmpp(self, who: str, what: str, on: str, result: str) -> None:
        """XEP-0133: beside the answer, because a stream does not wait for a disk."""
        task = self.loop.create_task(self.office.acts.record(who, what, on, result, "xmpp"))
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    def _media_base(self) -> str:
        """Where clients reach files."""
        set_ = self.config.xmpp.upload_base
        if set_:
            return set_.rstrip("/")
        scheme = "https" if "https" in self.ports else "http"
        return f"{scheme}://{self.config.domain}:{self.ports.get(scheme, 0)}"

    def _open_certificate(self) -> Certificate:
        tls = self.config.tls
        if tls.certificate:
            return Certificate(Path(tls.certificate), Path(tls.key), ALPN)
        certificate, key = self_signed(self.folder, self.config.domain)
        return Certificate(certificate, key, ALPN)

    # ---- small parts ---------------------------------------------------------------------

    def _adopt(self, state: object) -> None:
        if isinstance(state, Desk):
            state.limits = self.config.signup

    def _open_monitor(self) -> Monitor:
        settings = self.config.alerts
        tell: list[Callable[[Alert], None]] = [to_log]
        if settings.webhook:
            self.webhook = Webhook(settings.webhook, self.config.domain)
            tell.append(self.webhook.tell)
        tell.append(self.spokesman.tell)
        return Monitor(
            Board(settings, tell, lambda: self.clock.now_us() / 1e6),
            self.engine,
            self.store,
            self.listener,
            self.clock,
            lambda: (self.certificate.ends_s - self.clock.now_us() / 1e6) / 86_400,
            lambda: self.auditor.last.unexplained if self.auditor.last else 0,
            lambda: self.upgrader.undone(),
        )

    def _open_tracing(self) -> "Tracing":
        try:
            from whimbrel.node.tracing import follow
        except ImportError:
            raise ConfigError("traces.on: `pip install whimbrel[otel]`, or false") from None
        return follow(self.config.traces, self.host, self.router, self.store, self.trace_to)

    def _alerts(self) -> Alerts:
        board = self.monitor.board
        return Alerts(list(map(alert_line, board.active)), list(map(alert_line, board.history)))

    def _soon(self, call: Callable[[], None]) -> None:
        """The engine's turns, measured."""
        if self.monitor.on:
            self.loop.call_soon(self.monitor.timed, call)
        else:
            self.loop.call_soon(call)

    def _later_us(self, delay_us: int, call: object) -> None:
        self.loop.call_later(delay_us / 1e6, call)  # type: ignore[arg-type]

    def _wall_s(self) -> float:
        return self.clock.now_us() / 1e6

    def _is_ready(self) -> bool:
        return not self.trouble

    @property
    def trouble(self) -> str:
        """Why the node is not ready, or ""."""
        if self.damage:
            return self.damage
        return "" if self.engine.ready else self.host.trouble or "recovering"

    def upgrading(self) -> str:
        """What is being loaded into the running server now; empty: nothing."""
        last = self.upgrader.state().last
        if last is None or last.phase == "ended":
            return ""
        share = f", {100 * last.share:.0f} % of the accounts" if last.share else ""
        return f"{last.version or last.place}: {last.phase}{share}"

    def _on_damage(self, text: str) -> None:
        self.damage = text
        log.error("the database is damaged, not ready", reason=text)

    def _every_second(self) -> None:
        self._seconds += 1
        if self._seconds % CERTIFICATE_EVERY_S == 0:
            self.certificate.reload_if_changed()

    def _send_pin(self, number: str, pin: str) -> None:
        task = self.loop.create_task(self._deliver_pin(number, pin))
        self._pins.add(task)
        task.add_done_callback(self._pins.discard)

    async def _deliver_pin(self, number: str, pin: str) -> None:
        """A PIN that could not be sent does not count; the log never shows it."""
        try:
            await self.sender.send(number, pin)
        except Exception as error:
            log.warning("PIN was not sent", sender=self.sender.name, error=type(error).__name__)
            message: ToActor = PinNotSent(number)
            self.router.tell(ACTOR_DESK, message)

    # ---- the end -------------------------------------------------------------------------

    async def stop(self) -> None:
        """Drain: no new connections, finish what was taken, commit it, say goodbye."""
        await self._drain(restarts=False)
        await self._close_store()
        (self.folder / "admin.json").unlink(missing_ok=True)

    @property
    def has_other_nodes(self) -> bool:
        """It gives its users to them and ends, instead of handing over to a process like it."""
        return not isinstance(self.store, SqliteStore)

    async def hand_over(self) -> HandedOver:
        """Drain for a node that comes at once, in this process or in another one.

        The sockets go on listening, so whoever connects waits; the folder is not given free;
        and XMPP clients find their sessions again.
        """
        assert isinstance(self.store, SqliteStore), "others take over from a node among others"
        carried = await self._drain(restarts=True)
        self.listener.router = Deaf()
        self.store.close(keep_lock=True)
        return HandedOver(self.store.lock, carried, self._frozen_s)

    async def see_off(self) -> None:
        """After hand_over(): give everybody the time to read the goodbye, while others serve."""
        await self._until(lambda: not len(self.listener), GOODBYE_S)
        self.listener.abort()

    async def _drain(self, restarts: bool) -> bytes:
        """Nothing is taken, everything that was is committed; what XMPP sessions carry on."""
        if self.others is not None:
            self.leaving = "its accounts are handed over to other nodes"
            await self.others.hand_over()
            await self.listener.send_away(self.config.restart.logins_per_s, SEND_AWAY_S)
        if self._own_sockets:
            self.sockets.close()
        if not restarts:
            self.listener.stop_accepting()
        self.live.feed.close()
        await self.upgrader.stop()
        self.bosh.shut_down()
        if self.neighbours is not None:
            self.neighbours.let_go()
        await self.http.stop()  # of requests under way; the others are served meanwhile
        if self.tidy is not None:
            await self.tidy.close()
        if self.media is not None:
            await self.media.close()
        if hasattr(self, "housekeeping"):
            self.housekeeping.stop()
            await self.auditor.stop()
            self.monitor.stop()
        if self.webhook is not None:
            await self.webhook.stop()
        if hasattr(self, "spokesman"):
            await self.spokesman.stop()
        if self.tracing is not None:
            await self.loop.run_in_executor(None, self.tracing.close)
        carried: list[CarriedSession] = []
        self._frozen_s = self.clock.monotonic_us() / 1e6
        if restarts:
            self.hub.frozen = True
            self.listener.say_goodbye(self.config.restart.logins_per_s, kept=XmppStream)
            await self._until(lambda: self.engine.quiet or not self.engine.ready, DRAIN_S)
            carried = carry(self.hub)
        await self.listener.close()
        self.hub.shut_down()
        if not restarts:
            await self._until(lambda: not len(self.listener), GOODBYE_S)
            self.listener.abort()  # who has not read the goodbye by now
        await self._until(lambda: self.engine.quiet or not self.engine.ready, DRAIN_S)
        for task in list(self._pins):
            task.cancel()
        await asyncio.gather(*self._acts)
        await self.sender.close()
        return msgspec.msgpack.encode(carried)

    def _carry_on(self, carried: bytes) -> None:
        """XMPP sessions of the node before. Another version may have written them: what cannot
        be read is left, and those clients bind anew as after any stop.
        """
        if not carried:
            return
        try:
            sessions = msgspec.msgpack.decode(carried, type=list[CarriedSession])
        except msgspec.DecodeError as error:
            log.warning("XMPP sessions cannot be carried on", error=type(error).__name__)
            return
        carry_on(self.hub, sessions, self.sessions.again)

    async def _until(self, holds: Callable[[], bool], patience_s: float) -> None:
        """The engine knows no asyncio, so nobody could tell us."""
        end_s = self.loop.time() + patience_s
        while not holds() and self.loop.time() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Unready(f"the data folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unready(f"the data folder {folder} is not writable")
