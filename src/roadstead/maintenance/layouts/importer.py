"""Into the store: the images of a layout, verified while they are copied.

A layout is looked over whole before anything is written. Then data comes first, links to it
follow, an index after its children, and a tag last of all: a reader, or a crash, in between
finds whole images only.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from roadstead.errors import (
    ImageLayoutError,
    ManifestInvalidError,
    RoadsteadError,
    StorageError,
)
from roadstead.maintenance.layouts.names import ImageNamer, NamedImage
from roadstead.maintenance.layouts.reading import LayoutReader, read_document, read_entries
from roadstead.maintenance.layouts.selection import is_foreign
from roadstead.maintenance.layouts.writing import Report
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.imagelayout import LayoutEntry, blob_path
from roadstead.oci.manifest import Manifest, parse_manifest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import RemovalStore, Store

_log = logging.getLogger("roadstead.import")

_CHUNK_BYTES = 1024 * 1024


class ImportStore(Store, RemovalStore, Protocol):
    """What an import needs of a store."""


@dataclass(slots=True)
class PlannedImage:
    """An image that is about to be imported; ``blobs`` are those that the layout has, in bytes.

    ``missing`` counts children of indexes that the layout lacks.
    """

    image: NamedImage
    digest: Digest
    confirmed_at: float
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    held: set[Digest] = field(default_factory=set)
    missing: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes that will be looked at."""
        return sum(self.blobs.values())


class Importer:
    """Brings images into one store."""

    def __init__(self, store: ImportStore, namer: ImageNamer) -> None:
        self._store = store
        self._namer = namer

    async def plan(self, reader: LayoutReader, rename: str | None = None) -> list[PlannedImage]:
        """Look a layout over; ``rename`` is what its only image is to be called.

        Raises:
            ImageLayoutError: it cannot be imported; the text has a line for each reason.
            StorageError: the store failed.
        """
        entries = await asyncio.to_thread(read_entries, reader)
        if rename is not None and len(entries) != 1:
            message = f"it has {len(entries)} images, and only one can be given another name"
            raise ImageLayoutError(message)
        if not entries:
            message = "it has no images"
            raise ImageLayoutError(message)
        planned, problems = [], []
        for entry in entries:
            try:
                planned.append(await self._plan(reader, entry, rename))
            except RoadsteadError as error:
                problems.append(str(error))
        if problems:
            raise ImageLayoutError("\n".join(problems))
        return planned

    async def perform(
        self, reader: LayoutReader, planned: Iterable[PlannedImage], *, report: Report
    ) -> None:
        """Import what was planned; ``report`` is called from other threads.

        Raises:
            DigestMismatchError: a blob in the layout is damaged; images before it are imported.
            StorageError: the store failed.
            OSError: the layout cannot be read.
        """
        for one in planned:
            await self._import(reader, one, report)
        await asyncio.to_thread(self._tell_others)

    async def _plan(
        self, reader: LayoutReader, entry: LayoutEntry, rename: str | None
    ) -> PlannedImage:
        image = self._name(entry, rename)
        digest = entry.descriptor.digest
        if isinstance(image.reference, Digest) and image.reference != digest:
            message = f"{image.name} is called so in the layout, but is {digest}"
            raise ImageLayoutError(message)
        confirmed_at = reader.written_at if entry.confirmed_at is None else entry.confirmed_at
        planned = PlannedImage(image, digest, confirmed_at)
        if not await self._take(reader, planned, digest):
            message = f"{image.name}: its manifest {digest} is not in the layout"
            raise ImageLayoutError(message)
        return planned

    def _name(self, entry: LayoutEntry, rename: str | None) -> NamedImage:
        if rename is not None:
            return self._namer.find(rename)
        if entry.name is None:
            message = f"{entry.descriptor.digest} has no name in the layout; give it one with --as"
            raise ImageLayoutError(message)
        try:
            return self._namer.find_full(entry.name)
        except ImageLayoutError as error:
            message = f"{error}; say what it is with --as REFERENCE"
            raise ImageLayoutError(message) from error

    async def _take(self, reader: LayoutReader, planned: PlannedImage, digest: Digest) -> bool:
        """Plan a manifest with all below it; False if the layout lacks the manifest."""
        if digest in planned.manifests:
            return True
        content = await asyncio.to_thread(read_document, reader, digest)
        if content is None:
            return False
        try:
            manifest = parse_manifest(content)
        except ManifestInvalidError as error:
            message = f"{planned.image.name}: {error}"
            raise ImageLayoutError(message) from error
        for child in manifest.children:
            planned.missing += not await self._take(reader, planned, child.digest)
        await self._take_blobs(reader, planned, manifest.blobs)
        planned.manifests[digest] = content
        return True

    async def _take_blobs(
        self, reader: LayoutReader, planned: PlannedImage, blobs: Sequence[Descriptor]
    ) -> None:
        for blob in blobs:
            found = await asyncio.to_thread(reader.open, blob_path(blob.digest))
            held = await self._store.stat_data(blob.digest)
            if found is None and held is None:
                if is_foreign(blob):
                    continue
                message = f"{planned.image.name}: its blob {blob.digest} is not in the layout"
                raise ImageLayoutError(message)
            if found is not None:
                found.file.close()
            # Of the size that it must have: verify finds out about its bytes.
            if held is not None and (found is None or held == found.size_bytes):
                planned.held.add(blob.digest)
            planned.blobs[blob.digest] = found.size_bytes if found is not None else held or 0

    async def _import(self, reader: LayoutReader, planned: PlannedImage, report: Report) -> None:
        for digest, size in planned.blobs.items():
            await self._bring(reader, planned, digest, size, report)
        for digest, content in planned.manifests.items():
            await self._store.write_manifest(planned.image.repository, digest, content)
            await self._note_referrer(planned.image.repository, digest, content)
        await self._bring_again(reader, planned)
        if not await self._name_it(planned):
            message = f"{planned.image.name} was evicted while it was imported; import it again"
            raise ImageLayoutError(message)

    async def _bring(
        self, reader: LayoutReader, planned: PlannedImage, digest: Digest, size: int, report: Report
    ) -> None:
        repository = planned.image.repository
        if digest in planned.held and await self._store.link_blob(repository, digest):
            report(size)
        else:
            await asyncio.to_thread(self._copy, reader, repository, digest, report)

    async def _bring_again(self, reader: LayoutReader, planned: PlannedImage) -> None:
        """Bring what went while no manifest needed it yet: a long import outlives every grace."""
        for digest, size in planned.blobs.items():
            if await self._store.stat_blob(planned.image.repository, digest) is None:
                await self._bring(reader, planned, digest, size, lambda _size: None)

    async def _name_it(self, planned: PlannedImage) -> bool:
        """Let the tag point at it; False if the image has gone meanwhile."""
        image = planned.image
        if isinstance(image.reference, Digest):
            return await self._store.has_manifest(image.repository, planned.digest)
        return await self._store.write_tag(
            image.repository, image.reference, planned.digest, planned.confirmed_at
        )

    def _tell_others(self) -> None:
        """Let a running mirror forget where tags pointed, as after a removal."""
        try:
            with self._store.removing():
                pass
        except StorageError as error:
            # It asks upstream in time, or is told at its next start.
            _log.warning(
                "a running mirror may not notice tags that moved",
                extra={"fields": {"error": str(error)}},
            )

    def _copy(
        self, reader: LayoutReader, repository: RepositoryName, digest: Digest, report: Report
    ) -> None:
        found = reader.open(blob_path(digest))
        if found is None:
            message = f"{digest} is neither in the store nor in the layout any more"
            raise ImageLayoutError(message)
        with found.file:
            partial = self._store.partial_blob(digest)
            try:
                # What an unfinished download has left may be other bytes than these.
                partial.restart()
                while chunk := found.file.read(_CHUNK_BYTES):
                    partial.write(chunk)
                    report(len(chunk))
                partial.commit(frozenset({repository}))
            except BaseException:
                partial.discard()
                raise
            finally:
                partial.close()

    async def _note_referrer(
        self, repository: RepositoryName, digest: Digest, content: bytes
    ) -> None:
        """Add a manifest to the kept list of its subject, which is served without upstream."""
        manifest = parse_manifest(content)
        if manifest.subject is None:
            return
        kept = await self._store.read_referrers(repository, manifest.subject.digest)
        listed = json.loads(kept) if kept is not None else []
        if not isinstance(listed, list):
            listed = []
        if any(isinstance(one, dict) and one.get("digest") == str(digest) for one in listed):
            return
        document = [*listed, _referrer(manifest, digest, content)]
        await self._store.write_referrers(
            repository, manifest.subject.digest, json.dumps(document).encode()
        )


def _referrer(manifest: Manifest, digest: Digest, content: bytes) -> dict[str, Any]:
    """Describe a referrer as the registry API does (distribution-spec 1.1, "Listing Referrers")."""
    described: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(digest),
        "size": len(content),
    }
    artifact_type = manifest.artifact_type
    if artifact_type is None and manifest.blobs:
        artifact_type = manifest.blobs[0].media_type
    if artifact_type is not None:
        described["artifactType"] = artifact_type
    annotations = json.loads(content).get("annotations")
    if isinstance(annotations, dict):
        described["annotations"] = annotations
    return described
