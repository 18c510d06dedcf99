"""WebSockets beside devices on TLS: the same sessions, the same accounts, the same laws."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from bench import accounts
from tests.edge.browser import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Browser,
    RawSocket,
    browser,
    frame_of,
    json_of,
    raw_socket,
    request,
)
from tests.edge.house import BODY, House, hello_of, house, until
from whimbrel.domain.limits import Limits
from whimbrel.edge.websocket import NOT_WAITED_FOR
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Web
from whimbrel.node.samples import NO_PROBE
from whimbrel.protocol import wire
from whimbrel.protocol.codes import CLOSE_CODES, CODES

EVERY_PORT = Listen(host="127.0.0.1", native=0, native_plain=0, https=0, http=0, xmpp=0, xmpp_tls=0)


@asynccontextmanager
async def empty_house(folder: Path, **limits: Any) -> AsyncIterator[House]:
    """Without the two who chat, so that it may end early."""
    accounts.create(folder, 4)
    home = House(Node(Config(probe=NO_PROBE, listen=EVERY_PORT, limits=Limits(**limits)), folder))
    await home.node.start()
    try:
        yield home
    finally:
        await home.close()


async def logged_in_raw(home: House, n: int) -> RawSocket:
    raw = await raw_socket(home)
    raw.send(hello_of(n))
    assert isinstance(await raw.next(), wire.Welcome)
    assert isinstance(await raw.next(), wire.EndOfQueue)
    return raw


async def logged_in(home: House, n: int, *, tls: bool = False, last: int = 0) -> Browser:
    one = await browser(home, tls=tls, origin="")
    await one.send(hello_of(n, last=last, era=1 if last else 0))
    welcome = await one.next()
    assert isinstance(welcome, wire.Welcome), welcome
    return one


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_a_browser_and_a_device_on_tls_chat_with_both_marks(
    tmp_path: Path, tls: bool
) -> None:
    async with house(tmp_path) as home:
        page = await logged_in(home, 2, tls=tls)
        phone = await home.guest(3)

        await page.send(wire.Submit(1, accounts.address_of(3), BODY))
        stored = await page.next_of(wire.Stored)
        got = await phone.next_of(wire.Message)
        assert (got.sender, got.id, bytes(got.body)) == (
            accounts.address_of(2),
            stored.id,
            bytes(BODY),
        )
        phone.send(wire.Confirm(got.q))
        receipt = await page.next_of(wire.Receipt)
        assert (receipt.delivered, receipt.read) == (stored.id, 0)
        phone.send(wire.Read(accounts.address_of(2), got.id))
        receipt = await page.next_of(wire.Receipt)
        assert (receipt.delivered, receipt.read) == (stored.id, stored.id)

        phone.send(wire.Submit(1, accounts.address_of(2), BODY))
        stored = await phone.next_of(wire.Stored)
        got = await page.next_of(wire.Message)
        assert bytes(got.body) == bytes(BODY)
        await page.send(wire.Confirm(got.q))
        receipt = await phone.next_of(wire.Receipt)
        assert receipt.delivered == stored.id
        await page.send(wire.Bye())
        assert await page.next() is None
        assert page.close_code == 1000


async def test_who_comes_back_gets_what_waited_and_nothing_twice(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        page, phone = await logged_in(home, 2), await home.guest(3)
        phone.send(*(wire.Submit(c, accounts.address_of(2), BODY) for c in (1, 2, 3)))
        ids = [stored.id for stored in await phone.answers(wire.Stored, 3)]
        first, second, third = await page.answers(wire.Message, 3)
        assert [first.id, second.id, third.id] == ids
        await page.send(wire.Confirm(first.q))
        assert (await phone.next_of(wire.Receipt)).delivered == first.id
        page.socket.transport.abort()
        await until(lambda: len(home.node.listener) == 3, "the session is left over")

        phone.send(wire.Submit(4, accounts.address_of(2), BODY))
        await phone.next_of(wire.Stored)
        page = await logged_in(home, 2, last=second.q)  # it had stored one more than it confirmed
        again = await page.answers(wire.Message, 2)
        assert [message.c for message in again] == [3, 4]
        await page.send(wire.Confirm(again[-1].q))
        receipt = await phone.next_of(wire.Receipt)
        while receipt.delivered < again[-1].id:
            receipt = await phone.next_of(wire.Receipt)


async def test_a_submit_sent_again_after_a_reconnect_is_answered_again_and_arrives_once(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        phone, page = await home.guest(3), await logged_in(home, 2)
        await page.send(wire.Submit(1, accounts.address_of(3), BODY))
        first = await page.next_of(wire.Stored)
        page.socket.transport.abort()
        page = await logged_in(home, 2)
        await page.send(
            wire.Submit(1, accounts.address_of(3), BODY),
            wire.Submit(2, accounts.address_of(3), BODY),
        )
        again, second = await page.answers(wire.Stored, 2)
        assert (again.id, second.c) == (first.id, 2)
        got = await phone.answers(wire.Message, 2)
        assert [message.id for message in got] == [first.id, second.id]


async def test_a_page_and_a_phone_of_one_device_replace_each_other(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        page = await logged_in(home, 2)
        phone = await home.guest(2)
        assert isinstance(await page.next_of(wire.Replaced), wire.Replaced)
        assert await page.next() is None
        assert page.close_code == 1000
        await logged_in(home, 2)
        assert await phone.error() == "replaced"


# ---- the end ----------------------------------------------------------------------------


async def test_a_server_that_stops_says_so_to_pages_too(tmp_path: Path) -> None:
    async with empty_house(tmp_path) as home:
        page, raw = await logged_in(home, 2, tls=True), await raw_socket(home)
        ending = asyncio.create_task(home.node.listener.close())
        error = await page.next_of(wire.Error)
        assert (error.code, error.fatal, error.retry_after) == ("shutting-down", True, 1)
        assert await page.next() is None
        assert page.close_code == 1001
        assert await raw.error() == "shutting-down"
        await ending
        late, _ = await ask(home)
        assert (late.status, late.code) == (503, "shutting-down")


async def test_a_node_that_others_take_over_from_sends_everybody_to_them_at_once(
    tmp_path: Path,
) -> None:
    async with empty_house(tmp_path) as home:
        page, phone = await logged_in(home, 2), await home.guest(3)
        await home.node.listener.send_away(1, within_s=1.0)
        told = await page.next_of(wire.Error), await phone.next_of(wire.Error)
        assert [(e.code, e.fatal, e.retry_after) for e in told] == [("shutting-down", True, 0)] * 2
        assert await page.next() is None
        assert await phone.next() is None


async def test_who_does_not_answer_the_goodbye_is_gone_when_the_server_has_stopped(
    tmp_path: Path,
) -> None:
    async with empty_house(tmp_path) as home:
        deaf = await logged_in_raw(home, 2)
        deaf.polite = False
        await home.node.stop()
        assert await deaf.error() == "shutting-down"
        assert deaf.close_code == 1001
        assert len(home.node.listener) == 0


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_a_close_is_answered_with_its_own_code_and_ends_the_session(
    tmp_path: Path, code: int
) -> None:
    async with house(tmp_path) as home:
        raw = await logged_in_raw(home, 2)
        raw.polite = False
        raw.writer.write(frame_of(code.to_bytes(2, "big") + b"bye", CLOSE))
        assert await raw.next() is None
        assert raw.close_code == code
        await home.gone()


async def test_a_message_before_the_close_still_counts(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        phone, raw = await home.guest(3), await logged_in_raw(home, 2)
        submit = json_of(wire.Submit(1, accounts.address_of(3), BODY))
        raw.writer.write(frame_of(submit) + frame_of(b"", CLOSE))
        assert (await phone.next_of(wire.Message)).c == 1


# ---- hostile ----------------------------------------------------------------------------

BINARY_MESSAGE = msgspec.msgpack.encode([3, 1])
HOSTILE: dict[str, tuple[bytes, str, int]] = {
    "unmasked": (b"\x81\x02[]", "bad-frame", 1002),
    "compressed": (b"\xc1" + frame_of(b"[3,1]")[1:], "bad-frame", 1002),
    "unknown-opcode": (frame_of(b"", 3), "bad-frame", 1002),
    "continuation-of-nothing": (frame_of(b"[3,1]", 0), "bad-frame", 1002),
    "binary": (frame_of(BINARY_MESSAGE, 2), "bad-frame", 1003),
    "not-utf8": (frame_of(b'[3,"\xff"]'), "bad-frame", 1007),
    "too-big": (b"\x81\xff" + (1 << 40).to_bytes(8, "big"), "frame-too-big", 1009),
    "empty": (frame_of(b""), "bad-frame", 1002),
    "bad-close": (frame_of(b"\x03", CLOSE), "bad-frame", 1002),
    "not-json": (frame_of(b"hello"), "bad-message", 1008),
    "not-ours": (frame_of(b"[99,1]"), "bad-message", 1008),
    "an-object": (frame_of(b'{"c":1}'), "bad-message", 1008),
    "deep": (frame_of(b"[" * 900), "bad-message", 1008),
    "deep-body": (frame_of(b'[2,1,"+4915112345678",' + b'{"a":' * 900), "bad-message", 1008),
    "a-lone-surrogate": (
        frame_of(b'[2,1,"+4915112345678",{"text":"\\ud800"}]'),
        "bad-message",
        1008,
    ),
    "nan": (frame_of(b'[2,1,"+4915112345678",{"x":NaN}]'), "bad-message", 1008),
    "bad-confirm": (frame_of(b"[3,1000000]"), "bad-confirm", 1008),
    "bad-frame-behind-nonsense": (frame_of(b"x") + b"\x81\x02[]", "bad-message", 1008),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_wrong_is_named_in_a_message_and_in_the_close_code(
    tmp_path: Path, name: str
) -> None:
    data, code, close_code = HOSTILE[name]
    async with house(tmp_path) as home:
        raw = await logged_in_raw(home, 2)
        raw.writer.write(data)
        assert await raw.error() == code
        assert raw.close_code == close_code
        await home.counted(f"refused:{code}")
        await home.gone()


async def test_the_end_is_heard_although_much_more_was_sent(tmp_path: Path) -> None:
    """Unread bytes would turn the close into a reset, and take the last words with it."""
    async with house(tmp_path) as home:
        raw = await logged_in_raw(home, 2)
        raw.writer.write(b"\x81\x02[]" + b"x" * 16_000_000)
        sending = asyncio.create_task(raw.writer.drain())
        opcode, _ = await raw.frame() or (0, b"")
        assert opcode == TEXT
        assert await raw.frame() == (CLOSE, (1002).to_bytes(2, "big"))
        async with asyncio.timeout(20):
            await sending  # read to its end, not reset
        raw.close()
        await home.gone()


async def test_a_login_in_fragments_with_pings_between_them_is_a_login(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        raw = await raw_socket(home, tls=True)
        hello = json_of(hello_of(2))
        parts = [hello[:1], hello[1:20], b"", hello[20:]]
        for n, part in enumerate(parts):
            opcode = TEXT if n == 0 else 0
            data = frame_of(b"%d" % n, PING) + frame_of(part, opcode, fin=n == len(parts) - 1)
            for byte in data:
                raw.raw(bytes([byte]))
                await raw.writer.drain()
        assert [await raw.frame() for _ in parts] == [(PONG, b"%d" % n) for n in range(4)]
        assert isinstance(await raw.next(), wire.Welcome)


async def test_before_the_login_a_message_has_the_bound_of_strangers(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        raw = await raw_socket(home)
        raw.writer.write(b"\x81\xfe" + (1_025).to_bytes(2, "big"))
        assert await raw.error() == "frame-too-big"
        assert raw.close_code == 1009


async def test_pings_and_empty_fragments_use_up_the_allowance(tmp_path: Path) -> None:
    async with house(tmp_path, frames_per_s=50) as home:
        raw = await logged_in_raw(home, 2)
        raw.writer.write(frame_of(b"", PING) * 150)
        assert [await raw.frame() for _ in range(150)] == [(PONG, b"")] * 150
        await home.counted("slowed-down")
        raw.writer.write(frame_of(b"[", fin=False) + frame_of(b"", 0, fin=False) * 150)
        raw.writer.write(frame_of(json_of(wire.Ping(7))[1:], 0))
        assert (await raw.next()).n == 7
        assert home.count("slowed-down") >= 2


async def test_pings_whose_answers_are_not_read_end_the_connection(tmp_path: Path) -> None:
    async with house(
        tmp_path, out_buffer_bytes_max=65_536, frames_per_s=10_000_000, bytes_per_s=1 << 40
    ) as home:
        raw = await logged_in_raw(home, 2)
        cast(asyncio.Transport, raw.writer.transport).pause_reading()
        flood = frame_of(b"x" * 125, PING) * 1_000
        with suppress(ConnectionError):
            async with asyncio.timeout(20):
                while not home.count("refused:slow-reader"):
                    raw.writer.write(flood)
                    await raw.writer.drain()
        await home.counted("refused:slow-reader")
        await home.gone()


def test_every_end_has_a_close_code() -> None:
    """A new fatal code is POLICY until somebody thinks about it; a wrong name here is a mistake."""
    known = {"", *CODES}
    assert set(CLOSE_CODES) <= known
    assert {code for code in CODES if CODES[code].fatal} >= NOT_WAITED_FOR


# ---- the handshake ----------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    code: str
    head: str


async def ask(home: House, **headers: str | None) -> tuple[Answer, asyncio.StreamWriter]:
    """One request for a WebSocket, and what was said to it."""
    port = home.node.ports["http"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(port, **headers))
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split()[1])
        body = await reader.read() if status != 101 else b""
    code = msgspec.json.decode(body)["error"]["code"] if body else ""
    if status != 101:
        assert reader.at_eof(), "a refusal ends the connection"
        writer.close()
    return Answer(status, code, head), writer


OPENING: dict[str, tuple[dict[str, str | None], int, str]] = {
    "no-upgrade": ({"Upgrade": None}, 426, "upgrade-required"),
    "other-upgrade": ({"Upgrade": "h2c"}, 426, "upgrade-required"),
    "no-connection": ({"Connection": "keep-alive"}, 426, "upgrade-required"),
    "old-version": ({"Sec-WebSocket-Version": "8"}, 426, "upgrade-required"),
    "no-version": ({"Sec-WebSocket-Version": None}, 426, "upgrade-required"),
    "no-key": ({"Sec-WebSocket-Key": None}, 400, "bad-message"),
    "short-key": ({"Sec-WebSocket-Key": "AAAA"}, 400, "bad-message"),
    "no-base64": ({"Sec-WebSocket-Key": "!" * 24}, 400, "bad-message"),
    "no-subprotocol": ({"Sec-WebSocket-Protocol": None}, 400, "bad-message"),
    "other-subprotocol": ({"Sec-WebSocket-Protocol": "xmpp, whimbrel.2"}, 400, "bad-message"),
    "foreign-page": ({"Origin": "https://evil.example"}, 403, "wrong-origin"),
    "null-origin": ({"Origin": "null"}, 403, "wrong-origin"),
    "other-port": ({"Origin": "http://127.0.0.1:1"}, 403, "wrong-origin"),
    "no-scheme": ({"Origin": "127.0.0.1"}, 403, "wrong-origin"),
    "user-in-origin": ({"Origin": "http://127.0.0.1@evil.example"}, 403, "wrong-origin"),
    "path-in-origin": ({"Origin": "https://pages.example/x"}, 403, "wrong-origin"),
    "two-hosts": ({"Origin": "http://a.example", "Host": "a.example, b"}, 403, "wrong-origin"),
}


@pytest.mark.parametrize("name", OPENING)
async def test_an_opening_that_is_not_right_is_refused_by_name(tmp_path: Path, name: str) -> None:
    headers, status, code = OPENING[name]
    async with house(tmp_path) as home:
        answer, _ = await ask(home, **headers)
        assert (answer.status, answer.code) == (status, code)
        if status == 426:
            assert "Upgrade: websocket" in answer.head
            assert "Sec-WebSocket-Version: 13" in answer.head
        await home.gone()


GOOD: dict[str, dict[str, str | None]] = {
    "no-origin": {},
    "same-origin": {"Origin": "http://chat.example", "Host": "chat.example"},
    "default-port-said": {"Origin": "https://chat.example", "Host": "chat.example:443"},
    "capitals": {"Origin": "http://Chat.Example:8080", "Host": "chat.example:8080"},
    "ipv6": {"Origin": "http://[::1]:8080", "Host": "[::1]:8080"},
    "configured": {"Origin": "https://pages.example"},
    "among-others": {"Sec-WebSocket-Protocol": "xmpp, whimbrel.1", "Connection": "x, upgrade"},
    "compression-offered": {"Sec-WebSocket-Extensions": "permessage-deflate"},
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_opening_is_accepted(tmp_path: Path, name: str) -> None:
    web = Web(origins=("https://pages.example:443",))
    async with house(tmp_path, web=web) as home:
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        answer, writer = await ask(home, **key, **GOOD[name])  # the example of RFC 6455, 1.3
        assert answer.status == 101
        assert (
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer.head
        )  # RFC 6455, 1.3
        assert "Sec-WebSocket-Protocol: whimbrel.1\r\n" in answer.head
        assert "Extensions" not in answer.head
        writer.close()
        await home.gone()


async def test_a_connection_that_was_used_for_http_before_may_become_a_websocket(
    tmp_path: Path,
) -> None:
    """Proxies keep connections and put any request on them."""
    async with house(tmp_path) as home:
        port = home.node.ports["http"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}")
        writer.write(request(port))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        raw = RawSocket(reader, writer)
        home.keep(raw)
        raw.send(hello_of(2))
        assert isinstance(await raw.next(), wire.Welcome)


async def test_what_is_sent_together_with_the_opening_is_not_lost(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        port = home.node.ports["http"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(port) + frame_of(json_of(hello_of(2))))
        await reader.readuntil(b"\r\n\r\n")
        raw = RawSocket(reader, writer)
        home.keep(raw)
        assert isinstance(await raw.next(), wire.Welcome)


async def test_a_websocket_is_a_session_and_no_http_connection_any_more(tmp_path: Path) -> None:
    async with house(tmp_path, connections_per_address_max=5) as home:
        [plain, *_] = [server for server in home.node.http.servers if server.plain_port]
        sockets = [await raw_socket(home) for _ in range(3)]
        assert plain.connections == 0
        answer, _ = await ask(home)
        assert (answer.status, answer.code) == (503, "too-many-connections")
        await home.counted("refused:too-many-connections")
        elsewhere = await raw_socket(home, local="127.0.0.2")
        elsewhere.send(hello_of(2))
        assert isinstance(await elsewhere.next(), wire.Welcome)
        sockets[0].close()
        await until(lambda: len(home.node.listener) == 5, "the place is not free again")
        await raw_socket(home)


async def test_behind_a_trusted_proxy_the_caller_counts(tmp_path: Path) -> None:
    web = Web(trusted_proxies=("127.0.0.0/8",))
    async with house(tmp_path, web=web, connections_per_address_max=2) as home:
        kept = []
        for caller in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "203.0.113.9, 192.0.2.2"):
            answer, writer = await ask(home, X_Forwarded_For=caller)
            assert answer.status == 101, caller
            kept.append(writer)
        answer, _ = await ask(home, X_Forwarded_For="192.0.2.1")
        assert answer.code == "too-many-connections"
        for writer in kept:
            writer.close()
        await home.gone()


async def test_without_a_trusted_proxy_nobody_is_believed(tmp_path: Path) -> None:
    async with house(tmp_path, connections_per_address_max=3) as home:
        answer, writer = await ask(home, X_Forwarded_For="192.0.2.1")
        assert answer.status == 101
        answer, _ = await ask(home, X_Forwarded_For="192.0.2.2")
        assert answer.code == "too-many-connections"
        writer.close()


async def test_many_openings_from_one_place_are_not_held_against_its_other_requests(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        for _ in range(60):  # more than the burst of requests
            (await raw_socket(home)).close()
        answer, _ = await ask(home, Upgrade=None)
        assert answer.status == 426


async def test_a_page_that_was_slowed_down_may_still_answer_the_goodbye(tmp_path: Path) -> None:
    """The session had stopped reading; who ends it must read on, or the answer is never seen."""
    async with empty_house(tmp_path, frames_per_s=1) as home:
        raw = await logged_in_raw(home, 2)
        raw.send(*(wire.Ping(n) for n in range(10)))
        await raw.answers(wire.Pong, 10)
        await home.counted("slowed-down")
        ending = asyncio.create_task(home.node.listener.close())
        assert await raw.error() == "shutting-down"
        await until(lambda: not len(home.node.listener), "the goodbye was not heard")
        await ending
