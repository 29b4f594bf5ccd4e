"""Joins the metadata database to the store, the mirrors and the status page."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from roadstead.errors import MetadataError, StorageUnavailableError
from roadstead.metadata.base import Recorder
from roadstead.metadata.records import ManifestRecord, PointsAt, RemovedRows
from roadstead.metadata.service import MetadataService
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import (
    Removed,
    RemovedData,
    RemovedLayerLink,
    RemovedManifest,
    RemovedTag,
    Store,
)

_log = logging.getLogger("roadstead.runtime")


class RecordedLinks:
    """The store's ``LinkNotes``, kept by the database: a row is committed, then the link written.

    Blocks in the store's threads. Raises StorageUnavailableError if the row is missing and that
    cannot even be noted. ``removed`` is for the store's ``on_removal``.
    """

    def __init__(self, recorder: Recorder, *, clock: Callable[[], float] = time.time) -> None:
        self._recorder = recorder
        self._clock = clock

    def manifest(self, repository: RepositoryName, digest: Digest, content: bytes) -> None:
        """Record a manifest with all that it points at."""
        record = ManifestRecord(
            repository, digest, len(content), self._clock(), PointsAt.read(content)
        )
        _wait(self._recorder.record_manifest(record))

    def tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> None:
        """Record what a tag points at."""
        _wait(self._recorder.record_tag(repository, tag, digest))

    def layer(self, repository: RepositoryName, digest: Digest, size_bytes: int | None) -> None:
        """Record a layer or config of a repository."""
        _wait(self._recorder.record_layer(repository, digest, size_bytes, self._clock()))

    def data(self, digest: Digest, size_bytes: int) -> None:
        """Record data."""
        _wait(self._recorder.record_data(digest, size_bytes, self._clock()))

    def removed(self, _began_at: float, batch: Sequence[Removed]) -> None:
        """Forget what was removed; no link can be written meanwhile."""
        rows = RemovedRows(
            tags=tuple((one.repository, one.tag) for one in batch if isinstance(one, RemovedTag)),
            manifests=tuple(
                (one.repository, one.digest) for one in batch if isinstance(one, RemovedManifest)
            ),
            layers=tuple(
                (one.repository, one.digest) for one in batch if isinstance(one, RemovedLayerLink)
            ),
            data=tuple(one.digest for one in batch if isinstance(one, RemovedData)),
        )
        try:
            self._recorder.record_removal(rows).result()
        except MetadataError as error:
            # Rows without links: they harm nobody until the next rebuild removes them.
            _log.warning("removals were not noted", extra={"fields": {"error": str(error)}})


class HeldNames:
    """Names of what is held: from the database if it is whole, else by walking the layout."""

    def __init__(self, store: Store, service: MetadataService) -> None:
        self._store = store
        self._service = service

    async def list_repositories(self, *, after: str | None, limit: int) -> list[RepositoryName]:
        """See Catalog."""
        database = self._service.database
        if database is not None and await database.is_whole():
            try:
                return await database.list_repositories(after=after, limit=limit)
            except MetadataError as error:
                _report(error)
        return await self._store.list_repositories(after=after, limit=limit)

    async def list_tags(self, repository: RepositoryName) -> list[Tag] | None:
        """See ManifestStore."""
        database = self._service.database
        if database is not None and await database.is_whole():
            try:
                return await database.list_tags(repository)
            except MetadataError as error:
                _report(error)
        return await self._store.list_tags(repository)


def _wait(recorded: "Future[None]") -> None:
    try:
        recorded.result()
    except MetadataError as error:
        raise StorageUnavailableError(str(error)) from error


def _report(error: MetadataError) -> None:
    _log.warning("names are read from the layout", extra={"fields": {"error": str(error)}})
