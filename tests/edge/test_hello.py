"""Before and at the hello: who is refused, by which name, and that nobody else feels it."""

import asyncio
import ssl
from pathlib import Path

import pytest

from bench import accounts
from bench.raw import client_context, frame
from tests.edge.house import House, Stranger, hello_of, house, until
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Register, RemoveAccount
from whimbrel.protocol import wire

every_way = pytest.mark.usefixtures("way")


@every_way
@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (hello_of(2, key="wrong"), "not-authorized"),
        (hello_of(2, key=""), "not-authorized"),
        (hello_of(2, key=accounts.key_of(3)), "not-authorized"),
        (hello_of(2, device=2), "not-authorized"),
        (hello_of(2, device=2**53 - 1), "not-authorized"),
        (hello_of(2, account="+491510000099999"), "not-authorized"),
        (hello_of(2, account=""), "not-authorized"),
        (hello_of(2, account="\x00\u202e"), "not-authorized"),
        (hello_of(2, version=0), "unsupported-version"),
        (hello_of(2, version=2), "unsupported-version"),
    ],
)
async def test_a_hello_that_is_not_right_is_refused_by_name(
    tmp_path: Path, hello: wire.Hello, code: str
) -> None:
    async with house(tmp_path) as home:
        stranger = await home.stranger(tls=True)
        stranger.send(hello)
        assert await stranger.error() == code
        await home.counted(f"refused:{code}")
        await home.gone()


@every_way
async def test_wrong_keys_and_unknown_accounts_are_not_told_apart(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        said = []
        for hello in (hello_of(2, key="wrong"), hello_of(2, account="+4915199999999")):
            stranger = await home.stranger()
            stranger.send(hello)
            message = await stranger.next()
            said.append((message.code, message.fatal, message.retry_after))
        assert said[0] == said[1]


@every_way
async def test_many_wrong_keys_lock_an_account_from_there_but_not_for_its_owner_elsewhere(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, failed_logins_per_account_per_minute=3) as home:
        for _ in range(4):
            stranger = await home.stranger()
            stranger.send(hello_of(2, key="wrong"))
            assert await stranger.error() == "not-authorized"
        stranger = await home.stranger()
        stranger.send(hello_of(2))  # the right key, too late
        assert await stranger.error() == "rate-limited"
        await home.counted("refused:rate-limited")
        await home.guest(3)
        owner = await home.stranger(local="127.0.0.2")
        owner.send(hello_of(2))
        assert isinstance(await owner.next(), wire.Welcome)


@every_way
async def test_too_many_logins_from_one_address_are_put_off(tmp_path: Path) -> None:
    async with house(tmp_path, logins_per_address_per_minute=4) as home:  # two live here
        await home.guest(2)
        await home.guest(3)
        stranger = await home.stranger()
        stranger.send(hello_of(4))
        error = await stranger.next()
        assert (error.code, error.retry_after) == ("rate-limited", 60)


async def register(home: House, n: int) -> None:
    """Sign up again: the old key is worthless from here on."""
    address = accounts.address_of(n)
    await home.node.asking.ask(
        account_number(address), lambda reply: Register(address, bytes(32), "", reply)
    )


@every_way
async def test_after_a_new_registration_the_old_session_ends_and_its_key_is_refused(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        old = await home.guest(2)
        await register(home, 2)
        assert await old.error() == "replaced"
        stranger = await home.stranger()
        stranger.send(hello_of(2))
        assert await stranger.error() == "not-authorized"
        await home.gone()


@every_way
async def test_after_the_account_is_removed_nobody_logs_in(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        old = await home.guest(2)
        number = account_number(accounts.address_of(2))
        await home.node.asking.ask(number, lambda reply: RemoveAccount(reply))
        assert await old.error() == "replaced"
        stranger = await home.stranger()
        stranger.send(hello_of(2))
        assert await stranger.error() == "not-authorized"


@every_way
async def test_a_second_login_of_a_device_replaces_the_first(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        first = await home.guest(2)
        second = await home.guest(2)
        assert await first.error() == "replaced"
        second.send(wire.Ping(7))
        assert (await second.next_of(wire.Pong)).n == 7


@every_way
@pytest.mark.parametrize(
    "message",
    [
        wire.Submit(1, accounts.address_of(1), b"\xa1x"),  # type: ignore[arg-type]
        wire.Confirm(1),
        wire.Read(accounts.address_of(1), 1),
        wire.Typing(accounts.address_of(1), True),
        wire.Unlink(1),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_before_the_hello_nothing_else_is_heard(tmp_path: Path, message: wire.Wire) -> None:
    async with house(tmp_path) as home:
        stranger = await home.stranger()
        stranger.send(message)
        assert await stranger.error() in ("hello-expected", "bad-message")


@every_way
async def test_two_hellos_end_the_session(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.send(hello_of(2))
        assert await guest.error() == "hello-expected"
        await home.gone()


# ---- connections without a hello --------------------------------------------------------


@every_way
async def test_a_thousand_silent_connections_are_bounded_and_end(tmp_path: Path) -> None:
    async with house(
        tmp_path,
        unauthenticated_max=200,
        connections_per_address_max=10_000,
        hello_timeout_s=1.0,
    ) as home:
        silent: list[Stranger] = []
        most = 0
        for _ in range(20):
            silent += await asyncio.gather(*(home.stranger() for _ in range(50)))
            await home.chat(1)
            most = max(most, len(home.node.listener))
        assert most <= 202 + 50  # and those that were refused, but have not gone yet
        assert home.count("refused:too-many-connections")
        await home.guest(2)  # not kept out by them
        await home.counted("refused:hello-timeout")
        codes = [await stranger.error() for stranger in silent]
        assert set(codes) <= {"too-many-connections", "hello-timeout"}
        await until(lambda: len(home.node.listener) == 3, "sessions are left over")


async def test_one_network_address_gets_no_more_connections_than_its_bound(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, connections_per_address_max=5) as home:
        strangers = [await home.stranger() for _ in range(3)]
        late = await home.stranger()
        assert await late.next() is None
        await home.counted("refused:too-many-connections")
        strangers[0].close()
        await until(lambda: len(home.node.listener) == 4, "the place is not free again")
        await home.guest(2)


async def test_a_hello_that_never_ends_is_timed_out(tmp_path: Path) -> None:
    async with house(tmp_path, hello_timeout_s=0.3) as home:
        stranger = await home.stranger()
        stranger.raw(frame(hello_of(2))[:-1])
        assert await stranger.error() == "hello-timeout"
        await home.gone()


# ---- TLS --------------------------------------------------------------------------------


async def half_hello(home: House) -> asyncio.StreamWriter:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    _, writer = await asyncio.open_connection("127.0.0.1", home.node.ports["native"])
    hello = outgoing.read()
    writer.write(hello[: len(hello) // 2])
    return writer


async def test_half_a_handshake_is_timed_out(tmp_path: Path) -> None:
    async with house(tmp_path, hello_timeout_s=0.3) as home:
        writers = [await half_hello(home) for _ in range(20)]
        await home.counted("handshake-incomplete", 20)
        await home.gone()
        for writer in writers:
            writer.close()


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 8, b"\x16\x03\x01\xff\xff" * 20],
    ids=["http", "random", "broken-record"],
)
async def test_what_is_not_tls_is_closed(tmp_path: Path, data: bytes) -> None:
    async with house(tmp_path, hello_timeout_s=2.0) as home:
        reader, writer = await asyncio.open_connection("127.0.0.1", home.node.ports["native"])
        writer.write(data)
        async with asyncio.timeout(20):
            while await reader.read(1_000):
                pass
        writer.close()
        await until(
            lambda: home.count("refused:bad-tls") + home.count("refused:hello-timeout") >= 1,
            "not counted",
        )
        await home.gone()


async def test_garbage_after_the_handshake_is_closed(tmp_path: Path) -> None:
    """A record that was tampered with on its way."""
    async with house(tmp_path) as home:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing)
        reader, writer = await asyncio.open_connection("127.0.0.1", home.node.ports["native"])
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
        tls.write(frame(hello_of(2)))
        data = bytearray(outgoing.read())
        data[-1] ^= 1
        writer.write(data)
        await home.counted("refused:bad-tls")
        async with asyncio.timeout(20):
            while await reader.read(1_000):
                pass
        writer.close()
        await home.gone()


async def test_tls_older_than_1_3_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        context = client_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await home.stranger(context=context)
        await home.counted("refused:bad-tls")
        await home.gone()
