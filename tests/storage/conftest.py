"""Every store there is, for the tests of the contract."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadstead.storage.base import Store
from roadstead.storage.filesystem import FilesystemStore


@pytest.fixture(params=["filesystem"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give an empty store; one parameter for each kind."""
    kinds = {"filesystem": FilesystemStore}
    return kinds[request.param](tmp_path / "volume")


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 256 KiB; skips where none may be mounted."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted: {error}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
