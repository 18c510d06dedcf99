"""Who is calling: the network address that limits count, and whether it is this machine.

An IPv6 customer owns a whole /64, so that is what counts as one address. Pages for this machine
only are refused to everybody who came through a proxy, and to names that are not this machine's:
a page of a foreign site may point its own name at 127.0.0.1 (DNS rebinding).
"""

import re
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp import web

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

_NAMED = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
UNKNOWN = IPv4Address("0.0.0.0")  # an address nobody calls from: they share one limit


def peer_of(transport: object) -> Address:
    """The other end of the connection."""
    info = getattr(transport, "get_extra_info", lambda _name: None)("peername")
    return parse(info[0]) if isinstance(info, (tuple, list)) and info else UNKNOWN


def parse(text: str) -> Address:
    """An address, or UNKNOWN; IPv4 inside IPv6 becomes IPv4."""
    try:
        address = ip_address(text.partition("%")[0].strip())
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def caller_of(request: web.BaseRequest, proxies: Networks) -> Address:
    """The peer, or whom the nearest trusted proxies say they speak for."""
    address = peer_of(request.transport)
    if not proxies or not _within(address, proxies):
        return address
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    for hop in reversed(hops):
        if not hop.strip():
            break
        address = parse(hop)
        if not _within(address, proxies):
            break
    return address


def limit_key(address: Address) -> str:
    """What limits count by: an IPv4 address, or an IPv6 network of 64 bits."""
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def named_host(request: web.BaseRequest) -> str:
    """The server's "name" or "name:port" as the caller wrote it; empty if it is no such thing."""
    named = request.headers.get("Host", "")
    return named if _NAMED.fullmatch(named) else ""


def without_port(host: str) -> str:
    """The name of "name:port", the address of "[address]:port"."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_local(request: web.BaseRequest) -> bool:
    """True if a program on this machine asks, directly and by a name of this machine."""
    return (
        peer_of(request.transport).is_loopback
        and not any(name in request.headers for name in FORWARDED)
        and _host_is_local(request.headers.get("Host", ""))
    )


def _host_is_local(host: str) -> bool:
    name = without_port(host)
    return name.lower() == "localhost" or parse(name).is_loopback


def _within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
