"""The probe: two accounts that talk over the real port, what they measure, and what they leave."""

import socket
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import uvloop

from tests.node.test_alerts import get
from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import PROBES, account_number
from whimbrel.domain.ports import Outcome
from whimbrel.node.alerts import AlertSettings
from whimbrel.node.assemble import Node
from whimbrel.node.audit import run_audit
from whimbrel.node.config import Config, ConfigError, Listen, load_config
from whimbrel.node.samples import ProbeSettings
from whimbrel.storage.opening import FILE


def config(probe: ProbeSettings) -> Config:
    off = -1
    listen = Listen(
        host="127.0.0.1", native=0, https=off, http=0, xmpp=off, xmpp_tls=off, xmpp_plain=off
    )
    return Config(listen=listen, probe=probe)


SELDOM = ProbeSettings(every_s=3_600, patience_s=60)


async def test_a_probe_measures_both_marks_and_leaves_nothing_behind(tmp_path: Path) -> None:
    node = Node(config(SELDOM), tmp_path / "data")
    await node.start()
    try:
        assert node.probe is not None
        probed = node.monitor.probed
        for _ in range(3):
            assert await node.probe.once()
        assert (probed.done, probed.failed, probed.trouble) == (3, 0, "")
        assert probed.first_mark.count == probed.second_mark.count == 3
        assert probed.ms > 0
        node.monitor.look()
        _, text = await get(node, "/metrics")
        assert 'whimbrel_probes_total{result="ok"} 3.0' in text
        _, users = await get(node, "/admin/users")
        assert "probe" not in users
        audit = run_audit(node.folder, node.config.limits, node.clock.now_us())
        assert audit is not None
        assert audit.unexplained == 0
    finally:
        await node.stop()
    with apsw.Connection(str(tmp_path / "data" / FILE)) as db:
        numbers = tuple(map(account_number, PROBES))
        for table in ("sent", "inbox", "archive"):
            count = f"SELECT count(*) FROM {table} WHERE owner IN (?, ?)"
            assert db.execute(count, numbers).get == 0, table


def test_it_works_on_the_loop_that_production_runs_on(tmp_path: Path) -> None:
    async def once() -> tuple[int, str]:
        node = Node(config(SELDOM), tmp_path / "data")
        await node.start()
        try:
            assert node.probe is not None
            await node.probe.once()
            return node.monitor.probed.done, node.monitor.probed.trouble
        finally:
            await node.stop()

    assert uvloop.run(once()) == (1, "")


async def test_a_port_that_refuses_is_told_with_the_step(tmp_path: Path) -> None:
    node = Node(config(ProbeSettings(every_s=3_600, patience_s=1)), tmp_path / "data")
    await node.start()
    try:
        assert node.probe is not None
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and does not listen: it refuses
            node.ports["native"] = nobody.getsockname()[1]
            await node.probe.once()
        probed = node.monitor.probed
        assert probed.failures == 1
        assert probed.trouble.startswith("sign in: 127.0.0.1:")
    finally:
        await node.stop()


async def test_marks_that_do_not_come_are_told_with_the_step(tmp_path: Path) -> None:
    node = Node(config(ProbeSettings(every_s=3_600, patience_s=2)), tmp_path / "data")
    await node.start()
    try:
        assert node.probe is not None
        assert await node.probe.once()  # makes the accounts
        commit = node.store.commit
        signed_in = node.monitor.probed.signed_in

        held: list[tuple[Batch, Callable[[Outcome, str], None]]] = []

        def commit_until_signed_in(batch: Batch, done: Callable[[Outcome, str], None]) -> None:
            if signed_in.count < 2:
                commit(batch, done)
            else:
                held.append((batch, done))

        node.store.commit = commit_until_signed_in  # type: ignore[method-assign]
        await node.probe.once()
        assert node.monitor.probed.trouble == "first check mark: not within 2 s"
        node.store.commit = commit  # type: ignore[method-assign]
        for batch, done in held:
            commit(batch, done)
    finally:
        await node.stop()


async def test_failures_in_a_row_are_an_alert_and_one_success_ends_it(tmp_path: Path) -> None:
    settings = AlertSettings(hold_s=0, clear_s=0)
    node = Node(config(SELDOM), tmp_path / "data")
    await node.start()
    try:
        node.monitor.stop()
        board = node.monitor.board
        board.settings = settings
        for _ in range(2):
            node.monitor.probed.broke("sign in", "refused")
        node.monitor.look()
        (alert,) = [each for each in board.active if each.name == "probe_failures"]
        assert (alert.owner, alert.cause, alert.grave) == ("the probe", "sign in: refused", True)
        node.monitor.probed.succeeded(0.1)
        node.monitor.look()
        assert "probe_failures" not in [each.name for each in board.active]
    finally:
        await node.stop()


async def test_switched_off_there_are_no_accounts(tmp_path: Path) -> None:
    node = Node(config(ProbeSettings(on=False)), tmp_path / "data")
    await node.start()
    try:
        assert node.probe is None
    finally:
        await node.stop()


def test_a_mistake_names_its_key(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text("[probe]\nevery_s = 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"probe\.every_s"):
        load_config(file)
