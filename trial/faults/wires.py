"""Wires between network namespaces, in user space: every packet can be dropped or held back.

    python -m trial.faults.wires PREFIX NAME=ADDRESS ...

Puts a TUN device `back` into each namespace PREFIX-NAME and carries IPv4 packets between them, as
a switch does. Kernels often lack netem and nftables; this needs /dev/net/tun only, and every
direction has rules of its own. Rules come as lines of JSON on stdin, always all of them:
["rules", [[from, to, part lost (0..1), held back (s)], ...]]; each is answered. Ends with stdin.
"""

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from itertools import count

DEVICE = "back"
MTU = 9000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_CLONE_NEWNET = 0x40000000
_BURST = 64  # packets of one device before the others get a turn

Rule = tuple[float, float]


def enter(namespace: str) -> None:
    """This thread, and those it starts, live in the network namespace from now on."""
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)  # os.setns() comes with Python 3.12
        if libc.setns(fd, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
    finally:
        os.close(fd)


def device(namespace: str) -> int:
    """The file descriptor of a new TUN device there."""
    enter(namespace)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd


class Switch:
    """names: of the namespaces; addresses and fds in the same order."""

    def __init__(self, names: Sequence[str], addresses: Sequence[str], fds: Sequence[int]) -> None:
        self._names = list(names)
        self._place = {socket.inet_aton(address): n for n, address in enumerate(addresses)}
        self._fds = list(fds)
        self._rules: dict[tuple[int, int], Rule] = {}
        self._held: list[tuple[float, int, int, bytes]] = []  # due, order, to, packet
        self._order = count()
        self._orders = b""

    def run(self) -> None:
        poll = select.epoll()
        by_fd = {fd: n for n, fd in enumerate(self._fds)}
        for fd in (0, *self._fds):
            poll.register(fd, select.EPOLLIN)
        while True:
            wait_s = max(0.0, self._held[0][0] - time.monotonic()) if self._held else -1
            for fd, _ in poll.poll(wait_s):
                if fd:
                    self._carry(by_fd[fd])
                elif not self._told():
                    return
            self._release()

    def _told(self) -> bool:
        """New rules. False: the run is over."""
        data = os.read(0, 65_536)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            self._rules = {
                (self._names.index(a), self._names.index(b)): (lost, held_s)
                for a, b, lost, held_s in json.loads(line)[1]
            }
            os.write(1, b"ok\n")
        return bool(data)

    def _carry(self, source: int) -> None:
        fd = self._fds[source]
        for _ in range(_BURST):
            try:
                packet = os.read(fd, 65_536)
            except BlockingIOError:
                return
            to = self._place.get(packet[16:20])  # RFC 791: destination; what is not IPv4 is lost
            if to is None:
                continue
            lost, held_s = self._rules.get((source, to), (0.0, 0.0))
            if lost and random.random() < lost:
                continue
            if held_s:
                due_s = time.monotonic() + held_s
                heapq.heappush(self._held, (due_s, next(self._order), to, packet))
            else:
                self._put(to, packet)

    def _release(self) -> None:
        now_s = time.monotonic()
        while self._held and self._held[0][0] <= now_s:
            _, _, to, packet = heapq.heappop(self._held)
            self._put(to, packet)

    def _put(self, to: int, packet: bytes) -> None:
        with contextlib.suppress(OSError):  # its queue is full: lost, as on a real wire
            os.write(self._fds[to], packet)


def main(prefix: str, places: Sequence[str]) -> None:
    names, addresses = zip(*(place.split("=") for place in places), strict=True)
    fds = [device(f"{prefix}-{name}") for name in names]
    os.write(1, b"ok\n")
    Switch(names, addresses, fds).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
