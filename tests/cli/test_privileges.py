"""In a container the program does not stay root, unless it would not work otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadstead.cli import privileges

_USER = 12345
_GROUP = 12346

# What the process is after the drop, and whether it can still write its store.
_REPORT = """
import os, sys
from pathlib import Path
from roadstead.cli import privileges
privileges.drop(sys.argv[1:], os.environ)
print(*os.getresuid(), *os.getresgid(), os.getgroups())
if os.getuid():
    (Path(os.environ["REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"]) / "new").write_bytes(b"")
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that every user can reach, as the root of a container is."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


def _run(store: Path, *arguments: str, run_as: str) -> "subprocess.CompletedProcess[str]":
    default = store.with_name("default.yml")
    default.write_text("version: 0.1\nstorage: {filesystem: {}}\n")
    return subprocess.run(
        [sys.executable, "-c", _REPORT, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "REGISTRY_CONFIGURATION_PATH": str(default),
            privileges.RUN_AS: run_as,
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(store),
        },
        capture_output=True,
        text=True,
        check=True,
    )


@needs_root
def test_root_becomes_the_user_and_takes_the_volume_along(shared: Path) -> None:
    """A volume that root wrote, as registry:2 does, is the user's afterwards; no group stays."""
    store = shared / "store"
    blob = store / "docker/registry/v2/blobs/data"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"held")

    done = _run(store, run_as=f"{_USER}:{_GROUP}")

    expected = f"{_USER} {_USER} {_USER} {_GROUP} {_GROUP} {_GROUP} []\n"
    assert (done.stdout, done.stderr) == (expected, "")
    assert {path.stat().st_uid for path in (store, blob, blob.parent)} == {_USER}


@needs_root
def test_a_store_that_is_the_users_is_not_walked_again(shared: Path) -> None:
    """Else each start would touch every file of a large volume."""
    store = shared / "store"
    store.mkdir()
    inner = store / "left-alone"
    inner.write_bytes(b"")
    os.chown(store, _USER, _GROUP)

    _run(store, run_as=f"{_USER}:{_GROUP}")

    assert inner.stat().st_uid == 0


@needs_root
def test_a_key_that_only_root_can_read_keeps_it_root(shared: Path) -> None:
    """The mirror works as registry:2 did, and says what to change."""
    key = shared / "mirror.key"
    key.write_text("secret")
    key.chmod(0o600)
    config = shared / "config.yml"
    config.write_text(f"version: 0.1\nhttp: {{tls: {{certificate: {config}, key: {key}}}}}\n")

    done = _run(shared / "store", "serve", str(config), run_as=f"{_USER}:{_GROUP}")

    assert done.stdout.startswith("0 0 0 ")
    assert done.stderr == (
        f"warning: running as root: user {_USER} has no access to {key}; "
        "let it read them, by chown or chmod\n"
    )


@needs_root
@pytest.mark.parametrize("run_as", ["", "nobody", "12345", "12345:"])
def test_nothing_happens_where_nobody_asks_for_it(shared: Path, run_as: str) -> None:
    """Outside the image the variable is not set, and root stays root."""
    assert _run(shared / "store", run_as=run_as).stdout.startswith("0 0 0 ")
    assert not (shared / "store").exists()
