"""Every store there is, for the tests of the contract."""

from pathlib import Path

import pytest

from roadstead.storage.base import Store
from roadstead.storage.filesystem import FilesystemStore


@pytest.fixture(params=["filesystem"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give an empty store; one parameter for each kind."""
    kinds = {"filesystem": FilesystemStore}
    return kinds[request.param](tmp_path / "volume")
