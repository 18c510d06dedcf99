"""Whom a stanza is for: a JID, and which account or service of this server stands behind it."""

from typing import NamedTuple

from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import account_number, parse_address
from whimbrel.protocol.xmpp.jid import Jid, parse_jid

CACHED_MAX = 8_192


class Target(NamedTuple):
    """address: of an account here, or "" (the server itself, or somewhere else)."""

    jid: Jid
    address: str
    number: int
    here: bool  # of this server's domain

    @property
    def is_component(self) -> bool:
        return self.address.startswith("@")

    @property
    def inside(self) -> str:
        """What stands beside the address in a message: the resource, or a component's JID."""
        return str(self.jid) if self.is_component else self.jid.resource


class Targets:
    """JIDs as clients write them, looked up once."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.services: dict[str, str] = {}  # further domains of this server: what each is
        self.components: set[str] = set()  # domains that programs beside this one answer for
        self._known: dict[str, Target] = {}

    def find(self, text: str) -> Target:
        """Raises JidMalformed."""
        target = self._known.get(text)
        if target is None:
            target = self._read(parse_jid(text))
            if len(self._known) >= CACHED_MAX:
                self._known.clear()
            self._known[text] = target
        return target

    def _read(self, jid: Jid) -> Target:
        if jid.domain in self.components:
            address = f"@{jid.domain}"
            return Target(jid, address, account_number(address), True)
        here = jid.domain == self.domain or (jid.domain in self.services and not jid.local)
        if not here or not jid.local:
            return Target(jid, "", 0, here)
        try:
            address = parse_address(jid.local)
        except BadAddress:
            address = jid.local  # nobody has it
        return Target(jid, address, account_number(address), True)

    def of(self, address: str) -> Target:
        """The account with this address."""
        return self.find(self.jid_of(address))

    def jid_of(self, address: str) -> str:
        """The bare JID of what stands in a row: an account's address, a JID, or "@domain"."""
        if "@" not in address:
            return f"{address}@{self.domain}"
        return address.removeprefix("@")

    def full_jid(self, address: str, inside: str) -> str:
        """Of somebody whose message names this resource, or for a component this JID."""
        if address.startswith("@"):
            return inside or address[1:]
        return f"{address}@{self.domain}/{inside}" if inside else f"{address}@{self.domain}"

    def number_of(self, address: str) -> int:
        """The number under which a row about this contact stands."""
        return account_number(address)

    def row_address(self, jid: Jid) -> str:
        """The reverse of jid_of."""
        if jid.domain == self.domain and jid.local:
            return jid.local  # of another domain, also a component's: its bare JID
        return f"{jid.local}@{jid.domain}"
