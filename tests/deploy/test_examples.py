"""Example configurations load, and the unit and the image's recipe say what is true."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.promtool import ROOT
from whimbrel.node.config import Config, Listen, load_config

DEPLOY = ROOT / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.toml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_loads_and_changes_something(file: Path) -> None:
    assert load_config(file) != Config()


def test_there_are_examples() -> None:
    assert {file.stem for file in EXAMPLES} == {"trial", "small", "proxy", "large"}


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    unit = tmp_path / "whimbrel.service"
    text = (DEPLOY / "whimbrel.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/whimbrel/bin/whimbrel", sys.executable))
    command = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if "whimbrel.service" in line]
    assert (done.returncode, said) == (0, [])


def test_the_unit_gives_as_many_files_as_there_may_be_connections() -> None:
    text = (DEPLOY / "whimbrel.service").read_text(encoding="utf-8")
    (files,) = re.findall(r"^LimitNOFILE=(\d+)$", text, re.MULTILINE)
    assert int(files) >= Config().limits.connections_max + 512


def test_the_image_opens_the_ports_that_the_server_has() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    (exposed,) = re.findall(r"^EXPOSE (.*)$", text, re.MULTILINE)
    listen = Listen()
    ports = {listen.native, listen.https, listen.xmpp, listen.xmpp_tls}
    assert set(map(int, exposed.split())) == ports
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
