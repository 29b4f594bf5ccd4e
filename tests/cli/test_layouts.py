"""``roadstead export`` and ``roadstead import`` as users type them."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roadstead.cli.main import app
from roadstead.simulator.content import BytesContent, build_image, build_index
from tests.maintenance.layouts.volumes import contents_of
from tests.support.layouts import write_layout
from tests.support.volumes import files_below, put

NAME = "ghcr.io/org/app:1.0"
INDEX = build_index(
    [
        build_image([BytesContent(f"of {platform}".encode())], platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    ]
)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Give an image in a layout that says its tag only."""
    return write_layout(tmp_path / "layout", INDEX, {"org.opencontainers.image.ref.name": "1.0"})


def run(volume: Path, *words: str | Path) -> Result:
    """Run a command on a volume."""
    file = put(volume.with_name("config.yml"), b"version: 0.1\n")
    environment = {
        "REGISTRY_CONFIGURATION_PATH": str(file),
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(volume),
    }
    return CliRunner().invoke(app, list(map(str, words)), env=environment)


def test_images_travel(layout: Path, tmp_path: Path) -> None:
    """In, out and in again; each command names what it moved and how much."""
    here, there, out = tmp_path / "here", tmp_path / "there", tmp_path / "out.tar"

    imported = run(here, "import", layout, "--as", NAME)
    exported = run(here, "export", NAME, out)
    again = run(there, "import", out)

    assert [result.exit_code for result in (imported, exported, again)] == [0, 0, 0]
    for result in (imported, exported, again):
        assert result.output.startswith(f"{NAME} {INDEX.manifest_digest}\n")
        assert "B in " in result.output
    assert contents_of(there) == contents_of(here)


def test_programs_get_json(layout: Path, tmp_path: Path) -> None:
    """With everything that people are told."""
    here, out = tmp_path / "here", tmp_path / "out"
    child = INDEX.images[1].manifest_digest
    (layout / "blobs/sha256" / child.encoded).unlink()

    imported = json.loads(run(here, "import", layout, "--as", NAME, "--json").stdout)
    exported = json.loads(run(here, "export", NAME, out, "--json").output)

    assert imported["images"][0]["missing_manifests"] == 1
    assert imported["images"][0]["stored_as"] == "ghcr.io/org/app"
    assert exported["images"] == [
        {
            "name": NAME,
            "digest": str(INDEX.manifest_digest),
            "companions": [],
            "left_out": [
                {
                    "digest": str(child),
                    "platform": "linux/arm64",
                    "reason": "its manifest is not held",
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["export", NAME, "out"], "is not held"),
        (["export", "UPPER", "out"], "invalid repository"),
        (["export", "evil.example/app", "out"], "no upstream for evil.example"),
        (["export", "out"], "name at least one image"),
        (["export", NAME, "out", "--platform", "sparc"], "no platform such as linux/amd64"),
        (["import", "layout"], "say what it is with --as REFERENCE"),
        (["import", "layout", "--as", "evil.example/app"], "no upstream for evil.example"),
        (["import", "nowhere"], "nowhere"),
        (["import", "a", "b", "--as", NAME], "one layout at a time"),
        (["import", "layout", "--config", "nowhere.yml"], "nowhere.yml"),
    ],
)
def test_what_cannot_be_is_said_in_words(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
) -> None:
    """One line that says what to do, a status that is not 0, and no traceback."""
    monkeypatch.chdir(tmp_path)

    result = run(tmp_path / "volume", *words)

    assert layout.exists()
    assert result.exit_code != 0
    # A usage error is drawn into a box.
    assert text in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write a foreign volume")
def test_root_writes_no_file_that_the_server_cannot_change(layout: Path, tmp_path: Path) -> None:
    """A volume of another user is refused, and how to do it is said."""
    (tmp_path / "volume").mkdir()
    os.chown(tmp_path / "volume", 1234, 1234)

    result = run(tmp_path / "volume", "import", layout, "--as", NAME)

    assert result.exit_code == 1
    assert "sudo -u '#1234'" in result.output
    assert files_below(tmp_path / "volume") == {}
