"""Fetches the blobs of an image whose manifest a client has taken, before it asks for them.

What clients ask for comes first: this uses few transfers at a time, and none while clients use
half of them. It never evicts anything, spends no pull of a quota and leaves an upstream alone
that has said it had enough. Whatever goes wrong here, whoever wants the blob is told when it asks.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from roadstead.errors import ManifestInvalidError, RoadsteadError, UpstreamRateLimitedError
from roadstead.mirror.blobs import Blobs
from roadstead.mirror.content import ServedManifest
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.platforms import PlatformRules, SeenPlatforms
from roadstead.mirror.space import SpaceKeeper
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import Manifest, parse_manifest
from roadstead.oci.platform import Platform
from roadstead.oci.reference import RepositoryName
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome

_log = logging.getLogger("roadstead.prefetch")

_MOST_AT_ONCE: Final = 4
_MOST_WAITING: Final = 512
_REMEMBERED: Final = 10_000
_QUIET_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Step:
    """Something to be fetched: a blob, or the manifest of an index's child and then its blobs."""

    repository: RepositoryName
    descriptor: Descriptor
    is_manifest: bool


class Prefetcher:
    """Hears of manifests and blobs that clients take from one upstream; on the event loop."""

    def __init__(
        self,
        *,
        manifests: Manifests,
        blobs: Blobs,
        space: SpaceKeeper,
        seen: SeenPlatforms,
        rules: PlatformRules,
        may_spend: Callable[[], bool],
        observe: events.Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Of an index only children for platforms that were ``seen`` are fetched.

        ``may_spend`` says whether a manifest may be fetched from upstream for that.
        """
        self._manifests = manifests
        self._blobs = blobs
        self._space = space
        self._seen = seen
        self._rules = rules
        self._may_spend = may_spend
        self._observe = observe
        self._clock = clock
        self._waiting: deque[_Step] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._quiet_until = 0.0
        self._looked_at: LRUCache[tuple[RepositoryName, Digest], bool] = LRUCache(_REMEMBERED)
        self._platforms: LRUCache[Digest, Platform] = LRUCache(_REMEMBERED)
        # Sizes in bytes of what nobody has asked for yet.
        self._ahead: LRUCache[Digest, int] = LRUCache(_REMEMBERED)

    def taken(self, repository: RepositoryName, manifest: ServedManifest) -> None:
        """Note that a client has got a manifest."""
        digest = manifest.descriptor.digest
        platform = self._platforms.get(digest)
        if platform is not None:
            self._seen.note(platform)
        key = (repository, digest)
        if manifest.outcome is Outcome.HIT and key in self._looked_at:
            return
        self._looked_at[key] = True
        self._look_into(repository, manifest.content)

    def asked_for(self, digest: Digest) -> None:
        """Note that a client asks for a blob."""
        size = self._ahead.pop(digest, None)
        if size is not None:
            self._observe(events.PrefetchUsed(size))

    async def landed(self) -> None:
        """Wait until nothing more is to be fetched ahead."""
        while self._workers:
            await asyncio.gather(*self._workers, return_exceptions=True)

    async def aclose(self) -> None:
        """Fetch nothing more ahead; flights that are under way are not stopped."""
        self._waiting.clear()
        workers = tuple(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _look_into(self, repository: RepositoryName, content: bytes) -> None:
        try:
            document = parse_manifest(content)
        except ManifestInvalidError:
            return
        for wanted in self._children(document) if document.is_index else document.blobs:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(_Step(repository, wanted, document.is_index))
        running = sum(not worker.done() for worker in self._workers)
        for _ in range(min(_MOST_AT_ONCE - running, len(self._waiting))):
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _children(self, index: Manifest) -> list[Descriptor]:
        for child in index.children:
            if child.platform is not None and child.platform.is_known:
                self._platforms[child.digest] = child.platform
        return [
            child
            for child in self._rules.wanted(index.children)
            if child.platform is not None and child.platform in self._seen
        ]

    async def _work(self) -> None:
        while self._waiting:
            step = self._waiting.popleft()
            if self._clock() < self._quiet_until:
                continue
            try:
                if step.is_manifest:
                    await self._fetch_child(step.repository, step.descriptor.digest)
                else:
                    await self._fetch_blob(step.repository, step.descriptor)
            except UpstreamRateLimitedError:
                self._quiet_until = self._clock() + _QUIET_SECONDS
            except RoadsteadError as error:
                fields = {"digest": str(step.descriptor.digest), "error": str(error)}
                _log.debug("not fetched ahead", extra={"fields": fields})

    async def _fetch_child(self, repository: RepositoryName, digest: Digest) -> None:
        manifest = await self._manifests.held(repository, digest)
        if manifest is None and self._may_spend():
            manifest = await self._manifests.by_digest(repository, digest)
        if manifest is not None:
            self._look_into(repository, manifest.content)

    async def _fetch_blob(self, repository: RepositoryName, blob: Descriptor) -> None:
        def started() -> None:
            self._ahead[blob.digest] = blob.size
            self._observe(events.Prefetched(blob.size))

        if not await self._space.has_room(blob.size):
            return
        await self._blobs.fetch_ahead(repository, blob.digest, started=started)
