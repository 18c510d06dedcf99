"""Listening sockets that are older than the process, and outlive its servers."""

import asyncio
import os
import socket
import subprocess
import sys
from typing import cast

import pytest

from whimbrel.edge.sockets import ListenSockets, Place, bind


def listening(port: int = 0) -> socket.socket:
    one = socket.create_server(("127.0.0.1", port))
    one.settimeout(10)
    return one


def port_of(one: socket.socket) -> int:
    return int(one.getsockname()[1])


def test_asked_again_the_same_socket_is_given_and_closing_what_was_given_closes_nothing() -> None:
    sockets = ListenSockets()
    place = Place("native", "127.0.0.1", 0)
    (first,) = sockets.open(place)
    first.listen()
    port = port_of(first)
    first.close()
    with socket.create_connection(("127.0.0.1", port), 5):
        (second,) = sockets.open(place)
        assert port_of(second) == port
        second.accept()[0].close()
        second.close()
    sockets.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


async def test_who_connects_between_two_servers_waits_for_the_second() -> None:
    loop = asyncio.get_running_loop()
    sockets, place = ListenSockets(), Place("native", "127.0.0.1", 0)
    (one,) = sockets.open(place)
    port = port_of(one)
    first = await loop.create_server(asyncio.Protocol, sock=one)
    first.close()
    await first.wait_closed()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    class Greets(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            out = cast(asyncio.Transport, transport)  # uvloop's is not registered as one
            out.write(b"hello")
            out.close()

    second = await loop.create_server(Greets, sock=sockets.open(place)[0])
    async with asyncio.timeout(20):
        assert await reader.read() == b"hello"
    writer.close()
    second.close()
    sockets.close()


def test_an_inherited_socket_is_taken_where_name_and_place_are_the_same() -> None:
    place = Place("native", "127.0.0.1", 7443)
    with listening() as old:
        port = port_of(old)
        sockets = ListenSockets({place: [old.dup()]})
        (taken,) = sockets.open(place)
        assert port_of(taken) == port
        taken.close()
        sockets.close()


def test_at_another_place_a_new_one_is_bound_and_the_old_one_closed() -> None:
    old = listening()
    sockets = ListenSockets({Place("native", "127.0.0.1", 7443): [old]})
    (fresh,) = sockets.open(Place("native", "127.0.0.1", 0))
    assert port_of(fresh) != 7443
    assert old.fileno() == -1
    fresh.close()
    sockets.close()


def test_the_service_managers_sockets_are_taken_by_name_wherever_they_listen() -> None:
    with listening() as old:
        sockets = ListenSockets({Place("native", "", 0): [old.dup()]})
        (taken,) = sockets.open(Place("native", "0.0.0.0", 7443))
        assert port_of(taken) == port_of(old)
        taken.close()
        sockets.close()


def test_what_nobody_asks_for_is_closed_and_named() -> None:
    old = listening()
    sockets = ListenSockets({Place("gopher", "", 0): [old]})
    assert sockets.drop_others() == ["gopher"]
    assert old.fileno() == -1


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with listening() as other:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port_of(other))
        assert len(os.listdir("/proc/self/fd")) == before


def test_every_address_of_a_name_gets_its_socket() -> None:
    found = bind("localhost", 0)
    wanted = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    assert {one.getsockname()[0] for one in found} == wanted
    for one in found:
        one.close()


_CHILD = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[2]))
if int(sys.argv[1]) != 3:
    os.dup2(int(sys.argv[1]), 3)
from whimbrel.edge.sockets import from_service_manager
found = from_service_manager()
print([(place.name, one.getsockname()[1]) for place, some in found.items() for one in some])
assert "LISTEN_FDS" not in os.environ
"""


@pytest.mark.parametrize("for_somebody_else", [0, 1])
def test_sockets_of_systemd_by_their_variables(for_somebody_else: int) -> None:
    with listening() as old:
        ended = subprocess.run(
            [sys.executable, "-c", _CHILD, str(old.fileno()), str(for_somebody_else)],
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "xmpp-tls"},
            pass_fds=[old.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
        wanted = [] if for_somebody_else else [("xmpp_tls", port_of(old))]
        assert ended.stdout.strip() == str(wanted)
