"""Every example that is shipped can be used."""

from pathlib import Path

import pytest

from roadstead.config.document import parse_document
from roadstead.config.load import examine, load
from roadstead.config.notice import Level
from roadstead.secrecy import Secret
from tests.config.samples import examine_text

EXAMPLES = Path(__file__).parents[2] / "examples"
BRIEF = EXAMPLES / "brief"


def _files() -> list[Path]:
    return sorted(path for path in EXAMPLES.rglob("*.yml"))


def _environments(path: Path) -> dict[str, dict[str, str]]:
    """Give the environment of every service of a compose file that has one."""
    document = parse_document(path.read_text("utf-8"))
    services = document.get("services") if isinstance(document, dict) else None
    found: dict[str, dict[str, str]] = {}
    for name, service in (services if isinstance(services, dict) else {}).items():
        environment = service.get("environment") if isinstance(service, dict) else None
        if isinstance(environment, dict):
            found[name] = {key: str(value) for key, value in environment.items()}
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_loads(path: Path) -> None:
    """A configuration has no problem and no warning; so have the services of a compose file."""
    text = path.read_text("utf-8")
    if text.find("version: 0.1") >= 0:
        found = examine(path, {})
        assert found.problems == []
        assert [notice for notice in found.notices if notice.level is Level.WARNING] == []
    for environment in _environments(path).values():
        assert load(None, environment).notices == []


def test_the_plain_configuration_and_its_compose_file() -> None:
    """File and environment together, as the container has them."""
    environment = _environments(BRIEF / "docker-compose.yml")["registry-mirror"]

    loaded = load(BRIEF / "config.yml", environment)

    assert loaded.notices == []
    assert loaded.settings.proxy.remoteurl == "https://registry-1.docker.io"
    assert loaded.settings.health.storagedriver.threshold == 3


def test_the_three_mirrors_of_one_compose_file() -> None:
    """Each has its own upstream, by the environment alone."""
    environments = _environments(BRIEF / "docker-compose-multiple.yml")

    upstreams = {
        name: load(None, env).settings.proxy.remoteurl for name, env in environments.items()
    }

    assert upstreams == {
        "dockerhub-mirror": "https://registry-1.docker.io",
        "ghcr-mirror": "https://ghcr.io",
        "quay-mirror": "https://quay.io",
    }


def test_the_configuration_with_tls() -> None:
    """Certificate and key are where the compose file mounts them."""
    tls = load(BRIEF / "config-tls.yml", {}).settings.http.tls

    assert (tls.certificate, tls.key) == ("/certs/mirror.crt", "/certs/mirror.key")


def test_the_configuration_with_an_account(tmp_path: Path) -> None:
    """The proxy section replaces that of the plain configuration."""
    plain = (BRIEF / "config.yml").read_text("utf-8")
    section = (BRIEF / "config-auth.yml").read_text("utf-8")

    found = examine_text(tmp_path, f"{plain}\n{section}")

    assert found.settings is not None
    assert found.settings.proxy.username == "your-dockerhub-username"
    assert found.settings.proxy.password == Secret("your-dockerhub-access-token")
