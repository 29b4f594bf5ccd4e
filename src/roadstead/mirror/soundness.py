"""Whether held data may be served, as far as a quick look tells.

Data is not hashed each time it is served; a verification does that now and then. But a file that
is shorter than its manifest says is found at once, and small files, which every image has one of
(its config), are hashed when a process serves them for the first time.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import BinaryIO, Protocol

from cachetools import LRUCache

from roadstead.errors import StorageError
from roadstead.mirror.coalesce import Coalescer
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.storage.base import BlobStore, Damage, Quarantine, RemovalStore
from roadstead.telemetry import events

_log = logging.getLogger("roadstead.mirror")

SMALL_BYTES = 64 * 1024
"""What is hashed within the event loop: a tenth of a millisecond."""
_KNOWN_SIZES = 100_000
_CHUNK_BYTES = 1024 * 1024


class InspectableStore(BlobStore, RemovalStore, Quarantine, Protocol):
    """What it takes to look at data and to put it away."""


class Soundness:
    """Knows how large blobs should be, and looks closer at those that are not."""

    def __init__(self, store: InspectableStore, *, observe: events.Observer) -> None:
        self._store = store
        self._observe = observe
        self._sizes: LRUCache[Digest, int] = LRUCache(_KNOWN_SIZES)
        self._looks: Coalescer[Digest, bool] = Coalescer()

    def expect(self, blobs: Iterable[Descriptor]) -> None:
        """Take note of the sizes that a manifest tells; 0 tells none."""
        for blob in blobs:
            if blob.size > 0:
                self._sizes.setdefault(blob.digest, blob.size)

    def expect_size(self, digest: Digest, size_bytes: int) -> None:
        """Take note of the size that a blob had when it was sound."""
        self._sizes[digest] = size_bytes

    async def is_sound(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether data of this size may be served; what may not goes into quarantine.

        Raises:
            StorageError: it cannot be read.
        """
        if size_bytes > SMALL_BYTES and self._sizes.get(digest, size_bytes) == size_bytes:
            return True
        if size_bytes <= SMALL_BYTES:
            return await self._look(digest)
        # Manifests have told wrong sizes before: the digest decides.
        sound, _ = await self._looks.run(digest, lambda: self._look(digest))
        return sound

    async def aclose(self) -> None:
        """Stop looking."""
        await self._looks.aclose()

    async def _look(self, digest: Digest) -> bool:
        seen = self._store.identify(digest)
        opened = self._store.open_blob(digest)
        if seen is None or opened is None:
            return False
        with opened.file as file:
            if opened.size_bytes <= SMALL_BYTES:
                matches = _matches(file, digest)
            else:
                matches = await asyncio.to_thread(_matches, file, digest)
        if matches:
            self._sizes[digest] = opened.size_bytes
            return True
        _log.error("held data is damaged", extra={"fields": {"digest": str(digest)}})
        self._observe(events.DamageFound(Damage.CONTENT))

        def put_away() -> None:
            with self._store.removing() as removal:
                removal.quarantine_data(digest, Damage.CONTENT, seen)

        try:
            await asyncio.to_thread(put_away)
        except StorageError as error:
            # It stays where it is, and is replaced by what is fetched.
            _log.warning("damage stays where it is", extra={"fields": {"error": str(error)}})
        return False


def _matches(file: BinaryIO, digest: Digest) -> bool:
    hasher = digest.hasher()
    while chunk := file.read(_CHUNK_BYTES):
        hasher.update(chunk)
    return hasher.hexdigest() == digest.encoded
