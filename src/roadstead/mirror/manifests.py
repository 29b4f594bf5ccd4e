"""Manifests: by digest for ever, by tag as fresh as upstream allows."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from cachetools import LRUCache, TLRUCache

from roadstead.errors import (
    ContentError,
    ManifestUnknownError,
    PlatformDeniedError,
    StorageError,
    UnknownContentError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.mirror.coalesce import Coalescer
from roadstead.mirror.content import ServedManifest
from roadstead.mirror.descriptions import Descriptions
from roadstead.mirror.freshness import (
    Decision,
    FreshnessRules,
    TagState,
    asked_again_in,
    decide,
    may_be_stale,
)
from roadstead.mirror.others import OtherProcesses
from roadstead.mirror.platforms import PlatformRules
from roadstead.mirror.soundness import Soundness
from roadstead.mirror.space import SpaceKeeper, Unlimited
from roadstead.mirror.usable import is_usable
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from roadstead.oci.reference import Reference, RepositoryName, Tag
from roadstead.storage.base import Store
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from roadstead.upstream.base import FetchedManifest, ManifestHead, Upstream

_log = logging.getLogger("roadstead.mirror")

_CACHED_BYTES = 64 * 1024 * 1024
_KNOWN_TAGS = 50_000
_KNOWN_REFUSALS = 10_000
# What upstream will not change its mind about within seconds.
_REFUSALS = (
    ManifestUnknownError,
    UpstreamUnauthorizedError,
    UpstreamDeniedError,
    UpstreamRateLimitedError,
)
# Troubles in which upstream would not give blobs either.
_OUTAGES = (UpstreamUnreachableError, UpstreamTimeoutError, UpstreamUnavailableError)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminedTag:
    """A held tag, and what would become of a request for it.

    ``asked_again_in_seconds`` is None if upstream is never asked; ``refusal`` is why what is held
    would not be served although upstream cannot confirm it.
    """

    state: TagState
    decision: Decision
    age_seconds: float
    asked_again_in_seconds: float | None
    refusal: str | None


class Manifests:
    """Finds manifests for a repository, and fetches what is not held or no longer current."""

    def __init__(  # noqa: PLR0913 - each has a name where it is composed
        self,
        *,
        store: Store,
        upstream: Upstream,
        rules: FreshnessRules,
        soundness: Soundness,
        observe: events.Observer,
        platforms: PlatformRules | None = None,
        budget: Callable[[], float] = lambda: 1.0,
        space: SpaceKeeper | None = None,
        others: OtherProcesses | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``budget`` tells which fraction of the pulls that upstream allows is left.

        ``platforms`` limits which children of held indexes are fetched. ``space`` decides what
        is kept; without one, everything is. ``others`` fetch into the same store.
        """
        self._others = others
        self._store = store
        self._upstream = upstream
        self._rules = rules
        self._soundness = soundness
        self._observe = observe
        self._budget = budget
        self._space = space or Unlimited()
        self._clock = clock
        self._held: LRUCache[tuple[RepositoryName, Digest], ServedManifest] = LRUCache(
            _CACHED_BYTES, getsizeof=lambda manifest: len(manifest.content) + 500
        )
        self._tags: LRUCache[tuple[RepositoryName, Tag], TagState] = LRUCache(_KNOWN_TAGS)
        self._refusals: TLRUCache[tuple[RepositoryName, Reference], Exception] = TLRUCache(
            _KNOWN_REFUSALS,
            ttu=lambda _key, error, now: now + rules.remember_refusal_for(error),
            timer=clock,
        )
        self._descriptions = Descriptions(store=store, rules=platforms or PlatformRules())
        self._fetches: Coalescer[tuple[RepositoryName, Reference], ServedManifest] = Coalescer()

    def at_hand(self, repository: RepositoryName, reference: Reference) -> ServedManifest | None:
        """Return a manifest that memory has and upstream need not confirm; waits for nothing.

        None says nothing: ask ``by_digest`` or ``by_tag`` then.
        """
        if isinstance(reference, Digest):
            return self._held.get((repository, reference))
        state = self._tags.get((repository, reference))
        if state is None or decide(state, self._clock(), self._rules) is not Decision.SERVE:
            return None
        held = self._held.get((repository, state.digest))
        return None if held is None else self._dated(held, state)

    async def by_digest(self, repository: RepositoryName, digest: Digest) -> ServedManifest:
        """Return a manifest by its digest; upstream is asked only if it is not held.

        Raises:
            ManifestUnknownError: upstream has no such manifest.
            PlatformDeniedError: it is not held, and is for no platform that is let through.
            ContentError: upstream sent something else.
            UpstreamError: it is not held and upstream did not give it.
        """
        held = await self._read(repository, digest)
        if held is not None:
            return held
        return await self._fetch_once(
            (repository, digest), lambda: self._fetch_in_turn(repository, digest)
        )

    async def by_tag(self, repository: RepositoryName, tag: Tag) -> ServedManifest:
        """Return what a tag points at, asking upstream if the held answer is not fresh.

        What is held is served, marked as stale, whenever upstream cannot give an answer.

        Raises:
            As ``by_digest``, if the tag is not held.
        """
        state = await self._tag_state(repository, tag)
        held = await self._read(repository, state.digest) if state is not None else None
        if state is None or held is None:
            answer = await self._fetch_once(
                (repository, tag), lambda: self._fetch_tag(repository, tag)
            )
            return self._dated_now(answer, repository, tag)
        now, budget = self._clock(), 1.0
        decision = decide(state, now, self._rules)
        if decision is Decision.REVALIDATE:
            budget = self._budget()
            decision = decide(state, now, self._rules, budget=budget)
        if decision is Decision.SERVE:
            return self._dated(held, state, budget)
        if decision is Decision.SERVE_STALE:
            return await self._stale(repository, held, state)
        return await self._revalidate(repository, tag, state, held)

    async def examine(self, repository: RepositoryName, tag: Tag) -> ExaminedTag | None:
        """Say what is known of a held tag and what a request would lead to; asks nobody."""
        state = await self._tag_state(repository, tag)
        if state is None:
            return None
        now, budget = self._clock(), self._budget()
        decision = decide(state, now, self._rules, budget=budget)
        held = await self._read(repository, state.digest)
        refusal = None
        if decision is Decision.SERVE_STALE and held is not None:
            refusal = await self._why_not_stale(repository, held, state)
        return ExaminedTag(
            state=state,
            decision=decision,
            age_seconds=state.age(now),
            asked_again_in_seconds=asked_again_in(state, now, self._rules, budget=budget),
            refusal=refusal,
        )

    async def held(self, repository: RepositoryName, digest: Digest) -> ServedManifest | None:
        """Return a manifest if it is held; asks nobody."""
        return await self._read(repository, digest)

    async def restore(self, repository: RepositoryName, digest: Digest) -> None:
        """Write a manifest whose data is gone: from memory, or from upstream.

        Raises:
            RoadsteadError: as ``by_digest``, or the store cannot take it.
        """
        manifest = await self.by_digest(repository, digest)
        await self._store.write_manifest(repository, digest, manifest.content)

    async def refusal(
        self, repository: RepositoryName, digest: Digest
    ) -> PlatformDeniedError | None:
        """Return why a manifest that is not held would not be fetched, if so; asks nobody."""
        return await self._descriptions.refusal(repository, digest)

    def forget(self, repository: RepositoryName, reference: Reference) -> None:
        """Forget a manifest or a tag that was removed."""
        if isinstance(reference, Digest):
            self._held.pop((repository, reference), None)
        else:
            self._tags.pop((repository, reference), None)

    def forget_all(self) -> None:
        """Forget all that is held: another process has removed something."""
        self._held.clear()
        self._tags.clear()

    async def aclose(self) -> None:
        """Cancel running fetches."""
        await self._fetches.aclose()
        await self._descriptions.aclose()

    async def _revalidate(
        self, repository: RepositoryName, tag: Tag, state: TagState, held: ServedManifest
    ) -> ServedManifest:
        """Ask upstream about a held tag, for a limited time.

        The question goes on when a client's patience is over, so that the next one has news.
        """
        try:
            async with asyncio.timeout(self._rules.revalidation_limit):
                answer, _ = await self._fetches.run(
                    (repository, tag), lambda: self._fetch_tag(repository, tag, held=state.digest)
                )
        except TimeoutError:
            message = f"no answer within {self._rules.revalidation_limit:g} s"
            self._note_failure(state, UpstreamTimeoutError(message, upstream=self._upstream.host))
        except (UpstreamError, UnknownContentError, ContentError) as error:
            self._note_failure(state, error)
        else:
            return self._dated_now(answer, repository, tag)
        return await self._stale(repository, held, state)

    async def _fetch_once(
        self,
        key: tuple[RepositoryName, Reference],
        work: Callable[[], Awaitable[ServedManifest]],
    ) -> ServedManifest:
        """Fetch what is not held, together with whoever asks for it meanwhile.

        A refusal is remembered for some seconds: clients repeat the same question several
        times when they do not like the answer.
        """
        refusal = self._refusals.get(key)
        if refusal is not None:
            # Or its traceback would grow with each time that it is raised.
            raise refusal.with_traceback(None)
        try:
            fetched, joined = await self._fetches.run(key, work)
        except _REFUSALS as error:
            self._refusals[key] = error
            raise
        return replace(fetched, outcome=Outcome.JOINED) if joined else fetched

    def _note_failure(self, state: TagState, error: Exception) -> None:
        state.failed_at = self._clock()
        state.failure = error
        _log.warning("a tag could not be confirmed", extra={"fields": {"error": str(error)}})

    async def _stale(
        self, repository: RepositoryName, held: ServedManifest, state: TagState
    ) -> ServedManifest:
        """Serve what upstream cannot confirm, unless it is too old or of no use to the client."""
        failure = state.failure
        if failure is not None and await self._why_not_stale(repository, held, state) is not None:
            # Or its traceback would grow with each time that it is raised.
            raise failure.with_traceback(None)
        return replace(
            self._dated(held, state), outcome=Outcome.STALE, stale_reason=str(failure or "")
        )

    async def _why_not_stale(
        self, repository: RepositoryName, held: ServedManifest, state: TagState
    ) -> str | None:
        """Say why what is held is not served unconfirmed; None if it is."""
        if not may_be_stale(state, self._clock(), self._rules):
            return "held, but too old to be served unconfirmed (staleforhours)"
        is_outage = isinstance(state.failure, _OUTAGES)
        if is_outage and not await is_usable(self._store, repository, held.content):
            return "held without all of its blobs, which upstream does not give now"
        return None

    def _dated_now(
        self, answer: ServedManifest, repository: RepositoryName, tag: Tag
    ) -> ServedManifest:
        """Date an answer that upstream has just given."""
        state = self._tags.get((repository, tag))
        return answer if state is None else self._dated(answer, state)

    def _dated(self, held: ServedManifest, state: TagState, budget: float = 1.0) -> ServedManifest:
        now = self._clock()
        # Not replace(), which takes three times as long.
        return ServedManifest(
            held.descriptor,
            held.content,
            held.outcome,
            age_seconds=state.age(now),
            fresh_for_seconds=asked_again_in(state, now, self._rules, budget=budget),
        )

    async def _tag_state(self, repository: RepositoryName, tag: Tag) -> TagState | None:
        state = self._tags.get((repository, tag))
        if state is None:
            try:
                link = await self._store.resolve_tag(repository, tag)
            except StorageError:
                # Upstream may know what the disk does not tell.
                return None
            if link is None:
                return None
            state = self._new_state(tag, link.digest, link.confirmed_at)
            self._tags[repository, tag] = state
        return state

    def _new_state(self, tag: Tag, digest: Digest, confirmed_at: float) -> TagState:
        return TagState(digest, confirmed_at, is_immutable=self._rules.is_immutable(tag))

    async def _read(self, repository: RepositoryName, digest: Digest) -> ServedManifest | None:
        held = self._held.get((repository, digest))
        self._observe(events.CacheAsked(hit=held is not None))
        if held is None:
            try:
                content = await self._store.read_manifest(repository, digest)
            except StorageError:
                content = None
            if content is None:
                return None
            manifest = parse_manifest(content)
            self._soundness.expect(manifest.blobs)
            descriptor = Descriptor(manifest.media_type, digest, len(content))
            held = self._remember(repository, descriptor, content)
        return held

    def _remember(
        self, repository: RepositoryName, descriptor: Descriptor, content: bytes
    ) -> ServedManifest:
        manifest = ServedManifest(descriptor, content, Outcome.HIT)
        # A manifest that is larger than the whole map cannot be put into it.
        if len(content) < _CACHED_BYTES // 8:
            self._held[repository, descriptor.digest] = manifest
        return manifest

    async def _fetch_in_turn(self, repository: RepositoryName, digest: Digest) -> ServedManifest:
        """Fetch a manifest, unless another process does so: then wait for that."""
        if self._others is None:
            return await self._fetch(repository, digest)
        async with self._others.turn(f"{repository}@{digest}"):
            held = await self._read(repository, digest)
            if held is not None:
                return replace(held, outcome=Outcome.JOINED)
            return await self._fetch(repository, digest)

    async def _fetch(self, repository: RepositoryName, reference: Reference) -> ServedManifest:
        """Fetch, verify and store one manifest."""
        if isinstance(reference, Digest):
            refusal = await self._descriptions.refusal(repository, reference)
            if refusal is not None:
                raise refusal
        started = time.perf_counter()
        fetched = await self._ask(self._upstream.get_manifest(repository, reference))
        size = fetched.descriptor.size
        elapsed = time.perf_counter() - started
        self._observe(events.Fetched(events.Kind.MANIFEST, size, elapsed, self._upstream.name))
        self._soundness.expect(parse_manifest(fetched.content, fetched.descriptor.media_type).blobs)
        # Before it is stored: a removal behind that would not be heard of.
        manifest = self._remember(repository, fetched.descriptor, fetched.content)
        await self._keep(repository, fetched)
        return replace(manifest, outcome=Outcome.MISS)

    async def _fetch_tag(
        self, repository: RepositoryName, tag: Tag, *, held: Digest | None = None
    ) -> ServedManifest:
        """Find out what a tag points at, unless another process does so: then wait for that."""
        if self._others is None:
            return await self._ask_for_tag(repository, tag, held=held)
        async with self._others.turn(f"{repository}:{tag}"):
            found = await self._confirmed_elsewhere(repository, tag)
            if found is None:
                return await self._ask_for_tag(repository, tag, held=held)
            is_known = found.descriptor.digest == held
            return replace(found, outcome=Outcome.REVALIDATED if is_known else Outcome.JOINED)

    async def _confirmed_elsewhere(
        self, repository: RepositoryName, tag: Tag
    ) -> ServedManifest | None:
        """Return what a tag points at if its link says that it is fresh, whatever memory says."""
        known = self._tags.pop((repository, tag), None)
        state = await self._tag_state(repository, tag)
        if state is not None and decide(state, self._clock(), self._rules) is Decision.SERVE:
            return await self._read(repository, state.digest)
        if known is not None:
            self._tags[repository, tag] = known
        return None

    async def _ask_for_tag(
        self, repository: RepositoryName, tag: Tag, *, held: Digest | None
    ) -> ServedManifest:
        """Find out what a tag points at, fetch that if it is not held, and move the tag's link.

        The manifest is fetched by the digest that HEAD told, so that a tag that moves in
        between cannot mix two versions.
        """
        head = await self._head(repository, tag, is_held=held is not None)
        manifest = None
        if head is not None and head.digest is not None:
            manifest = await self._by_announced_digest(repository, head.digest)
        if manifest is None:
            manifest = await self._fetch(repository, tag)
        digest = manifest.descriptor.digest
        await self._confirm(repository, tag, manifest, is_known=digest == held)
        if digest == held:
            return replace(manifest, outcome=Outcome.REVALIDATED)
        return manifest

    async def _head(
        self, repository: RepositoryName, tag: Tag, *, is_held: bool
    ) -> ManifestHead | None:
        try:
            return await self._ask(self._upstream.head_manifest(repository, tag))
        except ManifestUnknownError:
            if is_held:
                raise
            # Some mirrors of mirrors say 404 to HEAD of what they have not fetched yet; the GET
            # that follows is the final word.
            return None

    async def _by_announced_digest(
        self, repository: RepositoryName, digest: Digest
    ) -> ServedManifest | None:
        held = await self._read(repository, digest)
        if held is not None:
            return replace(held, outcome=Outcome.REVALIDATED)
        try:
            return await self._fetch_in_turn(repository, digest)
        except ManifestUnknownError:
            # A registry whose HEAD names a digest that it does not serve: take the tag's word.
            return None

    async def _confirm(
        self, repository: RepositoryName, tag: Tag, manifest: ServedManifest, *, is_known: bool
    ) -> None:
        now = self._clock()
        digest = manifest.descriptor.digest
        self._tags[repository, tag] = self._new_state(tag, digest, now)
        try:
            if is_known:
                await self._store.confirm_tag(repository, tag, now)
            elif not await self._store.write_tag(repository, tag, digest, now):
                # Removed a moment ago; the bytes in memory are as good as they were.
                await self._store.write_manifest(repository, digest, manifest.content)
                await self._store.write_tag(repository, tag, digest, now)
        except StorageError as error:
            self._log_not_kept(repository, tag, error)
        if self._others is not None and not is_known:
            self._others.moved(repository, tag)

    async def _keep(self, repository: RepositoryName, fetched: FetchedManifest) -> None:
        """Store a manifest; a store in trouble, or full, does not keep it from the client."""
        digest = fetched.descriptor.digest
        size = len(fetched.content)
        room = await self._space.reserve_on_loop(repository, digest, size)
        if room is None:
            return
        try:
            await self._store.write_manifest(repository, digest, fetched.content)
        except StorageError as error:
            self._log_not_kept(repository, digest, error)
        else:
            self._descriptions.note(repository, digest, fetched.content)
            self._observe(events.Stored(events.Kind.MANIFEST, size))
        finally:
            room.release()

    def _log_not_kept(
        self, repository: RepositoryName, reference: Reference, error: StorageError
    ) -> None:
        _log.error(
            "a manifest could not be stored",
            extra={
                "fields": {
                    "repository": repository,
                    "reference": str(reference),
                    "error": str(error),
                }
            },
        )

    async def _ask(self, call: Awaitable[Value]) -> Value:
        try:
            return await call
        except UpstreamError as error:
            self._observe(events.UpstreamFailed(self._upstream.name, type(error).__name__))
            raise
