"""Alerts as messages: one for many, never a flood, never about themselves, durable and in order."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from tests.node.test_alerts import an_alert
from whimbrel.client import Client, Pinned
from whimbrel.domain.answers import Registered, Rejected
from whimbrel.domain.errors import Exists
from whimbrel.domain.ids import HOUSE, account_number
from whimbrel.domain.messages import Register
from whimbrel.edge.http.keys import new_key
from whimbrel.node.alerts import AlertSettings
from whimbrel.node.assemble import Node
from whimbrel.node.chatter import AWAY_MAX, GATHER_S, PAUSE_MAX_S, PAUSE_S, Chatter
from whimbrel.node.config import Config, Listen
from whimbrel.node.samples import NO_PROBE

ADMIN = "+4915112345678"


class Told:
    """An administrator on paper: texts, and a clock that the test moves."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.now_s = 0.0
        self.chatter = Chatter(
            [ADMIN], "chat.example.org", self.send, self.later, lambda: self.now_s
        )

    def send(self, to: str, text: str) -> bool:
        assert to == ADMIN
        self.texts.append(text)
        self.chatter.stored(to, len(self.texts))
        return True

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.timers.append((self.now_s + delay_s, call))

    def sleep(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := [timer for timer in self.timers if timer[0] <= end_s]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now_s = first[0]
            first[1]()
        self.now_s = end_s


def test_an_alert_is_told_with_its_owner_and_cause_and_so_is_its_end() -> None:
    told = Told()
    told.chatter.tell(an_alert())
    told.sleep(GATHER_S)
    told.chatter.tell(replace(an_alert(), active=False, at_s=13.5))
    told.sleep(2 * PAUSE_S)
    assert told.texts == [
        "chat.example.org\n\nALERT  the database: 900 ms.\nLikely cause: slow disk.",
        "chat.example.org\n\nCLEARED after 12 s  the database: 900 ms.",
    ]


def test_what_comes_together_is_one_message() -> None:
    told = Told()
    for name in ("commit_ms", "loop_lag_ms", "turn_queue_age_ms"):
        told.chatter.tell(replace(an_alert(), name=name, text=name))
    told.sleep(GATHER_S)
    (text,) = told.texts
    assert text.count("ALERT") == 3


def test_an_alert_that_comes_and_goes_all_day_is_a_message_every_ten_minutes() -> None:
    told = Told()
    hours = 24
    for n in range(hours * 360):
        told.chatter.tell(replace(an_alert(), active=n % 2 == 0))
        told.chatter.delivered(ADMIN, len(told.texts))
        told.sleep(10)
    assert len(told.texts) < hours * 3600 / PAUSE_MAX_S + 15
    assert "changes since the last message" in told.texts[-1]


def test_after_a_quiet_time_the_next_alert_is_told_at_once_again() -> None:
    told = Told()
    for n in range(600):
        told.chatter.tell(replace(an_alert(), active=n % 2 == 0))
        told.chatter.delivered(ADMIN, len(told.texts))
        told.sleep(10)
    told.sleep(2 * PAUSE_MAX_S)
    before = len(told.texts)
    told.chatter.tell(an_alert())
    told.sleep(GATHER_S)
    assert len(told.texts) == before + 1


def test_an_administrator_who_is_away_finds_few_messages_and_then_the_state_of_now() -> None:
    told = Told()
    for n in range(10_000):
        told.chatter.tell(replace(an_alert(), active=n % 2 == 0, text=f"change {n}"))
        told.sleep(60)
    assert len(told.texts) == AWAY_MAX
    told.chatter.delivered(ADMIN, AWAY_MAX)
    told.sleep(PAUSE_MAX_S)
    assert len(told.texts) == AWAY_MAX + 1
    assert "change 9999" in told.texts[-1]


def test_nobody_is_told_of_their_own_inbox() -> None:
    told = Told()
    told.chatter.tell(replace(an_alert(), name="inbox_messages", owner=ADMIN))
    told.chatter.tell(replace(an_alert(), name="window_percent", owner=ADMIN))
    told.sleep(60)
    assert told.texts == []
    told.chatter.tell(replace(an_alert(), name="inbox_messages", owner="alice"))
    told.sleep(60)
    assert len(told.texts) == 1


# ---- a whole server ---------------------------------------------------------------------


async def sign_up(node: Node, address: str) -> tuple[int, str]:
    key, hashed = new_key()
    answer = await node.asking.ask(
        account_number(address), lambda reply: Register(address, hashed, "phone", reply)
    )
    assert isinstance(answer, Registered)
    return answer.device, key


def config(alerts: AlertSettings) -> Config:
    off = -1
    listen = Listen(
        host="127.0.0.1", native=0, https=off, http=off, xmpp=off, xmpp_tls=off, xmpp_plain=off
    )
    return Config(probe=NO_PROBE, listen=listen, alerts=alerts)


async def test_an_administrator_reads_alerts_as_messages_also_those_sent_while_away(
    tmp_path: Path,
) -> None:
    node = Node(config(AlertSettings(accounts=(ADMIN,))), tmp_path / "data")
    await node.start()
    try:
        device, key = await sign_up(node, ADMIN)
        assert node.teller is not None
        for text in ("first", "second"):
            assert node.teller.send(ADMIN, text)
        trust = Pinned(node.certificate.fingerprint)
        host, port = "127.0.0.1", node.ports["native"]
        async with Client(ADMIN, device, key, host, port, trust=trust) as client:
            messages = client.messages()
            got = [await asyncio.wait_for(anext(messages), 30) for _ in range(2)]
            assert [(each.sender, each.text) for each in got] == [
                ("whimbrel", "first"),
                ("whimbrel", "second"),
            ]
            node.monitor.board._say(an_alert())
            told = await asyncio.wait_for(anext(messages), 30)
            assert "ALERT  the database: 900 ms." in told.text
            sent = await client.send("whimbrel", "thank you")  # which is read, and wiped
            await asyncio.wait_for(sent.delivered, 30)
    finally:
        await node.stop()


async def test_the_servers_own_addresses_are_nobody_elses(tmp_path: Path) -> None:
    node = Node(config(AlertSettings()), tmp_path / "data")
    await node.start()
    try:
        for address in HOUSE:
            answer = await node.asking.ask(
                account_number(address),
                lambda reply, address=address: Register(address, bytes(32), "thief", reply),  # type: ignore[misc]
            )
            assert answer == Rejected(Exists.code)
            assert await node.house.keys(address) is not None
    finally:
        await node.stop()
