"""What is told of links and data before they are there."""

from contextlib import closing
from pathlib import Path

import pytest

from roadstead.errors import StorageUnavailableError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import NoNotes
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.storage.blobs import ALPINE
from tests.support.volumes import files_below

LAYER = b"a layer"
MANIFEST = b'{"schemaVersion": 2}'


class _Refusing(NoNotes):
    """Cannot take note of anything, and sees what is there when it is told."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)
        self.seen: list[bool] = []

    def manifest(self, _repository: RepositoryName, digest: Digest, _content: bytes) -> None:
        self._refuse(digest)

    def layer(self, _repository: RepositoryName, digest: Digest, _size: int | None) -> None:
        self._refuse(digest)

    def _refuse(self, digest: Digest) -> None:
        self.seen.append(self._layout.blob(digest).exists())
        message = "no row can be written"
        raise StorageUnavailableError(message)


async def test_data_that_nobody_knows_of_is_never_left(tmp_path: Path) -> None:
    """It is noted before it has its name: a crash in between must leave nothing uncounted."""
    notes = _Refusing(tmp_path)
    store = FilesystemStore(tmp_path, notes=notes)

    with closing(store.partial_blob(Digest.of(LAYER))) as partial:
        partial.write(LAYER)
        with pytest.raises(StorageUnavailableError):
            partial.commit(frozenset({ALPINE}))
    with pytest.raises(StorageUnavailableError):
        await store.write_manifest(ALPINE, Digest.of(MANIFEST), MANIFEST)

    assert notes.seen == [False, False]
    assert files_below(tmp_path / "docker") == {}
