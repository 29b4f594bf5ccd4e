"""The Compose files are those of guides to registry:2, with another image and nothing else."""

from pathlib import Path

import pytest

from roadstead.config.document import parse_document
from roadstead.config.load import examine

_ROOT = Path(__file__).parents[2]
_COMPOSE = _ROOT / "deploy/compose"
_GUIDE = _ROOT / "examples/brief"


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose-multiple.yml"])
def test_only_the_image_differs_from_the_guide(name: str) -> None:
    """Line by line."""
    guide = (_GUIDE / name).read_text("utf-8").splitlines()
    ours = (_COMPOSE / name).read_text("utf-8").splitlines()

    changed = [
        (old.strip(), new.strip()) for old, new in zip(guide, ours, strict=True) if old != new
    ]

    assert set(changed) == {("image: registry:2", "image: roadstead:latest")}


@pytest.mark.parametrize("name", ["config.yml", "config-tls.yml"])
def test_the_configurations_are_the_guides(name: str) -> None:
    """To the letter."""
    assert (_COMPOSE / name).read_bytes() == (_GUIDE / name).read_bytes()


@pytest.mark.parametrize("path", sorted(_COMPOSE.glob("docker-*.yml")), ids=lambda path: path.name)
def test_mounted_files_are_there(path: Path) -> None:
    """A configuration that a service mounts stands beside the Compose file, and can be used."""
    document = parse_document(path.read_text("utf-8"))
    assert isinstance(document, dict)
    services = document["services"]
    assert isinstance(services, dict)
    mounts = [
        str(mount).split(":", maxsplit=1)[0]
        for service in services.values()
        if isinstance(service, dict)
        for mount in (service.get("volumes") or [])
    ]

    for name in [mount for mount in mounts if mount.endswith(".yml")]:
        found = examine(_COMPOSE / name, {})
        assert (found.problems, found.notices) == ([], [])
