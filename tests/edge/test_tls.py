"""Strangers at the TLS door: the wrong protocol, a cut connection, a certificate that changes."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from bench import accounts
from bench.raw import frame
from tests.edge.house import BODY, House, hello_of, house
from tests.edge.test_certificate import write_certificate
from whimbrel.edge.certificate import CERTIFICATE_FILE, KEY_FILE
from whimbrel.edge.transport import Connection, network_of
from whimbrel.protocol import wire

BOB = accounts.address_of(3)


def context_with(*alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@pytest.mark.parametrize(
    "alpn", [("http/1.1",), ("h2", "whimbrel/9"), ()], ids=["web", "new", "no"]
)
async def test_who_came_for_another_protocol_is_not_spoken_to(
    tmp_path: Path, alpn: tuple[str, ...]
) -> None:
    """Nobody talks a browser into carrying somebody's login to us."""
    async with house(tmp_path) as home:
        stranger = await home.stranger(context=context_with(*alpn))
        stranger.send(hello_of(2))
        assert await stranger.next() is None
        await home.counted("refused:alpn")
        await home.gone()
        assert home.count("logins") == 2, "the two people only"


async def test_ours_among_other_protocols_is_taken(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        stranger = await home.stranger(context=context_with("h2", wire.ALPN, "http/1.1"))
        stranger.send(hello_of(2))
        assert isinstance(await stranger.next(), wire.Welcome)


@pytest.mark.parametrize("seed", range(5))
async def test_random_bytes_inside_tls_end_the_session_by_name(tmp_path: Path, seed: int) -> None:
    async with house(tmp_path, hello_timeout_s=1.0) as home:
        stranger = await home.stranger(tls=True)
        stranger.raw(os.urandom(200 + 2_000 * seed))
        assert await stranger.error() in ("frame-too-big", "bad-frame", "bad-message")
        await home.gone()


@pytest.mark.parametrize("logged_in", [False, True], ids=["stranger", "guest"])
async def test_a_frame_cut_off_inside_tls_is_counted_and_forgotten(
    tmp_path: Path, logged_in: bool
) -> None:
    async with house(tmp_path) as home:
        if logged_in:
            someone = await home.guest(2, tls=True)
            someone.raw(frame(wire.Submit(1, BOB, BODY))[:-3])
        else:
            someone = await home.stranger(tls=True)
            someone.raw(frame(hello_of(2))[:-3])
        someone.close()
        await home.counted("frame-incomplete")
        await home.gone()


async def test_a_tls_connection_torn_without_goodbye_is_gone(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2, tls=True)
        guest.writer.transport.abort()
        await home.gone()
        await home.guest(2, tls=True)


async def test_what_was_said_before_the_goodbye_of_tls_still_counts(tmp_path: Path) -> None:
    """The record with the message and close_notify may come in one read."""
    async with house(tmp_path) as home:
        bob = await home.guest(3)
        guest = await home.guest(2, tls=True)
        guest.send(wire.Submit(1, BOB, BODY))
        guest.close()
        assert (await bob.next_of(wire.Message)).c == 1


async def many_half_handshakes(home: House, count: int) -> list[asyncio.StreamWriter]:
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", home.node.ports["native"])
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        writers.append(writer)
    return writers


async def test_half_handshakes_hold_no_more_than_their_bound_and_keep_nobody_out(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, unauthenticated_max=20, hello_timeout_s=1.0) as home:
        writers = await many_half_handshakes(home, 100)
        await home.counted("refused:too-many-connections", 80)
        guest = await home.guest(2, tls=True)
        guest.send(wire.Ping(1))
        assert isinstance(await guest.next_of(wire.Pong), wire.Pong)
        guest.close()
        await home.counted("handshake-incomplete", 100)
        await home.gone()
        assert left_connections() == 2
        for writer in writers:
            writer.close()


def left_connections() -> int:
    """Objects, not memory: a connection that nobody holds is gone."""
    import gc

    gc.collect()
    return sum(1 for each in gc.get_objects() if type(each) is Connection and not each.is_closed)


# ---- certificates -----------------------------------------------------------------------


async def shown_to(home: House) -> bytes:
    stranger = await home.stranger(tls=True)
    tls = stranger.writer.get_extra_info("ssl_object")
    certificate: bytes = tls.getpeercert(binary_form=True)
    stranger.close()
    return certificate


async def test_a_session_goes_on_over_a_change_of_certificate_and_can_come_back(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2, tls=True)
        first = await shown_to(home)
        pem, key = write_certificate(tmp_path, "second.example.org")
        key.rename(tmp_path / KEY_FILE)
        assert not home.node.certificate.reload_if_changed(), "a key that does not fit"
        assert await shown_to(home) == first
        pem.rename(tmp_path / CERTIFICATE_FILE)
        assert home.node.certificate.reload_if_changed()
        assert await shown_to(home) != first
        guest.send(wire.Submit(1, BOB, BODY))
        assert (await guest.next_of(wire.Stored)).c == 1
        guest.close()
        again = await home.guest(2, tls=True)
        again.send(wire.Ping(1))
        assert isinstance(await again.next_of(wire.Pong), wire.Pong)


# ---- who a stranger is ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_limits_count_a_customer_not_each_of_his_billions_of_addresses(
    address: str, network: str
) -> None:
    assert network_of(address) == network
