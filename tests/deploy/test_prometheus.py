"""What operators are given for Prometheus and Grafana really loads, and names what there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.promtool import ROOT, promtool
from tests.node.test_alerts import get, server
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Describe
from whimbrel.node.alerts import AlertSettings

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/whimbrel.json"
NAME = re.compile(r"\b(?:whimbrel|process)_[a-z_]+\b")
GRID = 24


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["expr"]


async def metrics(folder: Path) -> str:
    """The page of a server that has done a little."""
    async with server(folder, AlertSettings()) as node:
        await node.asking.ask(account_number("alice"), Describe)
        node.listener.counts["refused:busy"] += 1  # as after the first refusal
        node.monitor.look()
        status, text = await get(node, "/metrics")
        assert status == 200
        return text


async def test_promtool_finds_nothing_to_complain_of_in_the_metrics(tmp_path: Path) -> None:
    text = await metrics(tmp_path / "data")
    assert promtool("check", "metrics", told=text.encode()) == ""


async def test_every_metric_says_what_it_is_in_base_units(tmp_path: Path) -> None:
    text = await metrics(tmp_path / "data")
    families = list(text_string_to_metric_families(text))
    assert len(families) > 40
    for family in families:
        assert family.documentation, family.name
        assert not re.search(r"_(ms|us|mib|kib|percent|minutes|days)(_|$)", family.name)
    names = [family.name for family in families]
    assert len(names) == len(set(names))


async def test_what_the_dashboard_and_the_rules_name_is_there(tmp_path: Path) -> None:
    text = await metrics(tmp_path / "data")
    there = {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }
    named = {name for each in expressions() for name in NAME.findall(each)}
    named |= set(NAME.findall((PROMETHEUS / "rules.yml").read_text(encoding="utf-8")))
    assert len(named) > 25
    assert named <= there


def test_the_rules_load_and_fire_as_they_should() -> None:
    assert "SUCCESS: 9 rules found" in promtool("check", "rules", "rules.yml", folder=PROMETHEUS)
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml", folder=PROMETHEUS)
    promtool("check", "config", "--syntax-only", "prometheus.yml", folder=PROMETHEUS)


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """As recording rules: promtool reads the language that Grafana hands on."""
    rules = [
        {"record": f"dashboard:{n}", "expr": each.replace("$__rate_interval", "5m")}
        for n, each in enumerate(expressions())
    ]
    file = tmp_path / "rules.json"  # which is YAML too
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", str(file))


def test_the_dashboard_has_what_grafana_documents() -> None:
    """Grafana's "Dashboard JSON model": the fields, panels in a grid of 24, own numbers."""
    board = dashboard()
    for field in (
        "uid", "title", "tags", "timezone", "editable", "graphTooltip", "panels", "time",
        "timepicker", "templating", "annotations", "refresh", "schemaVersion", "version", "links",
    ):  # fmt: skip
        assert field in board
    assert "id" not in board  # given by the Grafana that imports it
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= GRID, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert [variable["name"] for variable in board["templating"]["list"]] == [
        "datasource", "instance",
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["title", "type", "gridPos", "id"])
def test_every_panel_has(field: str) -> None:
    for panel in dashboard()["panels"]:
        assert panel[field] not in ("", None)
        if panel["type"] != "row":
            refs = [target["refId"] for target in panel["targets"]]
            assert refs
            assert len(refs) == len(set(refs))
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
