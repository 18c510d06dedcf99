"""`serve --processes`: several nodes of one machine behind the same ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trial.nats import NatsServer
from whimbrel.node.config import Config, ConfigError, StoreSettings
from whimbrel.node.processes import check

PATIENCE_S = 90.0
LISTEN = (
    '[listen]\nhost = "127.0.0.1"\nnative = 0\nhttps = -1\nhttp = 0\nxmpp = 0\nxmpp_tls = -1\n'
    "[probe]\non = false\n"
)


def begin(folder: Path, config: str, *options: str) -> "subprocess.Popen[bytes]":
    file = folder / "whimbrel.toml"
    file.write_text(config + LISTEN)
    command = [sys.executable, "-m", "whimbrel.cli.main", "serve", "--config", str(file)]
    command += ["--data", str(folder / "data"), "--ready-file", str(folder / "ready.json")]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*command, *options], stdout=log, stderr=log)


def until(holds: Callable[[], Any], folder: Path) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < end_s, (folder / "log").read_text()[-2_000:]
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_processes_on_the_same_ports_one_dies_and_comes_back(
    url: str, nats_server: NatsServer, tmp_path: Path
) -> None:
    config = f'[store]\nurl = "{url}"\nunsafe = true\n[bus]\nurl = "{nats_server.url}"\n'
    parent = begin(tmp_path, config, "--processes", "2")
    told = tmp_path / "ready.json"
    try:
        ready = json.loads(until(lambda: told.exists() and told.read_text(), tmp_path))
        first, second = ready["processes"]
        assert ready["pid"] == parent.pid
        shared = [json.loads(file.read_text()) for file in (tmp_path / "data").glob("*.ready.json")]
        assert {each["native"] for each in shared} == {ready["native"]}
        assert {each["pid"] for each in shared} == {first, second}
        assert len({each["fingerprint"] for each in shared}) == 1
        os.kill(second, signal.SIGKILL)
        again = tmp_path / "data" / "process-1.ready.json"
        until(lambda: again.exists() and json.loads(again.read_text())["pid"] != second, tmp_path)
        parent.terminate()
        assert parent.wait(PATIENCE_S) == 0
        assert not told.exists()
        assert not alive(first)
    finally:
        parent.kill()
        parent.wait()


def test_without_a_database_for_all_it_says_what_to_write(tmp_path: Path) -> None:
    parent = begin(tmp_path, "", "--processes", "2")
    assert parent.wait(PATIENCE_S) == 1
    said = (tmp_path / "log").read_text()
    for words in ("[store]", "postgresql://", "[bus]", "nats://"):
        assert words in said


@pytest.mark.parametrize("count", [0, -1, 65])
def test_a_senseless_number_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="--processes"):
        check(Config(store=StoreSettings(url="postgresql://x/y")), count)
