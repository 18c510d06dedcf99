"""The bus over a real nats-server: what arrives, what is told to be lost, what comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trial.nats import NatsServer
from whimbrel.cluster import bus as bus_module
from whimbrel.cluster.bus import BusAway, BusSettings, NatsBus
from whimbrel.edge.certificate import self_signed

PATIENCE_S = 30.0


class End:
    """A node's end of the bus, and what it heard."""

    def __init__(self, settings: BusSettings, node: int) -> None:
        self.heard: list[bytes] = []
        self.back = 0
        self.bus = NatsBus(settings, node, self.heard.append, self._is_back)

    def _is_back(self) -> None:
        self.back += 1


@asynccontextmanager
async def ends(settings: BusSettings, *nodes: int) -> AsyncIterator[list[End]]:
    made = [End(settings, node) for node in nodes]
    try:
        for each in made:
            await each.bus.start(PATIENCE_S)
        yield made
    finally:
        for each in made:
            await each.bus.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_packs_arrive_in_order_at_the_node_they_are_for(nats_server: NatsServer) -> None:
    async with ends(BusSettings(url=nats_server.url), 0, 1, 2) as (zero, one, two):
        sent = [b"%d" % n for n in range(2_000)]
        for pack in sent:
            assert zero.bus.send(1, pack)
        await until(lambda: len(one.heard) == len(sent))
        assert one.heard == sent
        assert two.heard == []


async def test_what_is_for_all_is_heard_by_all_others(nats_server: NatsServer) -> None:
    async with ends(BusSettings(url=nats_server.url), 0, 1, 2) as (zero, one, two):
        zero.bus.send(-1, b"who is there?")
        await until(lambda: bool(one.heard and two.heard))
        assert zero.heard == []


async def test_two_installations_on_one_nats_do_not_hear_each_other(
    nats_server: NatsServer,
) -> None:
    here, there = (BusSettings(url=nats_server.url, subject=s) for s in ("here", "there"))
    async with ends(here, 0, 1) as (zero, one), ends(there, 1) as (other,):
        zero.bus.send(1, b"hello")
        await until(lambda: one.heard == [b"hello"])
        assert other.heard == []


async def test_packs_respect_what_the_server_takes(tmp_path: Path) -> None:
    config = tmp_path / "small.conf"
    config.write_text("max_payload: 4096\n")
    server = NatsServer(tmp_path / "nats", "-c", str(config)).start()
    try:
        async with ends(BusSettings(url=server.url), 0, 1) as (zero, one):
            assert zero.bus.pack_bytes_max == 4_096
            zero.bus.send(1, b"x" * 4_096)
            await until(lambda: bool(one.heard))
    finally:
        server.stop()


async def test_a_nats_that_dies_is_told_and_one_that_comes_back_is_used(
    nats_server: NatsServer,
) -> None:
    async with ends(BusSettings(url=nats_server.url), 0, 1) as (zero, one):
        nats_server.kill()
        await until(lambda: not zero.bus.open and not one.bus.open)
        assert zero.bus.trouble
        assert not zero.bus.send(1, b"lost")
        nats_server.start()
        await until(lambda: zero.bus.open and one.bus.open)
        assert (zero.back, one.back) == (1, 1)
        zero.bus.send(1, b"again")
        await until(lambda: bool(one.heard))
        assert one.heard == [b"again"], "what could not go was not kept"
        assert zero.bus.snapshot()["bus_packs_lost"] == 1


async def test_a_second_server_of_the_list_takes_over(tmp_path: Path) -> None:
    first = NatsServer(tmp_path / "one").start()
    second = NatsServer(tmp_path / "two").start()
    try:
        settings = BusSettings(url=f"{first.url},{second.url}")
        async with ends(settings, 0, 1) as (zero, one):
            first.kill()
            await until(lambda: zero.bus.open and one.bus.open)
            heard = asyncio.Event()

            async def keep_saying() -> None:
                while not one.heard:
                    zero.bus.send(1, b"hello")
                    await asyncio.sleep(0.05)
                heard.set()

            async with asyncio.timeout(PATIENCE_S):
                await keep_saying()
            assert heard.is_set()
    finally:
        first.stop()
        second.stop()


async def test_a_line_that_is_full_refuses(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "QUEUE_BYTES_MAX", 10_000)
    async with ends(BusSettings(url=nats_server.url), 0, 1) as (zero, one):
        took = [zero.bus.send(1, b"x" * 1_000) for _ in range(20)]
        assert took == [True] * 10 + [False] * 10
        assert not zero.bus.open
        await until(lambda: len(one.heard) == 10)
        assert zero.bus.open


async def test_a_reader_that_is_too_slow_drops_and_counts_and_goes_on(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "UNREAD_MESSAGES_MAX", 10)
    async with ends(BusSettings(url=nats_server.url), 0, 1) as (zero, one):
        gate = asyncio.Event()

        async def on_pack(message: object) -> None:
            await gate.wait()
            one.heard.append(message.data)  # type: ignore[attr-defined]

        assert one.bus._client is not None
        for subscription in one.bus._client._subs.values():
            subscription._cb = on_pack
        for n in range(200):
            zero.bus.send(1, b"%d" % n)
        await until(lambda: one.bus.counts["dropped_unread"] > 0)
        gate.set()
        await until(lambda: len(one.heard) + one.bus.counts["dropped_unread"] == 200)
        assert one.bus.open
        zero.bus.send(1, b"still here")
        await until(lambda: b"still here" in one.heard)


async def test_nobody_there_is_a_clear_refusal(unused_tcp_port: int) -> None:
    settings = BusSettings(url=f"nats://someone:secret@127.0.0.1:{unused_tcp_port}")
    bus = End(settings, 0).bus
    with pytest.raises(BusAway) as caught:
        await bus.start(1.0)
    assert f"127.0.0.1:{unused_tcp_port}" in str(caught.value)
    assert "secret" not in str(caught.value)


async def _password(settings: Callable[[str], BusSettings], tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", "--user", "whimbrel", "--pass", "secret").start()
    try:
        async with ends(settings(server.url), 0, 1) as (zero, one):
            zero.bus.send(1, b"hello")
            await until(lambda: bool(one.heard))
    finally:
        server.stop()


async def test_user_and_password(tmp_path: Path) -> None:
    await _password(lambda url: BusSettings(url=url, user="whimbrel", password="secret"), tmp_path)


async def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", "--user", "whimbrel", "--pass", "secret").start()
    bus = End(BusSettings(url=server.url, user="whimbrel", password="wrong"), 0).bus
    try:
        with pytest.raises(BusAway) as caught:
            await bus.start(3.0)
    finally:
        server.stop()
    assert "uthorization" in str(caught.value)
    assert "wrong" not in str(caught.value)


async def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    cert, key = map(str, self_signed(tmp_path, "127.0.0.1"))
    options = ("--tlsverify", "--tlscert", cert, "--tlskey", key, "--tlscacert", cert)
    server = NatsServer(tmp_path / "nats", *options).start()
    try:
        url = server.url.replace("nats://", "tls://")
        settings = BusSettings(url=url, ca=cert, certificate=cert, key=key)
        async with ends(settings, 0, 1) as (zero, one):
            zero.bus.send(1, b"hello")
            await until(lambda: bool(one.heard))
        with pytest.raises(BusAway):
            await End(BusSettings(url=url), 0).bus.start(1.0)  # an authority that we do not know
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (BusSettings(url="http://x:1"), "url"),
        (BusSettings(url="nats://"), "url"),
        (BusSettings(url="nats://a:1", subject="a b"), "subject"),
        (BusSettings(url="nats://a:1", certificate="x"), "certificate"),
        (BusSettings(url="nats://a:1", user="x"), "user"),
        (BusSettings(url="nats://a:1", ca="/nowhere"), "ca"),
    ],
)
def test_mistakes_name_their_key(settings: BusSettings, key: str) -> None:
    assert settings.mistake().startswith(f"{key}:")


def test_sound_settings_are_sound() -> None:
    assert not BusSettings(url="nats://10.0.0.1:4222, tls://nats.example.org").mistake()
