"""Carries a plan out, one short batch after the other, each looked at again before it is done.

While a batch runs nobody can write a link, and the database has a row for every link that there
is. So what no row needs, nothing needs. Links go first and data last: whatever interrupts this
leaves links that lead nowhere, data without a link, or manifests of an index that has gone.
Reads take the first two for absence, and the next plan takes them first; the last are images of
their own from then on. Rows whose links have gone are forgotten before the next plan, or by the
next batch: the store has noted what it was removing (see ``settle``).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from roadstead.errors import MetadataError
from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.pinning import Pins
from roadstead.maintenance.plan import Plan, PlannedBlob, PlannedImage, Usage
from roadstead.metadata.base import Metadata
from roadstead.metadata.records import EvictionCandidate
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import Removal, RemovalStore
from roadstead.telemetry import events
from roadstead.telemetry.events import EvictionReason

_log = logging.getLogger("roadstead.retention")

_BLOBS_AT_ONCE = 20

Value = TypeVar("Value")


@dataclass(slots=True)
class Evicted:
    """What has gone."""

    images: int = 0
    blobs: int = 0
    freed_bytes: int = 0


class Evictor:
    """Removes images and data from the store and from the database."""

    def __init__(
        self,
        *,
        store: RemovalStore,
        usage: Callable[[], Usage],
        names: ImageNames,
        observe: events.Observer,
    ) -> None:
        self._store = store
        self._usage = usage
        self._names = names
        self._observe = observe

    async def settle(self) -> None:
        """Forget the rows of what a batch has removed that was cut short, of any process.

        Raises:
            StorageError: the store cannot be written.
        """

        def end() -> None:
            with self._store.removing():
                pass

        if self._store.was_cut_short():
            await _in_thread(end)

    async def apply(self, plan: Plan, metadata: Metadata, pins: Pins) -> Evicted:
        """Remove what is planned and may still go; what has changed meanwhile stays.

        Raises:
            MetadataError: the database cannot be relied on; what is done is done.
            StorageError: the store cannot be written.
        """
        done = Evicted()
        for start in range(0, len(plan.blobs), _BLOBS_AT_ONCE):
            await self._remove_blobs(plan.blobs[start : start + _BLOBS_AT_ONCE], metadata, done)
        for planned in plan.images:
            await self._remove_image(planned, metadata, pins, done)
        return done

    async def _remove_blobs(
        self, blobs: Sequence[PlannedBlob], metadata: Metadata, done: Evicted
    ) -> None:
        links = [(one.repository, one.digest) for one in blobs if one.repository is not None]
        if links:
            await self._unlink_layers(links, metadata)
        await self._remove_data(
            [one.digest for one in blobs], metadata, EvictionReason.ORPHAN, done
        )

    async def _remove_image(
        self, planned: PlannedImage, metadata: Metadata, pins: Pins, done: Evicted
    ) -> None:
        image = planned.image
        loop = asyncio.get_running_loop()

        def remove() -> list[Digest] | None:
            with self._store.removing() as removal:
                current = _on_loop(self._current(image, metadata, pins), loop)
                if current is None:
                    return None
                unlinking = _Unlinking(removal, image.repository)
                unlinking.remove(*current)
                _on_loop(unlinking.forget_missing(metadata), loop)
                return unlinking.data

        data = await _in_thread(remove)
        if data is None:
            return
        before = done.freed_bytes
        await self._remove_data(data, metadata, planned.reason, done)
        done.images += 1
        self._observe(events.ImageEvicted(planned.reason))
        _log.info(
            "an image was evicted",
            extra={
                "fields": {
                    "image": self._names.image(image),
                    "digest": str(image.digest),
                    "reason": str(planned.reason),
                    "bytes": done.freed_bytes - before,
                }
            },
        )

    async def _current(
        self, image: EvictionCandidate, metadata: Metadata, pins: Pins
    ) -> tuple[EvictionCandidate, frozenset[Digest]] | None:
        """Return the image as it is now, and what its repository needs beside it.

        None if it may no longer go: it was pulled or stored again, or is no image any more.
        """
        await _require_whole(metadata)
        await metadata.flush()
        now: EvictionCandidate | None = None
        needed: set[Digest] = set()
        async for one in metadata.images(image.repository):
            if one.digest == image.digest:
                now = one
            else:
                needed |= {blob for member in one.members for blob in member.blobs}
        if now is None or now.last_pull > image.last_pull or now.stored_at > image.stored_at:
            return None
        return None if pins(now) else (now, frozenset(needed))

    async def _remove_data(
        self, digests: Iterable[Digest], metadata: Metadata, reason: EvictionReason, done: Evicted
    ) -> None:
        """Remove what no held manifest needs and nobody is reading."""
        loop = asyncio.get_running_loop()
        wanted = list(dict.fromkeys(digests))

        async def unneeded() -> list[Digest]:
            await _require_whole(metadata)
            is_in_use = self._usage().is_in_use
            return [
                one for one in wanted if not is_in_use(one) and await metadata.holders(one) == 0
            ]

        async def forget(digests: Iterable[Digest]) -> None:
            for digest in digests:
                await metadata.forget_data(digest)

        def remove() -> dict[Digest, int]:
            with self._store.removing() as removal:
                freed = {one: removal.remove_data(one) for one in _on_loop(unneeded(), loop)}
                _on_loop(forget(one for one, size in freed.items() if not size), loop)
                return freed

        freed = await _in_thread(remove)
        done.blobs += len(freed)
        done.freed_bytes += sum(freed.values())
        self._observe(events.DataEvicted(reason, len(freed), sum(freed.values())))

    async def _unlink_layers(
        self, links: Sequence[tuple[RepositoryName, Digest]], metadata: Metadata
    ) -> None:
        loop = asyncio.get_running_loop()

        def remove() -> None:
            with self._store.removing() as removal:
                for repository, digest in links:
                    unlinking = _Unlinking(removal, repository)
                    unlinking.remove_layer(digest)
                    _on_loop(unlinking.forget_missing(metadata), loop)

        await _in_thread(remove)


class _Unlinking:
    """Removes links of one repository within one batch.

    Rows are forgotten with their links, by whom the store tells of removals. A row whose link is
    not there has nobody else: it would be planned again and again.
    """

    def __init__(self, removal: Removal, repository: RepositoryName) -> None:
        self._removal = removal
        self._repository = repository
        self._missing_tags: list[Tag] = []
        self._missing_manifests: list[Digest] = []
        self._missing_layers: list[Digest] = []
        self.data: list[Digest] = []
        """What may go if nothing else needs it."""

    def remove(self, image: EvictionCandidate, needed: frozenset[Digest]) -> None:
        """Remove the links of an image, but for what other images of its repository need."""
        members = [member for member in image.members if member.images <= 1]
        # In their order, the top first: what is held needs no manifest that has gone.
        own = dict.fromkeys(member.digest for member in members)
        self.data = [digest for member in members for digest in member.blobs]
        for member in members:
            for tag in member.tags:
                if not self._removal.remove_tag(self._repository, tag):
                    self._missing_tags.append(tag)
        for digest in own:
            if not self._removal.remove_manifest(self._repository, digest):
                self._missing_manifests.append(digest)
        for digest in self.data:
            if digest not in needed and digest not in own:
                self.remove_layer(digest)

    def remove_layer(self, digest: Digest) -> None:
        """Remove a layer's link."""
        if not self._removal.remove_layer_link(self._repository, digest):
            self._missing_layers.append(digest)

    async def forget_missing(self, metadata: Metadata) -> None:
        """Forget the rows of links that were not there."""
        for tag in self._missing_tags:
            await metadata.forget_tag(self._repository, tag)
        for digest in self._missing_manifests:
            await metadata.forget_manifest(self._repository, digest)
        for digest in self._missing_layers:
            await metadata.forget_layer(self._repository, digest)


async def _require_whole(metadata: Metadata) -> None:
    if not await metadata.is_whole():
        message = "the metadata database is not whole; nothing is evicted until it is"
        raise MetadataError(message)


async def _in_thread(work: Callable[[], Value]) -> Value:
    """Finish a batch also when its waiter is cancelled: the lock ends with it in any case."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))


def _on_loop(work: Coroutine[Any, Any, Value], loop: asyncio.AbstractEventLoop) -> Value:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
