"""Listening sockets, which may be older than this process and may outlive it.

They come from the process before (node/succession.py), from the service manager (LISTEN_FDS of
systemd), or are made here. Servers get duplicates: when those are closed, the sockets themselves
go on listening, so that whoever connects during a restart waits in the kernel and is never refused.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

BACKLOG = 4_096  # connections that wait while nobody accepts; the kernel's somaxconn may be less
_FIRST_FD = 3  # sd_listen_fds(3)


class Place(msgspec.Struct, frozen=True):
    """Where a socket listens, as the configuration names it. host "": wherever it does."""

    name: str
    host: str
    port: int


def bind(host: str, port: int, shared: bool = False) -> list[socket.socket]:
    """One socket for each address of the host. Raises OSError; then none is left open.

    shared: other processes of the same user listen there too, and the kernel spreads.
    """
    found: list[socket.socket] = []
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            one = socket.socket(family, kind, protocol)
            found.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except BaseException:
        for one in found:
            one.close()
        raise
    return found


class ListenSockets:
    """All of a process, by name. open() may be asked again for the same and gives the same."""

    def __init__(self, inherited: Mapping[Place, Sequence[socket.socket]] | None = None) -> None:
        self._inherited = {place.name: (place, list(s)) for place, s in (inherited or {}).items()}
        self._open: dict[str, tuple[Place, list[socket.socket]]] = {}
        self.shared = False  # with other processes of this installation

    def open(self, place: Place) -> list[socket.socket]:
        """Duplicates of the sockets of this place, for a server. Raises OSError."""
        known = self._open.get(place.name)
        if known is None or known[0] != place:
            known = self._open[place.name] = (place, self._inherit(place) or self._bind(place))
        return [one.dup() for one in known[1]]

    def _inherit(self, place: Place) -> list[socket.socket]:
        old, sockets = self._inherited.pop(place.name, (None, []))
        if old is not None and (old == place or not old.host):
            return sockets
        for one in sockets:  # it listened elsewhere: that place is given free
            one.close()
        return []

    def _bind(self, place: Place) -> list[socket.socket]:
        try:
            return bind(place.host, place.port, self.shared)
        except OSError as error:
            error.filename = f"{place.host}:{place.port}"
            raise

    def drop_others(self) -> list[str]:
        """Close what was inherited and nobody asked for; the names."""
        names, left = list(self._inherited), list(self._inherited.values())
        self._inherited.clear()
        for _, sockets in left:
            for one in sockets:
                one.close()
        return names

    @property
    def all(self) -> list[tuple[Place, socket.socket]]:
        """What a next process is handed."""
        return [(place, one) for place, sockets in self._open.values() for one in sockets]

    def close(self) -> None:
        self.drop_others()
        for _, sockets in self._open.values():
            for one in sockets:
                one.close()
        self._open.clear()


def from_service_manager() -> dict[Place, list[socket.socket]]:
    """Sockets that systemd has opened for us, by FileDescriptorName= (sd_listen_fds(3)).

    The variables are taken out of the environment: no child may take them for its own.
    """
    pid = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "0")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    found: dict[Place, list[socket.socket]] = {}
    for at in range(int(count)):
        name = names[at] if at < len(names) else ""
        with suppress(OSError):  # not a socket: nothing of ours
            one = socket.socket(fileno=_FIRST_FD + at)
            one.set_inheritable(False)
            found.setdefault(Place(name.replace("-", "_"), "", 0), []).append(one)
    return found
