"""Alerts: when they fire and clear, what they say, where they go; what Prometheus reads."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from whimbrel.domain.limits import Limits
from whimbrel.node.alerts import RULES, Alert, AlertSettings, Board, Sample
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, ConfigError, Listen, load_config
from whimbrel.node.webhook import Webhook, payload

SETTINGS = AlertSettings(hold_s=3, clear_s=10, turn_queue_length=100)


class Told:
    """A board whose clock the test moves."""

    def __init__(self, settings: AlertSettings = SETTINGS) -> None:
        self.changes: list[Alert] = []
        self.at_s = 1_000.0
        self.board = Board(settings, [self.changes.append], lambda: self.at_s)

    def second(self, **figures: Any) -> list[Alert]:
        """One more second with these figures; what was told in it."""
        self.at_s += 1
        before = len(self.changes)
        healthy = {"disk_free_mib": 1e6, "certificate_days": 100.0}
        self.board.look(Sample(at_s=self.at_s, **{**healthy, **figures}))
        return self.changes[before:]


def test_it_fires_when_the_figure_stays_too_high_and_not_before() -> None:
    told = Told()
    assert [told.second(turn_queue_length=150) for _ in range(3)] == [[], [], []]
    (alert,) = told.second(turn_queue_length=150)
    assert (alert.name, alert.active, alert.value) == ("turn_queue_length", True, 150)
    assert told.board.active == [alert]
    assert told.second(turn_queue_length=150) == []


def test_a_figure_that_dips_begins_again() -> None:
    told = Told()
    for _ in range(20):
        for length in (150, 150, 90):
            assert told.second(turn_queue_length=length) == []


def test_it_clears_itself_only_well_below_the_threshold() -> None:
    told = Told()
    for _ in range(4):
        told.second(turn_queue_length=150)
    for _ in range(30):
        assert told.second(turn_queue_length=60) == []  # below 100, but not below 50
    for _ in range(10):
        assert told.second(turn_queue_length=10) == []
    (over,) = told.second(turn_queue_length=10)
    assert not over.active
    assert over.at_s - over.since_s == 41
    assert told.board.active == []
    assert [each.active for each in told.board.history] == [True, False]


def test_too_little_is_an_alert_too() -> None:
    told = Told()
    for _ in range(3):
        assert told.second(disk_free_mib=300.0) == []
    (alert,) = told.second(disk_free_mib=300.0)
    assert (alert.name, alert.grave) == ("disk_free_mib", True)
    for _ in range(10):
        assert told.second(disk_free_mib=1_100.0) == []
    (over,) = told.second(disk_free_mib=1_100.0)
    assert not over.active


def test_the_trend_is_told() -> None:
    told = Told()
    for n in range(4):
        found = told.second(turn_queue_length=1_000 + 500 * n)
    assert found[0].text == "2,500 messages wait for a turn, growing by 500 a second"


@pytest.mark.parametrize(
    ("figures", "cause"),
    [
        ({"commit_ms": 900.0}, "slow disk: a commit takes 900 ms"),
        ({"turn_ms": 700.0, "loop_lag_ms": 720.0}, "busy loop: one turn took 700 ms"),
        ({"loop_lag_ms": 900.0}, "busy loop: held up outside of turns for 900 ms"),
        (
            {"mailbox_length": 400, "mailbox_owner": "alice"},
            "one hot actor: 400 messages are for alice, who gets 0 a second",
        ),
        (
            {"arrived_per_s": 2_000.0, "served_per_s": 1_000.0},
            "more comes in (2,000 a second) than is served (1,000)",
        ),
    ],
)
def test_the_likely_cause_is_what_the_other_figures_say(
    figures: dict[str, Any], cause: str
) -> None:
    told = Told()
    for _ in range(4):
        found = told.second(turn_queue_length=500, **figures)
    (alert,) = [each for each in found if each.name == "turn_queue_length"]
    assert alert.cause == cause


def test_a_hot_actor_and_a_slow_reader_are_named() -> None:
    told = Told()
    for _ in range(4):
        found = told.second(
            mailbox_length=900, mailbox_owner="alice", output_bytes=1 << 20, output_owner="bob"
        )
    assert {each.name: each.owner for each in found} == {
        "mailbox_length": "alice",
        "output_bytes": "bob",
    }


def test_a_threshold_of_zero_switches_an_alert_off() -> None:
    told = Told(AlertSettings(turn_queue_length=0, hold_s=0))
    assert told.second(turn_queue_length=10**9) == []


def test_every_rule_has_a_threshold_and_a_figure() -> None:
    for rule in RULES:
        assert rule.figure in AlertSettings.__struct_fields__
        assert rule.figure in Sample.__struct_fields__


def test_operators_are_told_what_to_do_about_every_alert() -> None:
    table = Path("docs/operations.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"`{rule.figure}`" in table, rule.figure


def test_a_mistake_in_the_settings_names_its_key(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    for text, named in (("hold_s = -1", "alerts.hold_s"), ('webhook = "x"', "alerts.webhook")):
        file.write_text(f"[alerts]\n{text}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=named):
            load_config(file)


# ---- the webhook ------------------------------------------------------------------------


class Hook:
    """Whoever is told."""

    def __init__(self, refuse: int = 0) -> None:
        self.got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.refuse = refuse
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.refuse:
            self.refuse -= 1
            return web.Response(status=503)
        self.got.put_nowait(await request.json())
        return web.Response()

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.got.get(), 20)


@asynccontextmanager
async def hook(refuse: int = 0) -> AsyncIterator[Hook]:
    opened = Hook(refuse)
    app = web.Application()
    app.router.add_post("/alerts", opened.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    opened.url = f"http://127.0.0.1:{port}/alerts"
    try:
        yield opened
    finally:
        await runner.cleanup()


def an_alert() -> Alert:
    return Alert(
        "commit_ms", True, False, "the database", "900 ms", "slow disk", 900, 500, 1.5, 1.5
    )


async def test_the_webhook_is_told_again_until_it_answers() -> None:
    async with hook(refuse=2) as opened:
        webhook = Webhook(opened.url, "chat.example.org", first_pause_s=0.001)
        webhook.tell(an_alert())
        webhook.tell(replace(an_alert(), active=False, at_s=11.5))
        first, second = await opened.next(), await opened.next()
        await webhook.stop()
    assert (first["version"], first["status"], second["status"]) == ("4", "firing", "resolved")
    (alert,) = first["alerts"]
    assert alert["labels"]["alertname"] == "whimbrel_commit_ms"
    assert alert["startsAt"] == "1970-01-01T00:00:01.500Z"
    assert second["alerts"][0]["endsAt"] == "1970-01-01T00:00:11.500Z"


def test_the_payload_has_what_alertmanager_documents() -> None:
    told = payload(an_alert(), "chat.example.org")
    assert set(told) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels",
        "commonLabels", "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    assert set(told["alerts"][0]) == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
    }  # fmt: skip


# ---- a whole server ---------------------------------------------------------------------


@asynccontextmanager
async def server(folder: Path, alerts: AlertSettings) -> AsyncIterator[Node]:
    listen = Listen(
        host="127.0.0.1", native=-1, https=-1, http=0, xmpp=-1, xmpp_tls=-1, xmpp_plain=-1
    )
    node = Node(Config(listen=listen, alerts=alerts, limits=Limits()), folder)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


async def get(node: Node, path: str) -> tuple[int, str]:
    token = (node.folder / "admin.token").read_text(encoding="ascii").strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{node.ports['http']}{path}", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    async with server(tmp_path / "data", AlertSettings()) as node:
        assert (await get(node, "/admin/users/alice"))[0] == 404  # a turn, and a read
        node.monitor.look()
        status, text = await get(node, "/metrics")
        assert status == 200
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert families["whimbrel_ready"].samples[0].value == 1
    assert families["whimbrel_queue_entries"].type == "gauge"
    assert families["whimbrel_engine_events"].type == "counter"
    assert families["whimbrel_disk_free_bytes"].samples[0].value > 1_000_000
    assert families["whimbrel_certificate_remaining_seconds"].samples[0].value > 300 * 86_400
    turns = families["whimbrel_turn_seconds"]
    assert turns.type == "histogram"
    counts = [each.value for each in turns.samples if each.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] > 0


async def test_metrics_and_alerts_are_for_the_bearer_of_the_token(tmp_path: Path) -> None:
    async with (
        server(tmp_path / "data", AlertSettings()) as node,
        aiohttp.ClientSession() as http,
    ):
        for path in ("/metrics", "/admin/alerts"):
            async with http.get(f"http://127.0.0.1:{node.ports['http']}{path}") as answer:
                assert answer.status == 401


async def test_a_loop_that_is_held_up_is_told_of_everywhere_and_clears_itself(
    tmp_path: Path,
) -> None:
    async with hook() as opened:
        settings = AlertSettings(hold_s=0, clear_s=0, loop_lag_ms=150, webhook=opened.url)
        async with server(tmp_path / "data", settings) as node:
            asyncio.get_running_loop().call_soon(time.sleep, 0.5)  # the hog
            fired = await opened.next()
            assert fired["status"] == "firing"
            assert fired["alerts"][0]["labels"]["alertname"] == "whimbrel_loop_lag_ms"
            assert "busy loop: held up outside of turns" in str(fired["alerts"][0]["annotations"])
            over = await opened.next()
            assert over["status"] == "resolved"
            status, text = await get(node, "/admin/alerts")
            assert status == 200
            assert '"name":"loop_lag_ms"' in text
