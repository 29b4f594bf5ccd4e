"""``roadstead verify``: what it says, how it ends, and what it leaves behind."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roadstead.cli.main import app
from roadstead.oci.reference import RepositoryName
from roadstead.simulator.content import BytesContent, build_image
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.maintenance.layouts.volumes import hold
from tests.support.volumes import files_below, put

APP = RepositoryName("library/app")
OTHER = RepositoryName("ghcr.io/org/other")
IMAGE = build_image([BytesContent(b"a layer" * 1000)], platform="linux/amd64")
ANOTHER = build_image([BytesContent(b"another")], platform="linux/amd64")
LAYER = IMAGE.layers[0].digest


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Give a volume with an image in each of two repositories."""
    store = FilesystemStore(tmp_path / "volume")
    asyncio.run(hold(store, APP, IMAGE, tag="latest"))
    asyncio.run(hold(store, OTHER, ANOTHER, tag="latest"))
    return tmp_path / "volume"


def verify(volume: Path, *words: str) -> Result:
    """Run the command on a volume."""
    file = put(volume.with_name("config.yml"), b"version: 0.1\n")
    environment = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(volume)}
    return CliRunner().invoke(app, ["verify", str(file), *words], env=environment)


def test_a_whole_volume_is_well(volume: Path) -> None:
    """Status 0, what was looked at, and no file is changed but those of the lock."""
    before = files_below(volume)

    result = verify(volume)

    assert result.exit_code == 0
    assert result.stdout.startswith("6 blobs, ")
    assert result.stdout.endswith(": all is well\n")
    assert files_below(volume) == before


def test_damage_is_named_and_put_away(volume: Path) -> None:
    """Status 1; the next run finds the data missing, and the list of quarantine has it."""
    wrong = bytes(len(IMAGE.layers[0].read()))
    Layout(volume).blob(LAYER).write_bytes(wrong)

    first, second = verify(volume), verify(volume, "--json")
    listed = json.loads(verify(volume, "--quarantined", "--json").output)
    table = verify(volume, "--quarantined")

    assert (first.exit_code, second.exit_code, table.exit_code) == (1, 1, 0)
    assert f"damaged (content): {LAYER}, 6.8 KiB, quarantined\n" in first.output
    assert f"data missing: blob {LAYER} in library/app\n" in first.output
    assert "; damaged: 1, links that lead nowhere: 1\n" in first.output
    document = json.loads(second.stdout)
    assert document["damaged"] == []
    assert document["broken_links"] == [
        {
            "repository": APP,
            "what": "blob",
            "name": str(LAYER),
            "breach": "data missing",
        }
    ]
    (kept,) = listed["quarantined"]
    assert (kept["digest"], kept["damage"]) == (str(LAYER), "content")
    assert "content" in table.output


def test_a_dry_run_only_tells(volume: Path) -> None:
    """The same status, and the volume stays as it is."""
    Layout(volume).blob(LAYER).write_bytes(b"")
    before = files_below(volume)

    result = verify(volume, "--dry-run")

    assert result.exit_code == 1
    assert f"damaged (empty): {LAYER}, 0 B, left where it is" in result.stdout
    assert files_below(volume) == before


@pytest.mark.parametrize(
    ("pattern", "status", "blobs"),
    [
        ("library/*", 1, 3),
        ("docker.io/library/app", 1, 3),
        ("ghcr.io/*", 0, 3),
        ("nowhere", 0, 0),
    ],
)
def test_a_pattern_chooses_repositories(
    volume: Path, pattern: str, status: int, blobs: int
) -> None:
    """By the name in the store, or by the full one."""
    Layout(volume).blob(LAYER).write_bytes(b"wrong")

    result = verify(volume, "--repository", pattern, "--json")

    assert result.exit_code == status
    assert json.loads(result.stdout)["blobs"] == blobs


def test_an_empty_volume_is_well(tmp_path: Path) -> None:
    """There is nothing that could be wrong."""
    result = verify(tmp_path / "volume")

    assert (result.exit_code, result.stdout[:9]) == (0, "0 blobs, ")


def test_nothing_in_quarantine_is_said(volume: Path) -> None:
    """Rather than an empty table."""
    assert verify(volume, "--quarantined").output == "nothing is in quarantine\n"
