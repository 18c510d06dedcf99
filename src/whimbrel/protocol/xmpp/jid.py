"""Addresses of XMPP (RFC 7622): localpart@domainpart/resourcepart, in canonical form.

PRECIS (RFC 8265) is done by precis-i18n, names of hosts by idna (IDNA2008); the common case, ASCII,
takes neither. An account's address is its localpart: "+4915112345678@example.org".
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

import idna
from precis_i18n import get_profile

PART_BYTES_MAX = 1_023
_EXCLUDED = frozenset("\"&'/:<>@")  # in a localpart, section 3.3.1
_LOCAL = re.compile(r"[a-z0-9!#$%()*+,.;=?\[\\\]^_`{|}~-]+")
_LABEL = r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_RESOURCE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_local = get_profile("UsernameCaseMapped")
_resource = get_profile("OpaqueString")


class JidMalformed(ValueError):
    """Not an address: the stanza error jid-malformed."""


class Jid(NamedTuple):
    """Canonical parts; local and resource may be empty."""

    local: str
    domain: str
    resource: str = ""

    def __str__(self) -> str:
        bare = f"{self.local}@{self.domain}" if self.local else self.domain
        return f"{bare}/{self.resource}" if self.resource else bare

    @property
    def bare(self) -> "Jid":
        return self if not self.resource else Jid(self.local, self.domain)


@lru_cache(maxsize=16_384)
def parse_jid(text: str) -> Jid:
    """Raises JidMalformed. The resource begins at the first "/", then the local part ends at the
    first "@" (section 3.1).
    """
    rest, slash, resource = text.partition("/")
    local, at, domain = rest.partition("@")
    if not at:
        local, domain = "", rest
    elif not local:
        raise JidMalformed("an empty local part")
    if slash and not resource:
        raise JidMalformed("an empty resource")
    return Jid(
        local and _localpart(local), _domainpart(domain), resource and resourcepart(resource)
    )


def _localpart(text: str) -> str:
    if not _LOCAL.fullmatch(text):
        if not _EXCLUDED.isdisjoint(text):
            raise JidMalformed("a character that no local part has")
        text = _enforced(_local, text)
        if not _EXCLUDED.isdisjoint(text):
            raise JidMalformed("a character that no local part has")
    return _bounded(text)


def _domainpart(text: str) -> str:
    """A name, an IPv4 address (which looks like a name) or "[IPv6]"; a final dot is dropped."""
    text = text.removesuffix(".")
    if text.endswith("."):
        _bad_domain()
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1])}]" if text.endswith("]") else _bad_domain()
        except ValueError:
            _bad_domain()
    text = text.lower()
    if not _DOMAIN.fullmatch(text):
        try:
            text = idna.decode(idna.encode(text, uts46=True, std3_rules=True))
        except (idna.IDNAError, UnicodeError, ValueError, IndexError):
            _bad_domain()
    return _bounded(text)


def _bad_domain() -> str:
    raise JidMalformed("not the name of a host")


def resourcepart(text: str) -> str:
    """The canonical form of a resource; raises JidMalformed."""
    if not _RESOURCE.fullmatch(text):
        text = _enforced(_resource, text)
    return _bounded(text)


def _enforced(profile: object, text: str) -> str:
    try:
        done: str = profile.enforce(text)  # type: ignore[attr-defined]
    except (UnicodeError, ValueError) as error:
        raise JidMalformed("a character that has no place here") from error
    return done


def _bounded(text: str) -> str:
    if not 0 < len(text.encode()) <= PART_BYTES_MAX:
        raise JidMalformed("a part has 1 to 1,023 bytes")
    return text
