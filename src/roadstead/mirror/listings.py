"""Lists of one upstream: tags and referrers."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

from roadstead.errors import (
    ContentError,
    ManifestUnknownError,
    StorageError,
    UnknownContentError,
    UpstreamError,
)
from roadstead.mirror.content import TagListing
from roadstead.mirror.manifests import Manifests
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from roadstead.oci.reference import RepositoryName, Tag, referrers_tag
from roadstead.storage.base import Store
from roadstead.telemetry import events
from roadstead.upstream.base import Upstream

_log = logging.getLogger("roadstead.mirror")

_CACHED_SUBJECTS = 10_000


class Listings:
    """What a repository contains, as upstream says, or as far as it is held."""

    def __init__(
        self,
        *,
        store: Store,
        upstream: Upstream,
        manifests: Manifests,
        ttl_seconds: float,
        observe: events.Observer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._manifests = manifests
        self._observe = observe
        self._referrers: TTLCache[tuple[RepositoryName, Digest], list[dict[str, Any]]] = TTLCache(
            _CACHED_SUBJECTS, ttl_seconds, timer=clock
        )

    async def tags(
        self, repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagListing:
        """List tags: upstream's, or those that are held when upstream does not answer.

        Raises:
            RepositoryUnknownError: neither upstream nor the store knows the repository.
            UpstreamError: nothing is held and upstream did not answer.
        """
        if limit == 0:
            return TagListing([])
        try:
            page = await self._upstream.list_tags(repository, limit=limit, after=after)
        except (UpstreamError, UnknownContentError) as error:
            self._report(error)
            held = await self._store.list_tags(repository)
            if held is None:
                raise
            return _page(held, limit=limit, after=after)
        tags = [Tag(tag) for tag in page.tags]
        return TagListing(tags, last=tags[-1] if page.has_more and tags else None)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> list[dict[str, Any]]:
        """List the descriptors of all manifests that refer to ``subject``.

        From upstream's referrers API, else from the fallback tag of distribution-spec 1.1;
        when upstream does not answer, as it last did.

        Raises:
            UpstreamError: upstream did not answer and never has.
            ContentError: what it sent is no list, and it has never sent one.
        """
        key = (repository, subject)
        cached = self._referrers.get(key)
        if cached is not None:
            return cached
        try:
            found = await self._upstream.list_referrers(repository, subject)
            if found is None:
                found = await self._fallback(repository, subject)
        except (UpstreamError, ContentError) as error:
            self._report(error)
            kept = await self._store.read_referrers(repository, subject)
            if kept is None:
                raise
            return list(json.loads(kept))
        self._referrers[key] = found
        await self._keep(repository, subject, found)
        return found

    async def _fallback(self, repository: RepositoryName, subject: Digest) -> list[dict[str, Any]]:
        try:
            manifest = await self._manifests.by_tag(repository, referrers_tag(subject))
        except ManifestUnknownError:
            return []
        # GitLab answers such a tag with the subject itself, which is no list of referrers.
        if manifest.descriptor.digest == subject:
            return []
        if not parse_manifest(manifest.content, manifest.descriptor.media_type).is_index:
            return []
        # Go programs write null for an empty list.
        listed = json.loads(manifest.content).get("manifests") or []
        return [descriptor for descriptor in listed if isinstance(descriptor, dict)]

    async def _keep(
        self, repository: RepositoryName, subject: Digest, found: list[dict[str, Any]]
    ) -> None:
        try:
            await self._store.write_referrers(repository, subject, json.dumps(found).encode())
        except StorageError as error:
            _log.error("referrers could not be stored", extra={"fields": {"error": str(error)}})

    def _report(self, error: Exception) -> None:
        if isinstance(error, UpstreamError):
            self._observe(events.UpstreamFailed(error.upstream, type(error).__name__))


def _page(tags: list[Tag], *, limit: int | None, after: str | None) -> TagListing:
    rest = [tag for tag in tags if after is None or tag > after]
    if limit is None or len(rest) <= limit:
        return TagListing(rest)
    return TagListing(rest[:limit], last=rest[limit - 1])
