"""The metrics of registry 2.8.2, by name, type and labels, are those of Roadstead."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.comparison import pull_everything
from tests.servers.samples import fill
from tests.support.dockerregistry import request, start_docker_registry
from tests.support.roadstead_process import free_port, start_roadstead

pytestmark = pytest.mark.servers


def debug(port: int) -> dict[str, str]:
    """Switch the debug server on, by variables."""
    return {
        "REGISTRY_HTTP_DEBUG_ADDR": f"127.0.0.1:{port}",
        "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
    }


def scrape(port: int) -> dict[str, Metric]:
    """Read the families with the prefix ``registry_``."""
    answer = request("GET", f"http://127.0.0.1:{port}/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {family.name: family for family in families if family.name.startswith("registry_")}


def shapes(families: Mapping[str, Metric]) -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and label names of each family."""
    return {
        name: (
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels),
        )
        for name, family in families.items()
    }


def handlers(families: Mapping[str, Metric]) -> set[str]:
    """Return the values of the label ``handler``."""
    samples = [sample for family in families.values() for sample in family.samples]
    return {sample.labels["handler"] for sample in samples if "handler" in sample.labels}


def test_a_dashboard_of_the_stock_registry_finds_its_series(tmp_path: Path) -> None:
    """Each family is there with the same type and labels, after the same pulls."""
    theirs, ours = free_port(), free_port()
    with start_docker_registry(tmp_path / "origin") as origin:
        fill(origin)
        document = {
            "storage": {"filesystem": {"rootdirectory": str(tmp_path / "roadstead")}},
            "proxy": {"remoteurl": origin},
        }
        stock = start_docker_registry(
            tmp_path / "stock", proxy_remoteurl=origin, extra_env=debug(theirs)
        )
        with stock as url, start_roadstead(document, environment=debug(ours)) as mirror:
            for base_url in (url, mirror.url):
                pull_everything(base_url)
            expected, found = scrape(theirs), scrape(ours)

    assert shapes(found).items() >= shapes(expected).items()
    missing = handlers(expected) - handlers(found)
    assert missing == {"blob_upload_chunk"}, "uploads are counted under one handler"
