"""``garbage-collect`` as distribution has it, and the brief's clean-up script."""

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadstead.cli.garbage import USAGE
from roadstead.cli.registry import run
from roadstead.storage.filesystem import FilesystemStore
from tests.maintenance.volume import APP, Volume, digests

# The clean-up script of the user's document, in which one prefix is replaced.
_SCRIPT = """\
#!/bin/bash
# cleanup-mirror.sh - Remove old cached images and run garbage collection

REGISTRY_CONTAINER="registry-mirror"
MAX_AGE_DAYS=30

echo "Starting cache cleanup at $(date)"

# Run garbage collection inside the registry container
docker exec ${REGISTRY_CONTAINER} /bin/registry garbage-collect \\
  /etc/docker/registry/config.yml --delete-untagged

# Log the current cache size
CACHE_SIZE=$(docker exec ${REGISTRY_CONTAINER} du -sh /var/lib/registry | awk '{print $1}')
echo "Cache size after cleanup: ${CACHE_SIZE}"
"""


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    """Undo that a command takes over the logging of its process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Give a volume with an image, one that a tag has left, and an orphan."""
    volume = Volume(tmp_path / "volume")
    volume.tag("latest", volume.image("old"), volume.image("new"))
    volume.blob("orphan")
    return volume


@pytest.fixture
def config(volume: Volume) -> str:
    """Give the configuration of that volume."""
    path = volume.root.with_name("config.yml")
    path.write_text(
        f"version: 0.1\nlog: {{level: warn}}\n"
        f"storage: {{filesystem: {{rootdirectory: {volume.root}}}}}\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["-m"], []),
        ([], ["-m"]),
        (["--delete-untagged"], []),
        (["--delete-untagged=true"], ["--dry-run=false"]),
        (["-mq"], []),
        ([], ["--quiet", "--delete-untagged"]),
    ],
)
def test_flags_stand_anywhere(
    volume: Volume, config: str, before: list[str], after: list[str]
) -> None:
    """Before or behind the file, long, short or joined, as cobra takes them."""
    assert run("registry", ["garbage-collect", *before, config, *after]) == 0
    assert volume.layers() == digests("new")


@pytest.mark.parametrize("flag", ["-d", "--dry-run"])
def test_a_dry_run_removes_nothing(
    volume: Volume, config: str, flag: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It prints what would go."""
    before = volume.files()
    assert run("registry", ["garbage-collect", config, flag, "-m"]) == 0
    output, _ = capfd.readouterr()
    assert "2 blobs marked, 3 blobs and 1 manifests eligible for deletion\n" in output
    assert volume.files() == before


def test_quiet_says_only_what_was_done(config: str, capfd: pytest.CaptureFixture[str]) -> None:
    """No line on standard output; on standard error what was done, and who did it."""
    assert run("registry", ["garbage-collect", "-q", config]) == 0
    output, errors = capfd.readouterr()
    assert output == ""
    audit, done = errors.splitlines()
    assert "audit.call=garbage-collect" in audit
    assert done == "removed 0 manifests, 0 layer links and 1 blobs; 6 B freed"


def test_the_other_command_does_the_same(volume: Volume, config: str) -> None:
    """``roadstead garbage-collect`` takes the same flags."""
    command = [sys.executable, "-m", "roadstead", "garbage-collect", "--delete-untagged", config]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{APP}: marking manifest" in done.stdout
    assert volume.layers() == digests("new")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_tells_the_rule(flag: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What --delete-untagged removes here is said where it is looked up."""
    assert run("registry", ["garbage-collect", flag]) == 0
    assert capfd.readouterr().out == USAGE
    assert "ever pulled by digest stay" in USAGE


@pytest.mark.parametrize("arguments", [["-x"], ["--nonsense"], ["a.yml", "b.yml"]])
def test_what_is_not_understood_is_exit_1(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """It is named, with the usage, and nothing is removed."""
    assert run("registry", ["garbage-collect", *arguments]) == 1
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors == f"unknown flag or argument: {arguments[-1]}\n\n{USAGE}"


def test_an_unusable_configuration_is_exit_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With every reason at once."""
    path = tmp_path / "config.yml"
    path.write_text("version: 0.2\n")
    assert run("registry", ["garbage-collect", str(path)]) == 1
    assert "version" in capfd.readouterr().err


def test_a_second_collection_is_exit_1(
    volume: Volume, config: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says why, and ends."""
    with FilesystemStore(volume.root).collecting():
        assert run("registry", ["garbage-collect", config]) == 1
    assert "\nfailed to garbage collect: collection.lock is held" in capfd.readouterr().err


def test_an_empty_volume_is_exit_0(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The stock registry fails here."""
    path = tmp_path / "config.yml"
    root = tmp_path / "missing"
    path.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n")
    assert run("registry", ["garbage-collect", str(path), "-d"]) == 0
    output = capfd.readouterr().out
    assert output == "\n0 blobs marked, 0 blobs and 0 manifests eligible for deletion\n"


def test_the_documents_script_runs_unchanged(volume: Volume, config: str, tmp_path: Path) -> None:
    """With ``docker exec`` replaced by a stand-in that runs the same command line here."""
    stand_in = tmp_path / "bin/docker"
    stand_in.parent.mkdir()
    registry = shutil.which("registry", path=str(Path(sys.executable).parent))
    assert registry is not None
    stand_in.write_text(
        "#!/bin/bash\n"
        "shift 2\n"
        f'set -- "${{@//\\/bin\\/registry/{_escaped(registry)}}}"\n'
        f'set -- "${{@//\\/etc\\/docker\\/registry\\/config.yml/{_escaped(config)}}}"\n'
        f'set -- "${{@//\\/var\\/lib\\/registry/{_escaped(str(volume.root))}}}"\n'
        'exec "$@"\n'
    )
    stand_in.chmod(0o755)
    script = tmp_path / "cleanup-mirror.sh"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    done = subprocess.run(
        [script],
        env={"PATH": f"{stand_in.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("Starting cache cleanup at ")
    assert "2 blobs marked, 3 blobs and 1 manifests eligible for deletion" in done.stdout
    assert re.fullmatch(r"Cache size after cleanup: [0-9.]+[KMG]?", last)
    assert volume.layers() == digests("new")


def _escaped(text: str) -> str:
    return text.replace("/", r"\/")
