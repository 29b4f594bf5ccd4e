"""Rules and dashboard ask for metrics that exist, in expressions that Prometheus takes."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from roadstead.telemetry.metrics import Metrics

_DEPLOY = Path(__file__).parents[2] / "deploy"
_RULES = _DEPLOY / "prometheus/rules.yml"
_DASHBOARD = _DEPLOY / "grafana/roadstead.json"
_METRIC = re.compile(r"\b(?:registry|roadstead|process|python)_[a-z0-9_]+")
# Names the build, repeats what another one says by upstream, or counts what is one of its parts.
_NOT_SHOWN = {
    "roadstead_build_info",
    "roadstead_prefetched_blobs_total",
    "roadstead_flight_resumed_bytes_total",
    "roadstead_segments_total",
    "roadstead_evicted_blobs_total",
    "roadstead_not_kept_bytes_total",
    "roadstead_verified_blobs_total",
}
_PARTS_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def _dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_DASHBOARD.read_text("utf-8"))
    return document


def dashboard_expressions() -> list[str]:
    """Return what the panels ask, for all mirrors."""
    return [
        target["expr"].replace("$instance", ".*")
        for panel in _dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def _documented_expressions() -> list[str]:
    """Return what docs/operations.md tells people to ask; a comment stands before each."""
    operations = (_DEPLOY.parent / "docs/operations.md").read_text("utf-8")
    [block] = re.findall(r"```promql\n(.*?)```", operations, re.DOTALL)
    return [one for one in re.split(r"^#.*\n", block, flags=re.MULTILINE) if one]


def rule_expressions() -> list[str]:
    """Return what rules and alerts ask."""
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
        for expression in (*rule_expressions(), *dashboard_expressions())
        for name in _METRIC.findall(re.sub(r"roadstead:[a-z0-9_:]+|\"[^\"]*\"", "", expression))
    }

    for part in _PARTS_OF_HISTOGRAMS:
        asked = {name.removesuffix(part) for name in asked}
    assert asked - exported == set()


def test_every_family_of_ours_is_shown() -> None:
    """What is exported and on no panel would be forgotten."""
    shown = {name for one in dashboard_expressions() for name in _METRIC.findall(one)}
    for part in _PARTS_OF_HISTOGRAMS:
        shown = {name.removesuffix(part) for name in shown}
    operations = (_DEPLOY.parent / "docs/operations.md").read_text("utf-8")
    ours = set(re.findall(r"^\| `(roadstead_\w+)` \|", operations, re.MULTILINE))

    assert len(ours) > 40
    assert sorted(ours - shown - _NOT_SHOWN) == []


def test_grafana_knows_every_field() -> None:
    """Grafana's own model of a dashboard takes it in and gives it back whole."""
    register_default_plugins()
    document = _dashboard()
    model = Dashboard.from_json(document)

    assert lost(document, json.loads(json.dumps(model, cls=JSONEncoder))) == []


def lost(given: object, kept: object, path: str = "") -> list[str]:
    """List what is in a document and not, or not so, in another one."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            one for key in given for one in lost(given[key], kept.get(key, ...), f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        pairs = enumerate(zip(given, kept, strict=True))
        return [one for at, (a, b) in pairs for one in lost(a, b, f"{path}[{at}]")]
    return [] if given == kept else [path]


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
    """Promtool checks the rules, runs their tests, and parses what panels and documents ask."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    panels = tmp_path / "panels.yml"
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate((*dashboard_expressions(), *_documented_expressions()))
    ]
    panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    for command in (
        ["check", "rules", "--lint-fatal", str(_RULES), str(panels)],
        ["test", "rules", str(_RULES.with_name("rules.test.yml"))],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
