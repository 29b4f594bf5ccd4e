"""Rules and dashboard ask for metrics that exist, in expressions that Prometheus takes."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from roadstead.telemetry.metrics import Metrics

_DEPLOY = Path(__file__).parents[2] / "deploy"
_RULES = _DEPLOY / "prometheus/rules.yml"
_DASHBOARD = _DEPLOY / "grafana/roadstead.json"
_METRIC = re.compile(r"\b(?:registry|roadstead|process|python)_[a-z0-9_]+")
_PARTS_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def _dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_DASHBOARD.read_text("utf-8"))
    return document


def _dashboard_expressions() -> list[str]:
    return [
        target["expr"].replace("$instance", ".*")
        for panel in _dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def _rule_expressions() -> list[str]:
    document = yaml.safe_load(_RULES.read_text("utf-8"))
    return [rule["expr"] for group in document["groups"] for rule in group["rules"]]


def _exported() -> set[str]:
    """List what can be scraped: what is exported at once, and what the documentation promises."""
    text = Metrics(version="1", storage_driver="filesystem").render()[0].decode()
    now = {family.name for family in text_string_to_metric_families(text)}
    operations = (_DEPLOY.parent / "docs/operations.md").read_text("utf-8")
    return now | {f"{name}_total" for name in now} | set(_METRIC.findall(operations))


def test_every_metric_exists() -> None:
    """A misspelt one would be an empty panel, or an alert that never fires."""
    exported = _exported()
    asked = {
        name
        for expression in (*_rule_expressions(), *_dashboard_expressions())
        for name in _METRIC.findall(re.sub(r"roadstead:[a-z0-9_:]+|\"[^\"]*\"", "", expression))
    }

    for part in _PARTS_OF_HISTOGRAMS:
        asked = {name.removesuffix(part) for name in asked}
    assert asked - exported == set()


def test_panels_do_not_overlap() -> None:
    """Each has a place of its own on the grid of 24 columns, and an id of its own."""
    taken: set[tuple[int, int]] = set()
    panels = _dashboard()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(column for column, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_prometheus_takes_rules_and_dashboard(tmp_path: Path) -> None:
    """Promtool checks the rules, runs their tests, and parses every panel's expression."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    panels = tmp_path / "panels.yml"
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(_dashboard_expressions())
    ]
    panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    for command in (
        ["check", "rules", "--lint-fatal", str(_RULES), str(panels)],
        ["test", "rules", str(_RULES.with_name("rules.test.yml"))],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
