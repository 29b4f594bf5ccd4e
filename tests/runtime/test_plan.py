"""Which upstreams there are, worked out of the settings."""

from pathlib import Path

import pytest

from roadstead.config.load import load
from roadstead.config.schema import Settings
from roadstead.errors import ConfigError
from roadstead.mirror.routing import Hints, Router
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.plan import default_name, plan_upstreams

HEAD = "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}}\n"


def settings_of(tmp_path: Path, text: str) -> Settings:
    """Load a configuration."""
    path = tmp_path / "config.yml"
    path.write_text(HEAD + text)
    return load(path, {}).settings


def destination(
    settings: Settings, repository: str, namespace: str | None = None
) -> tuple[str, str]:
    """Route a request by the plan; return the URL that is asked and the stored name."""
    planned = plan_upstreams(settings)
    router = Router([one.rules for one in planned], default=default_name(settings))
    found = router.route(RepositoryName(repository), Hints(namespace=namespace))
    (url,) = [one.url for one in planned if one.name == found.upstream]
    return url, found.repository


def test_without_configuration_the_well_known_registries_are_there(tmp_path: Path) -> None:
    """Docker Hub is the default, at the root of the store; ghcr.io and others are there by name."""
    settings = settings_of(tmp_path, "")

    assert destination(settings, "alpine") == ("https://registry-1.docker.io", "library/alpine")
    assert destination(settings, "ghcr.io/org/app") == ("https://ghcr.io", "ghcr.io/org/app")
    assert destination(settings, "app", "quay.io") == ("https://quay.io", "quay.io/app")
    assert destination(settings, "alpine", "docker.io")[1] == "library/alpine"


def test_well_known_registries_can_be_switched_off(tmp_path: Path) -> None:
    """Then only what is configured is ever dialled."""
    settings = settings_of(tmp_path, "mirror: {wellknown: false}\n")

    assert [one.name for one in plan_upstreams(settings)] == ["docker.io"]


def test_a_configured_upstream_outweighs_a_well_known_one(tmp_path: Path) -> None:
    """Its URL is asked, under its name, whether it is the same name or an alias."""
    settings = settings_of(
        tmp_path,
        "upstreams:\n"
        "  ghcr.io: {remoteurl: 'https://ghcr.cache.example'}\n"
        "  harbor: {remoteurl: 'https://harbor.example', aliases: [quay.io]}\n",
    )

    assert destination(settings, "org/app", "ghcr.io") == (
        "https://ghcr.cache.example",
        "ghcr.io/org/app",
    )
    assert destination(settings, "org/app", "quay.io") == (
        "https://harbor.example",
        "harbor/org/app",
    )


def test_another_default_leaves_docker_hub_reachable(tmp_path: Path) -> None:
    """A mirror of ghcr.io by default serves ghcr.io from the root and the Hub by name."""
    settings = settings_of(tmp_path, "proxy: {remoteurl: 'https://ghcr.io'}\n")

    assert destination(settings, "org/app") == ("https://ghcr.io", "org/app")
    assert destination(settings, "org/app", "ghcr.io") == ("https://ghcr.io", "org/app")
    assert destination(settings, "alpine", "docker.io") == (
        "https://registry-1.docker.io",
        "docker.io/library/alpine",
    )


def test_a_private_default_stands_for_docker_hub(tmp_path: Path) -> None:
    """Behind registry-mirrors a company's own registry answers what docker calls docker.io."""
    settings = settings_of(tmp_path, "proxy: {remoteurl: 'https://hub.corp.example'}\n")

    assert destination(settings, "library/alpine", "docker.io") == (
        "https://hub.corp.example",
        "library/alpine",
    )


def test_a_default_with_aliases_stands_for_those_only(tmp_path: Path) -> None:
    """``aliases`` says it all: the Hub is then the Hub."""
    settings = settings_of(
        tmp_path, "proxy: {remoteurl: 'https://mirror.corp.example', aliases: [registry.k8s.io]}\n"
    )

    assert destination(settings, "pause", "registry.k8s.io")[0] == "https://mirror.corp.example"
    assert destination(settings, "library/alpine", "docker.io")[0] == "https://registry-1.docker.io"


def test_a_name_with_a_port_can_be_stored(tmp_path: Path) -> None:
    """A colon cannot stand in a repository's name, so it does not in the stored one."""
    settings = settings_of(
        tmp_path, "upstreams: {'registry.corp:5000': {remoteurl: 'http://registry.corp:5000'}}\n"
    )

    assert destination(settings, "app", "registry.corp:5000")[1] == "registry.corp_5000/app"


def test_two_upstreams_at_one_host_stay_apart(tmp_path: Path) -> None:
    """The default upstream is not mistaken for a named one with the same address."""
    settings = settings_of(
        tmp_path,
        "proxy: {remoteurl: 'http://cache:5000'}\n"
        "upstreams: {ghcr.io: {remoteurl: 'http://cache:5000'}}\n",
    )

    assert destination(settings, "org/app")[1] == "org/app"
    assert destination(settings, "org/app", "ghcr.io")[1] == "ghcr.io/org/app"


def test_the_default_upstream_is_described_in_one_place(tmp_path: Path) -> None:
    """Two sections for one upstream are refused with the way out."""
    settings = settings_of(tmp_path, "upstreams: {docker.io: {tagttl: 1h}}\n")

    with pytest.raises(ConfigError, match="proxy"):
        plan_upstreams(settings)
