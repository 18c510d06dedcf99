"""What all XMPP streams of a server share: its name, its features, and the sessions that wait for
their clients to come back.

Neighbours: stream.py (one connection), session.py (one bound client), features/ (one file each).
"""

import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from whimbrel.domain.ids import NODES_MAX
from whimbrel.domain.media import Media
from whimbrel.edge.listener import SWEEP_PARTS
from whimbrel.edge.session import Numbers
from whimbrel.edge.throttle import Throttle
from whimbrel.edge.xmpp.acknowledging import Acknowledging
from whimbrel.edge.xmpp.feature import Feature, Iq
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.edge.xmpp.tables import Tables
from whimbrel.edge.xmpp.target import Targets
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.stream import XmlLimits

ACCOUNTS_PER_HOUR = 10  # that one network may take, where strangers may
ASK_EVERY_S = 0.1  # a check mark that comes so much later looks as if it came at once


class Edge(Protocol):
    """The listener, as streams and sessions of XMPP see it."""

    router: Any
    numbers: Numbers
    limits: Any
    counts: Any
    now_s: float

    def keep(self, address: str, password: str, /) -> bytes: ...
    def wall_us(self) -> int: ...
    def ready(self) -> bool: ...
    def later(self, delay_s: float, call: Callable[[], None]) -> None: ...
    def may_log_in(self, address: str, account: int) -> bool: ...
    def login_failed(self, address: str, account: int) -> None: ...
    def authenticated(self, session: Any) -> None: ...
    def ended(self, session: Any) -> None: ...


Acted = Callable[[str, str, str, str], None]  # by whom, what, on whom, with what result


class Hub:
    """One a server. `salt`: of an account for SCRAM; `end_point`: of the certificate in use."""

    def __init__(
        self,
        edge: Edge,
        domain: str,
        settings: XmppSettings,
        features: Sequence[Feature],
        salt: Callable[[str], bytes],
        end_point: Callable[[], bytes],
        media: Media | None = None,
        media_base: Callable[[], str] = lambda: "",
    ) -> None:
        limits = edge.limits
        self.edge = edge
        self.domain = domain
        self.targets = Targets(domain)
        self.settings = settings
        self.salt = salt
        self._token_key = salt("\0fast") + salt("\0tokens")  # "\0" stands in no address
        self.end_point = end_point
        self.media = media
        self.media_base = media_base
        self.xml = XmlLimits(stanza_bytes_max=limits.stanza_bytes_max)
        self.xml_before_login = XmlLimits(
            stanza_bytes_max=limits.unauthenticated_bytes_max, depth_max=8, children_max=64
        )
        self.sessions: dict[int, XmppSession] = {}
        self.tokens: dict[str, XmppSession] = {}  # of sessions that may be resumed
        self.components: dict[str, XmppSession] = {}  # that are connected, by domain
        self.targets.components = set(settings.components)
        self.acted: Acted = lambda *_: None  # set by the node: the administrators' audit log
        self.started_s = edge.now_s
        self.frozen = False  # nothing that clients say is taken: another process will
        self._new_accounts = Throttle(ACCOUNTS_PER_HOUR / 3_600, ACCOUNTS_PER_HOUR, 10_000)
        self._asking: dict[Acknowledging, None] = {}
        self._part = 0  # of the sessions, in sweep_part()
        self.tables = Tables.of(())
        self.use_features(features)

    # ---- features, which may be replaced while streams are open --------------------------

    @property
    def tables(self) -> Tables:
        return self._tables

    @tables.setter
    def tables(self, tables: Tables) -> None:
        """From the next stanza on. Everybody looks here at the moment of the call."""
        self._tables = tables
        self.features = tables.features
        self.iqs, self.nonzas, self.early = tables.iqs, tables.nonzas, tables.early
        self.answers, self.offers = tables.answers, tables.offers
        self.item_nodes, self.info_nodes = tables.item_nodes, tables.info_nodes
        self.service_info, self.forms = tables.service_info, tables.forms

    def tables_of(self, features: Sequence[Feature]) -> Tables:
        """What these register. The tables in use stay, whatever happens."""
        before = self._tables
        fresh = self.tables = Tables.of(features)
        try:
            for feature in features:
                if feature.begin is not None:
                    feature.begin(self)
        finally:
            self.tables = before
        return fresh

    def use_features(self, features: Sequence[Feature]) -> None:
        self.tables = self.tables_of(features)

    def file_address(self, link: str) -> str:
        """A file's link as a whole address."""
        return f"{self.media_base()}{link}" if link.startswith("/") else link

    def disco_forms(self) -> list[Element]:
        return [form for make in self.forms for form in make()]

    def handler(self, child: Element, whom: str) -> Callable[[XmppSession, Iq], None] | None:
        return self.iqs.get((child.ns, child.name, whom))

    # ---- FAST (XEP-0484) -----------------------------------------------------------------

    def fast_token(self, address: str, key_hash: bytes, agent: str, serial: int) -> str:
        """The token of this client with this serial: what is kept of it is in logic/tokens.py."""
        text = f"fast\0{address}\0{key_hash.hex()}\0{agent}\0{serial}"
        return hmac.digest(self._token_key, text.encode(), "sha256").hex()

    def may_register(self, network: str) -> bool:
        return self._new_accounts.allow(network, self.edge.now_s)

    def new_id(self) -> str:
        """Of a request that the server makes."""
        return f"whimbrel-{secrets.token_hex(6)}"

    def new_token(self, session: XmppSession) -> str:
        token = secrets.token_urlsafe(18)
        self.tokens[token] = session
        return token

    def ask_soon(self, session: Acknowledging) -> None:
        """Its client is asked what it has, together with all others that are due: one question
        for all that was written meanwhile, and one commit for all that is answered.
        """
        if not self._asking:
            self.edge.later(ASK_EVERY_S, self._ask)
        self._asking[session] = None

    def is_asking(self, session: Acknowledging) -> bool:
        return session in self._asking

    def _ask(self) -> None:
        asking, self._asking = self._asking, {}
        for session in asking:
            session.ask_now()

    def sweep(self) -> None:
        """About once a second: sessions whose client has not come back in time end."""
        for session in list(self.sessions.values()):
            session.sweep()

    def sweep_part(self) -> None:
        """The same for a quarter of the sessions, four times a second."""
        self._part = part = (self._part + 1) % SWEEP_PARTS
        for number in [n for n in self.sessions if n // NODES_MAX % SWEEP_PARTS == part]:
            session = self.sessions.get(number)
            if session is not None:
                session.sweep()

    def is_admin(self, address: str) -> bool:
        return address in self.settings.admins

    def shut_down(self) -> None:
        for session in list(self.sessions.values()):
            session.end()
