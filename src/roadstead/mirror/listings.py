"""Lists of one upstream: tags and referrers."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cachetools import TTLCache

from roadstead.errors import (
    ContentError,
    ManifestUnknownError,
    StorageError,
    UnknownContentError,
    UpstreamError,
)
from roadstead.mirror.coalesce import Coalescer
from roadstead.mirror.content import ReferrersListing, TagListing
from roadstead.mirror.manifests import Manifests
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from roadstead.oci.reference import RepositoryName, Tag, referrers_tag
from roadstead.storage.base import Catalog, Store
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from roadstead.upstream.base import TagPage, Upstream

_log = logging.getLogger("roadstead.mirror")

_CACHED_BYTES = 16 * 1024 * 1024
# As long as a tag is waited for that is held.
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Told:
    """A list of referrers as a document, and why it is an old one."""

    document: bytes
    stale_reason: str | None = None


class Listings:
    """What a repository contains, as upstream says, or as far as it is held."""

    def __init__(  # noqa: PLR0913 - each has a name where it is composed
        self,
        *,
        store: Store,
        upstream: Upstream,
        manifests: Manifests,
        ttl_seconds: float,
        observe: events.Observer,
        cached_bytes: int = _CACHED_BYTES,
        patience_seconds: float = _PATIENCE_SECONDS,
        catalog: Catalog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``ttl_seconds`` is how long a list of referrers is current.

        ``catalog`` lists what is held, in place of the store.
        ``cached_bytes`` limits what is remembered of them, as documents; ``patience_seconds`` how
        long a client waits for upstream's answer while there is an older one.
        """
        self._store = store
        self._catalog = catalog or store
        self._upstream = upstream
        self._manifests = manifests
        self._observe = observe
        self._cached_bytes = cached_bytes
        self._patience = patience_seconds
        # As documents: objects take several times as much, and nobody knows how much.
        self._referrers: TTLCache[tuple[RepositoryName, Digest], bytes] = TTLCache(
            cached_bytes, ttl_seconds, timer=clock, getsizeof=lambda document: len(document) + 500
        )
        self._questions: Coalescer[tuple[RepositoryName, Digest], _Told] = Coalescer()
        self._pages: Coalescer[tuple[RepositoryName, int | None, str | None], TagPage] = Coalescer()

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
        key = (repository, limit, after)

        async def ask() -> TagPage:
            try:
                return await self._upstream.list_tags(repository, limit=limit, after=after)
            except UpstreamError as error:
                self._report(error)
                raise

        try:
            async with asyncio.timeout(self._patience):
                page, _ = await self._pages.run(key, ask)
        except (UpstreamError, UnknownContentError, TimeoutError) as error:
            held = await self._catalog.list_tags(repository)
            if held is not None:
                listing = _page(held, limit=limit, after=after)
                return replace(listing, stale_reason=self._reason(error))
            if not isinstance(error, TimeoutError):
                raise
            page, _ = await self._pages.run(key, ask)
        tags = [Tag(tag) for tag in page.tags]
        return TagListing(tags, last=tags[-1] if page.has_more and tags else None)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> ReferrersListing:
        """List the descriptors of all manifests that refer to ``subject``.

        From upstream's referrers API, else from the fallback tag of distribution-spec 1.1;
        when upstream does not answer, as it last did.

        Raises:
            UpstreamError: upstream did not answer and never has.
            ContentError: what it sent is no list, and it has never sent one.
        """
        key = (repository, subject)
        document = self._referrers.get(key)
        if document is not None:
            return ReferrersListing(json.loads(document), Outcome.HIT)
        try:
            async with asyncio.timeout(self._patience):
                told, joined = await self._questions.run(key, lambda: self._ask(*key))
        except TimeoutError as error:
            kept = await self._store.read_referrers(repository, subject)
            if kept is not None:
                told, joined = _Told(kept, stale_reason=self._reason(error)), False
            else:
                told, joined = await self._questions.run(key, lambda: self._ask(*key))
        outcome = Outcome.JOINED if joined else Outcome.MISS
        if told.stale_reason is not None:
            outcome = Outcome.STALE
        return ReferrersListing(json.loads(told.document), outcome, told.stale_reason)

    async def aclose(self) -> None:
        """Cancel running questions."""
        await self._questions.aclose()
        await self._pages.aclose()

    async def _ask(self, repository: RepositoryName, subject: Digest) -> "_Told":
        """Return upstream's list of referrers as a document, or the one that is kept."""
        try:
            found = await self._upstream.list_referrers(repository, subject)
            if found is None:
                found = await self._fallback(repository, subject)
        except (UpstreamError, ContentError) as error:
            self._report(error)
            kept = await self._store.read_referrers(repository, subject)
            if kept is None:
                raise
            return _Told(kept, stale_reason=str(error))
        document = json.dumps(found).encode()
        # One that would drive out most others is asked for each time.
        if len(document) < self._cached_bytes // 4:
            self._referrers[repository, subject] = document
        await self._keep(repository, subject, document)
        return _Told(document)

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

    async def _keep(self, repository: RepositoryName, subject: Digest, document: bytes) -> None:
        try:
            await self._store.write_referrers(repository, subject, document)
        except StorageError as error:
            _log.error("referrers could not be stored", extra={"fields": {"error": str(error)}})

    def _reason(self, error: Exception) -> str:
        """Say why an older answer is given."""
        if isinstance(error, TimeoutError):
            return f"upstream {self._upstream.host}: no answer within {self._patience:g} s"
        return str(error)

    def _report(self, error: Exception) -> None:
        if isinstance(error, UpstreamError):
            self._observe(events.UpstreamFailed(self._upstream.name, type(error).__name__))


def _page(tags: list[Tag], *, limit: int | None, after: str | None) -> TagListing:
    rest = [tag for tag in tags if after is None or tag > after]
    if limit is None or len(rest) <= limit:
        return TagListing(rest)
    return TagListing(rest[:limit], last=rest[limit - 1])
