"""Measures how much is held and how full the disk is."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from roadstead.errors import MetadataError
from roadstead.maintenance.limits import Part, RetentionRules, Volume, reserved
from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.promises import Promises, Snapshot
from roadstead.metadata.base import Metadata
from roadstead.metadata.records import EVERYTHING
from roadstead.oci.reference import RepositoryName
from roadstead.storage.disk import Disk
from roadstead.telemetry import events
from roadstead.telemetry.events import EvictionReason


class DiskStore(Protocol):
    """A store on a disk of which there is only so much."""

    def disk(self) -> Disk:
        """Look at the disk; for threads.

        Raises:
            StorageError: it cannot be looked at.
        """


@dataclass(frozen=True, slots=True)
class Measured:
    """How the store stands against its limits; ``parts`` are those that have a size limit.

    ``is_known`` is False while the database cannot say how much is held.
    """

    volume: Volume
    parts: tuple[Part, ...]
    is_known: bool = True

    def concerning(self, repository: RepositoryName) -> "Measured":
        """Leave out the limits of upstreams that a repository does not belong to."""
        parts = tuple(part for part in self.parts if repository in part.scope)
        return replace(self, parts=parts)


class Measure:
    """Looks at the disk and asks the database.

    Everything is one look-up. An upstream has to be summed up, so that is done when it seems to
    reach its limit, and what has arrived since is added.
    """

    def __init__(
        self,
        *,
        rules: RetentionRules,
        names: ImageNames,
        store: DiskStore,
        metadata: Callable[[], Metadata | None],
        promises: Promises,
        observe: events.Observer,
    ) -> None:
        self._rules = rules
        self._names = names
        self._store = store
        self._metadata = metadata
        self._promises = promises
        self._observe = observe
        self._summed: dict[str, int] = {}

    async def __call__(self, *, more_bytes: int = 0, anew: bool = False) -> Measured:
        """Measure; ``anew`` sums upstreams up, which otherwise waits for need.

        Raises:
            StorageError: the disk cannot be looked at.
        """
        arriving = self._promises.snapshot()
        disk = await asyncio.to_thread(self._store.disk)
        self._observe(events.DiskMeasured(disk.total_bytes, disk.free_bytes))
        volume = Volume(
            total_bytes=disk.total_bytes,
            free_bytes=disk.free_bytes,
            unwritten_bytes=arriving.unwritten_bytes(disk.partials),
            partial_bytes=arriving.idle_bytes(disk.partials),
            reserved_bytes=reserved(
                arriving=len(arriving.promises),
                log_bytes=disk.log_bytes,
                block_bytes=disk.block_bytes,
            ),
        )
        try:
            parts = await self._parts(volume, arriving, more_bytes, anew=anew)
        except MetadataError:
            return Measured(volume, (), is_known=False)
        return Measured(volume, tuple(parts))

    async def tell(self) -> None:
        """Measure, and tell what is held even where no limit asks for it: that is one look-up.

        Raises:
            StorageError: the disk cannot be looked at.
        """
        measured = await self()
        if self._rules.everything.max_bytes:
            return
        with suppress(MetadataError):
            held = await (await self._whole()).used_bytes()
            used = held + measured.volume.partial_bytes + self._promises.snapshot().promised_bytes()
            self._observe(events.SpaceMeasured("", used, None))

    async def _parts(
        self, volume: Volume, arriving: Snapshot, more_bytes: int, *, anew: bool
    ) -> list[Part]:
        parts: list[Part] = []
        limit = self._rules.everything.max_bytes
        if limit:
            held = await (await self._whole()).used_bytes()
            part = Part(
                reason=EvictionReason.MAXSIZE,
                scope=EVERYTHING,
                max_bytes=limit,
                held_bytes=held + volume.partial_bytes,
                promised_bytes=arriving.promised_bytes(),
            )
            parts.append(part)
            self._report("", part)
        for upstream, limits in self._rules.upstreams.items():
            if limits.max_bytes:
                part = await self._part(upstream, limits.max_bytes, arriving, anew=anew)
                if part.excess(more_bytes) > 0 and not anew:
                    part = await self._part(upstream, limits.max_bytes, arriving, anew=True)
                parts.append(part)
                self._report(upstream, part)
        return parts

    def _report(self, upstream: str, part: Part) -> None:
        used = part.held_bytes + part.promised_bytes
        self._observe(events.SpaceMeasured(upstream, used, part.max_bytes))

    async def _part(self, upstream: str, max_bytes: int, arriving: Snapshot, *, anew: bool) -> Part:
        if anew or upstream not in self._summed:
            metadata = await self._whole()
            # Before the sum, so that nothing that arrives meanwhile is missed.
            self._promises.forget_closed(upstream)
            self._summed[upstream] = await metadata.used_bytes(self._names.scope(upstream))
        return Part(
            reason=EvictionReason.UPSTREAM_MAXSIZE,
            scope=self._names.scope(upstream),
            max_bytes=max_bytes,
            held_bytes=self._summed[upstream] + self._promises.closed_bytes(upstream),
            promised_bytes=arriving.promised_bytes(upstream),
        )

    async def _whole(self) -> Metadata:
        """Return the database if it can be relied on.

        Raises:
            MetadataError: it cannot.
        """
        metadata = self._metadata()
        if metadata is None or not await metadata.is_whole():
            message = "the metadata database is not whole"
            raise MetadataError(message)
        return metadata
