"""The Helm chart: linted and rendered by Helm itself, checked against Kubernetes' own schemas.

The program comes out of a package that carries it (Makefile); without it, what can be looked at
without rendering still is.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.promtool import ROOT
from whimbrel import __version__
from whimbrel.node.config import load_config

CHART = ROOT / "deploy/helm/whimbrel"
UNPACKED = ROOT / ".venv/helm/helm/helm"
KUBERNETES = ("1.25", "1.37")  # the oldest that the chart names, and today's


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("helm") or (str(UNPACKED) if UNPACKED.exists() else "")
    if not program:
        pytest.skip("helm is not here (make .venv/.web unpacks it)")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def rendered(*arguments: str) -> dict[str, Any]:
    """Manifests by kind and name."""
    done = helm("template", "chat", str(CHART), *arguments)
    assert done.returncode == 0, done.stderr
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


def test_helm_has_nothing_to_say_against_it() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_yaml_is_written_as_one_writes_it() -> None:
    files = [CHART / "Chart.yaml", CHART / "values.yaml", ROOT / "deploy/compose/compose.yaml"]
    command = [sys.executable, "-m", "yamllint", "-s", "-c", str(ROOT / "deploy/.yamllint.yaml")]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_values_fit_their_schema_and_every_key_is_in_it() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    assert set(schema["properties"]) - {"global"} == set(values)
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


@pytest.mark.parametrize(
    ("set_", "named"),
    [
        ("store.url=postgresql://whimbrel:secret@db/whimbrel", "url"),  # a password
        ("nodes=1", "nodes"),
        ("antiAffinity=sometimes", "antiAffinity"),
        ("nods=3", "nods"),
    ],
)
def test_a_wrong_value_is_refused_by_name(set_: str, named: str) -> None:
    done = helm("template", "chat", str(CHART), "--set", set_)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "set_",
    [
        (),
        ("antiAffinity=required", "media.claim=files", "configSecret=more", "bus.user="),
        ("service.type=ClusterIP", "storage.className=fast", "imagePullSecrets[0].name=registry"),
    ],
    ids=["default", "shared", "inside"],
)
def test_kubernetes_takes_every_manifest(version: str, set_: tuple[str, ...]) -> None:
    manifests = rendered(*(word for each in set_ for word in ("--set", each)))
    assert len(manifests) == 5
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_node_takes_the_configuration_that_the_chart_writes(tmp_path: Path) -> None:
    parts = rendered("--set", "media.claim=files", "--set-string", 'config=[log]\nformat = "json"')
    data = parts["ConfigMap/chat"]["data"]
    (tmp_path / "postgres").write_text("p/w\n")
    (tmp_path / "nats").write_text("other")
    text = (data["base.toml"] + data["extra.toml"]).replace("/etc/whimbrel/secrets", str(tmp_path))
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    config = load_config(file)
    assert config.store.url == "postgresql://whimbrel:p%2Fw@postgres-rw/whimbrel"
    assert (config.bus.user, config.bus.password) == ("whimbrel", "other")
    assert config.node.media == "/var/lib/whimbrel-media"
    assert config.log.format == "json"


def test_a_node_is_drained_has_time_and_is_not_sent_people_meanwhile() -> None:
    manifests = rendered()
    pod = manifests["StatefulSet/chat"]["spec"]["template"]["spec"]
    node = pod["containers"][0]
    assert node["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert node["livenessProbe"]["httpGet"]["path"] == "/health"  # the database may be away
    assert "cluster drain" in " ".join(node["lifecycle"]["preStop"]["exec"]["command"])
    # DRAIN_S_MAX of the drain, and what a stop takes behind it.
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert manifests["PodDisruptionBudget/chat"]["spec"]["maxUnavailable"] == 1
    assert pod["affinity"]["podAntiAffinity"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    text = json.dumps(manifests)
    assert "password" not in text.replace("password_file", "").replace('"password"', "")
