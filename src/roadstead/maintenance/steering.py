"""What an operator may do by hand, as documents for people and programs: evict, pin, purge.

Whether somebody may do it is decided before (server.access.steering).
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.plan import Plan, PlannedImage
from roadstead.maintenance.retention import Retention
from roadstead.metadata.base import Metadata
from roadstead.metadata.records import EvictionCandidate
from roadstead.oci.imagepattern import ImagePattern
from roadstead.storage.purge import Purged
from roadstead.telemetry.events import EvictionReason

Document = Mapping[str, Any]


class PartialStore(Protocol):
    """A store with unfinished downloads."""

    async def purge_partials(
        self, *, older_than_seconds: float, now: float, dry_run: bool = False
    ) -> Purged:
        """Remove partial blobs not written to for so long, or say what would be removed."""


class Steering:
    """Every method raises MetadataError or StorageError when it cannot be done now."""

    def __init__(
        self,
        *,
        retention: Retention,
        names: ImageNames,
        pinned: Sequence[ImagePattern],
        store: PartialStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``pinned`` are the patterns of the configuration, which no command can remove."""
        self._retention = retention
        self._names = names
        self._pinned = pinned
        self._store = store
        self._clock = clock

    async def plan(self) -> Document:
        """Say what the next run would do, and why."""
        plan = await self._retention.preview()
        return {**self._planned(plan), "dry_run": True}

    async def evict(self, patterns: Sequence[str], *, dry_run: bool) -> Document:
        """Evict the images that patterns mean, but for pinned ones and those in use.

        Raises:
            InvalidReferenceError: a pattern is none.
        """
        wanted = [self._names.pattern(text) for text in patterns]
        metadata = await self._retention.whole()
        await metadata.flush()
        planner = self._retention.planner(await self._retention.pins())
        async for image in self._matching(metadata, wanted):
            planner.take_image(image, EvictionReason.ASKED)
        plan = planner.plan(0)
        document = {**self._planned(plan), "dry_run": dry_run}
        if not dry_run:
            done = await self._retention.apply(plan)
            document |= {"evicted": done.images, "freed_bytes": done.freed_bytes}
        return document

    async def pin(self, text: str, *, by: str, dry_run: bool) -> Document:
        """Pin what a pattern means, now and later.

        Raises:
            InvalidReferenceError: the pattern is none.
        """
        pattern = self._names.pattern(text)
        metadata = await self._retention.whole()
        images = [image async for image in self._matching(metadata, [pattern])]
        if not dry_run:
            await metadata.add_pin(str(pattern), by, self._clock())
        return {**self._listed(images), "pattern": str(pattern), "dry_run": dry_run}

    async def unpin(self, text: str, *, dry_run: bool) -> Document:
        """Remove a pin; ``removed`` is False if there was none.

        ``images`` are those that no other pin holds then.

        Raises:
            InvalidReferenceError: the pattern is none.
        """
        pattern = self._names.pattern(text)
        metadata = await self._retention.whole()
        was_there = str(pattern) in {pin.pattern for pin in await metadata.pins()}
        images = [image async for image in self._matching(metadata, [pattern])]
        remaining = await self._retention.pins_without(str(pattern))
        images = [image for image in images if was_there and not remaining(image)]
        if not dry_run:
            await metadata.remove_pin(str(pattern))
        return {
            **self._listed(images),
            "pattern": str(pattern),
            "removed": was_there,
            "dry_run": dry_run,
        }

    async def pins(self) -> Document:
        """List all pins: those of the configuration, then those set by command."""
        metadata = await self._retention.whole()
        configured = [
            {"pattern": str(pattern), "by": "configuration", "at": None} for pattern in self._pinned
        ]
        commanded = [
            {"pattern": pin.pattern, "by": pin.by, "at": pin.at} for pin in await metadata.pins()
        ]
        return {"pins": [*configured, *commanded]}

    async def purge(self, *, older_than_seconds: float, dry_run: bool) -> Document:
        """Remove partial downloads that nobody has written to for so long."""
        purged = await self._store.purge_partials(
            older_than_seconds=older_than_seconds, now=self._clock(), dry_run=dry_run
        )
        return {"files": purged.files, "freed_bytes": purged.size_bytes, "dry_run": dry_run}

    async def _matching(
        self, metadata: Metadata, patterns: Sequence[ImagePattern]
    ) -> AsyncIterator[EvictionCandidate]:
        """Yield every image that one of the patterns means, each once."""
        exact = [self._names.stored(pattern.name) for pattern in patterns]
        repositories = list(dict.fromkeys(one for one in exact if one is not None))
        if repositories and None not in exact:
            for repository in repositories:
                async for image in metadata.images(repository):
                    if self._is_meant(image, patterns):
                        yield image
            return
        async for image in metadata.candidates():
            if self._is_meant(image, patterns):
                yield image

    def _is_meant(self, image: EvictionCandidate, patterns: Iterable[ImagePattern]) -> bool:
        name = self._names.full(image.repository)
        return any(one.matches(name, image.tags, [image.digest]) for one in patterns)

    def _planned(self, plan: Plan) -> dict[str, Any]:
        return {
            "images": [self._planned_image(one) for one in plan.images],
            "blobs": [
                {
                    "digest": str(one.digest),
                    "repository": one.repository and self._names.full(one.repository),
                    "freed_bytes": one.freed_bytes,
                }
                for one in plan.blobs
            ],
            "kept": {
                str(why): {"images": kept.images, "bytes": kept.size_bytes}
                for why, kept in plan.kept.items()
            },
            "freed_bytes": plan.freed_bytes,
            "missing_bytes": plan.missing_bytes,
        }

    def _planned_image(self, planned: PlannedImage) -> dict[str, Any]:
        return {
            **self._image(planned.image),
            "reason": str(planned.reason),
            "freed_bytes": planned.freed_bytes,
        }

    def _listed(self, images: Sequence[EvictionCandidate]) -> dict[str, Any]:
        sizes = {blob.digest: blob.size_bytes for image in images for blob in image.blobs}
        return {
            "images": [
                {**self._image(one), "bytes": sum(blob.size_bytes for blob in one.blobs)}
                for one in images
            ],
            "bytes": sum(sizes.values()),
        }

    def _image(self, image: EvictionCandidate) -> dict[str, Any]:
        return {
            "image": self._names.image(image),
            "digest": str(image.digest),
            "tags": list(image.tags),
            "last_pull": image.last_pull,
        }
