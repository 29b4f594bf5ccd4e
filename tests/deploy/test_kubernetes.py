"""The Kubernetes manifests and the Helm chart are what an API server takes, and fit Roadstead."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from roadstead.config.load import examine
from roadstead.config.schema import Settings

_DEPLOY = Path(__file__).parents[2] / "deploy"
_CHART = _DEPLOY / "helm/roadstead"
_CACHE = Path("~/.cache/roadstead/bin").expanduser()
_VERSIONS = ("1.30", "1.33", "1.36")
_EVERYTHING = {
    "replicas": "3",
    "credentialsSecret": "hub",
    "tlsSecret": "certificate",
    "environmentSecret": "environment",
    "volume.storageClass": "fast",
    "service.type": "NodePort",
    "service.nodePort": "30500",
    "serviceMonitor.enabled": "true",
}
# The Prometheus operator's, of which Kubernetes knows nothing.
_FOREIGN = "ServiceMonitor"

Manifest = dict[str, Any]


def _manifests(text: str) -> dict[str, Manifest]:
    return {
        f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(text) if one
    }


def _render(**values: str) -> dict[str, Manifest]:
    helm = shutil.which("helm", path=f"{_CACHE}:{Path('/usr/local/bin')}:/usr/bin")
    if helm is None:
        pytest.skip("helm is not installed")
    subprocess.run([helm, "lint", "--strict", "--quiet", _CHART], check=True, capture_output=True)
    done = subprocess.run(
        [
            *(helm, "template", "mirror", _CHART, "--kube-version", "1.33.0"),
            *(f"--set={key}={value}" for key, value in values.items()),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return _manifests(done.stdout)


def _plain(name: str) -> dict[str, Manifest]:
    return _manifests((_DEPLOY / "kubernetes" / name).read_text("utf-8"))


def _assert_valid(manifests: Mapping[str, Manifest]) -> None:
    for manifest in manifests.values():
        if manifest["kind"] != _FOREIGN:
            for version in _VERSIONS:
                kubernetes_validate.validate(manifest, version, strict=True)


def _settings(manifests: Mapping[str, Manifest], tmp_path: Path) -> Settings:
    path = tmp_path / "config.yml"
    config = next(one for one in manifests.values() if one["kind"] == "ConfigMap")
    path.write_text(config["data"]["config.yml"])
    found = examine(path, {})
    assert (found.problems, found.notices) == ([], [])
    assert found.settings is not None
    return found.settings


def _pod(manifests: Mapping[str, Manifest]) -> Manifest:
    kinds = ("StatefulSet", "Deployment")
    workload = next(one for one in manifests.values() if one["kind"] in kinds)
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("name", ["mirror.yaml", "replicas.yaml"])
def test_plain_manifests_are_valid(name: str) -> None:
    """Against the API's own schemas of several versions; an unknown key is an error."""
    _assert_valid(_plain(name))


def test_an_unknown_key_would_be_found() -> None:
    """The test above can fail."""
    manifests = _plain("mirror.yaml")
    _pod(manifests)["runAsNobody"] = True

    with pytest.raises(kubernetes_validate.ValidationError):
        _assert_valid(manifests)


@pytest.mark.parametrize("values", [{}, _EVERYTHING], ids=["as it is", "everything"])
def test_the_chart_renders_valid_manifests(values: dict[str, str]) -> None:
    """It passes helm's own lint, and the API's schemas."""
    _assert_valid(_render(**values))


@pytest.mark.parametrize("source", ["mirror.yaml", "replicas.yaml", "chart", "chart, everything"])
def test_the_pod_fits_the_configuration(source: str, tmp_path: Path) -> None:
    """Ports, paths and times in the Pod are those of the configuration beside it."""
    if source.startswith("chart"):
        manifests = _render(**(_EVERYTHING if "everything" in source else {}))
    else:
        manifests = _plain(source)
    settings, pod = _settings(manifests, tmp_path), _pod(manifests)
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    address, debug = settings.http.address, settings.http.debug.address

    assert not isinstance(address, Path)
    assert debug is not None
    assert ports == {"registry": address.port, "debug": debug.port}
    assert settings.storage.filesystem.rootdirectory in mounts
    stopping = settings.http.shutdowndelay + settings.http.draintimeout
    assert pod["terminationGracePeriodSeconds"] > stopping.total_seconds()
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    named = (settings.http.tls.certificate, settings.proxy.credentialsfile)
    assert all(str(Path(path).parent) in mounts for path in named if path)


def test_one_keeps_its_volume_and_several_do_not_share_one() -> None:
    """A StatefulSet with a claim for one; a Deployment with a volume per Pod for more."""
    assert "StatefulSet/roadstead" in _plain("mirror.yaml")
    several = _plain("replicas.yaml")
    volumes = {volume["name"]: volume for volume in _pod(several)["volumes"]}

    assert several["Deployment/roadstead"]["spec"]["replicas"] > 1
    assert "ephemeral" in volumes["data"]
