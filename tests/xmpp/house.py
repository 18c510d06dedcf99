"""A whole server in this process for XMPP clients, and people who are let in.

Real sockets, real TLS, real SQLite. Accounts are made as an administrator makes them.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.xmpp.talk import Talker, Tcp, connected
from whimbrel.domain.answers import Registered
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Register
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen
from whimbrel.node.samples import NO_PROBE

DOMAIN = "localhost"
EVERY_PORT = Listen(
    host="127.0.0.1",
    native=0,
    https=0,
    http=0,
    xmpp=0,
    xmpp_tls=0,
    xmpp_plain=0,
    xmpp_component=0,
)


class House:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.keys: dict[str, str] = {}
        self.devices: dict[str, int] = {}
        self._talkers: list[Talker] = []

    @property
    def ports(self) -> dict[str, Any]:
        return self.node.ports

    def count(self, name: str) -> int:
        return self.node.listener.counts[name]

    async def account(self, name: str) -> str:
        """A new account, or a new key for one; the key comes back."""
        key = secrets.token_urlsafe(32)
        hashed, kept = sha256(key.encode()).digest(), self.node.keep(name, key)
        answer = await self.node.asking.ask(
            account_number(name), lambda reply: Register(name, hashed, "", reply, kept)
        )
        assert isinstance(answer, Registered)
        self.keys[name] = key
        self.devices[name] = answer.device
        return key

    async def stranger(self, transport: str = "tls") -> Talker:
        """A connection that has heard the features and not logged in."""
        wire = await connected(self.ports, transport)
        talker = Talker(wire, "", DOMAIN)
        self._talkers.append(talker)
        talker.features = await wire.open(DOMAIN)
        if transport == "tcp":
            assert isinstance(wire, Tcp)
            await wire.start_tls()
            talker.features = await wire.open(DOMAIN)
        return talker

    async def unbound(self, name: str, transport: str = "tls") -> Talker:
        """Logged in, without a resource."""
        if name not in self.keys:
            await self.account(name)
        talker = await self.stranger(transport)
        talker.name = name
        await talker.login(self.keys[name])
        return talker

    async def talker(
        self, name: str, resource: str = "", transport: str = "tls", presence: str = "<presence/>"
    ) -> Talker:
        """Logged in, bound and available (presence "": not)."""
        talker = await self.unbound(name, transport)
        await talker.bind(resource)
        if presence:
            await talker.say(presence)
            await talker.hear("presence", from_=talker.jid)
        return talker

    async def until(self, holds: Any, what: str) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert holds(), what

    def close(self) -> None:
        for talker in self._talkers:
            talker.wire.abort()


@asynccontextmanager
async def house(
    folder: Path, settings: XmppSettings | None = None, limits: Limits | None = None
) -> AsyncIterator[House]:
    config = Config(
        probe=NO_PROBE,
        domain=DOMAIN,
        listen=EVERY_PORT,
        limits=limits or Limits(),
        xmpp=settings or XmppSettings(),
    )
    node = Node(config, folder)
    await node.start()
    home = House(node)
    try:
        yield home
    finally:
        home.close()
        await node.stop()
