"""Decides what goes: pure rules over rows.

What nobody needs goes first, then whole images, least recently pulled first. Data goes with the
last held manifest that needs it, so no image that stays loses anything. Nothing that is pinned,
in use or young goes.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from roadstead.maintenance.plan import (
    Kept,
    Plan,
    PlannedBlob,
    PlannedImage,
    Protection,
    Usage,
    Wish,
)
from roadstead.metadata.records import (
    EVERYTHING,
    EvictionCandidate,
    LooseLayer,
    Member,
    Orphan,
    Scope,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.telemetry.events import EvictionReason

_OVERSHOOT = 2
"""Of a part of the store, so much more than wished for is touched before it is measured again."""


class Rows(Protocol):
    """What a plan is made from: a part of ``metadata.base.Metadata``."""

    def candidates(self, scope: Scope = EVERYTHING) -> AsyncIterator[EvictionCandidate]:
        """Yield all images, least recently pulled first."""

    def orphans(self) -> AsyncIterator[Orphan]:
        """Yield held data to which no repository links."""

    def loose_layers(self, scope: Scope = EVERYTHING) -> AsyncIterator[LooseLayer]:
        """Yield layer links that no held manifest of their repository needs."""

    async def holders(self, digest: Digest) -> int:
        """Count the held manifests, of any repository, that need this data."""


class Planner:
    """Takes rows one by one and remembers what goes with what was taken before."""

    def __init__(
        self,
        *,
        usage: Usage,
        is_pinned: Callable[[EvictionCandidate], bool],
        young_since: float,
        grace_seconds: float,
    ) -> None:
        """What was pulled or stored after ``young_since`` (epoch seconds) stays."""
        self._usage = usage
        self._is_pinned = is_pinned
        self._young_since = young_since
        self._grace_seconds = grace_seconds
        self._images: list[PlannedImage] = []
        self._blobs: list[PlannedBlob] = []
        self._seen: set[tuple[RepositoryName, Digest]] = set()
        self._images_left: dict[tuple[RepositoryName, Digest], int] = {}
        self._holders_left: dict[Digest, int] = {}
        self._freed: set[Digest] = set()
        self._freed_bytes = 0
        self._touched: set[Digest] = set()
        self._touched_bytes = 0
        self._kept_images: Counter[Protection] = Counter()
        self._kept_bytes: Counter[Protection] = Counter()

    @property
    def freed_bytes(self) -> int:
        """How much data goes so far."""
        return self._freed_bytes

    @property
    def touched_bytes(self) -> int:
        """The size of all data of the images that go, whether it goes or others need it."""
        return self._touched_bytes

    def plan(self, missing_bytes: int) -> Plan:
        """Return the plan so far."""
        kept = {
            why: Kept(images, self._kept_bytes[why]) for why, images in self._kept_images.items()
        }
        return Plan(tuple(self._blobs), tuple(self._images), kept, missing_bytes)

    def take_orphan(self, orphan: Orphan) -> None:
        """Let data go that no repository links to."""
        if orphan.stored_at <= self._young_since and not self._usage.is_in_use(orphan.digest):
            self._take_blob(orphan.digest, None, orphan.size_bytes)

    def take_loose(self, layer: LooseLayer, *, needed: bool) -> None:
        """Let a layer link go that no manifest needs, and the data unless it is ``needed``."""
        key = (layer.repository, layer.digest)
        is_used = self._usage.is_in_use(layer.digest) or self._is_arriving(
            layer.repository, layer.stored_at
        )
        if key not in self._seen and layer.stored_at <= self._young_since and not is_used:
            self._seen.add(key)
            size = 0 if needed else layer.size_bytes
            self._take_blob(layer.digest, layer.repository, size)

    def take_image(self, image: EvictionCandidate, reason: EvictionReason) -> bool:
        """Let an image go unless something protects it; say whether it goes."""
        key = (image.repository, image.digest)
        if key in self._seen:
            return False
        self._seen.add(key)
        going = self._going(image)
        freed = self._would_free(going, image)
        protection = self._protection(image, freed, reason)
        if protection is not None:
            self._kept_images[protection] += 1
            self._kept_bytes[protection] += sum(blob.size_bytes for blob in image.blobs)
            return False
        self._remove(image, going)
        sizes = {blob.digest: blob.size_bytes for blob in image.blobs}
        freed_bytes = sum(sizes[digest] for digest in freed)
        self._freed |= freed
        self._freed_bytes += freed_bytes
        touched = sizes.keys() - self._touched
        self._touched |= touched
        self._touched_bytes += sum(sizes[digest] for digest in touched)
        self._images.append(PlannedImage(image, reason, freed_bytes))
        return True

    def _take_blob(self, digest: Digest, repository: RepositoryName | None, size: int) -> None:
        if digest in self._freed:
            size = 0
        else:
            self._freed.add(digest)
        self._freed_bytes += size
        self._touched_bytes += size
        self._blobs.append(PlannedBlob(digest, repository, size))

    def _going(self, image: EvictionCandidate) -> list[Member]:
        """List the members that belong to no image that stays."""
        left = self._images_left
        return [
            member
            for member in image.members
            if left.get((image.repository, member.digest), member.images) <= 1
        ]

    def _would_free(self, going: Iterable[Member], image: EvictionCandidate) -> set[Digest]:
        """Return the data that nothing needs when these members are gone."""
        needs = Counter(digest for member in going for digest in member.blobs)
        return {
            blob.digest
            for blob in image.blobs
            if blob.digest not in self._freed
            and self._holders_left.get(blob.digest, blob.holders) <= needs[blob.digest]
        }

    def _remove(self, image: EvictionCandidate, going: Iterable[Member]) -> None:
        for member in image.members:
            key = (image.repository, member.digest)
            self._images_left[key] = self._images_left.get(key, member.images) - 1
        holders = {blob.digest: blob.holders for blob in image.blobs}
        for member in going:
            for digest in member.blobs:
                left = self._holders_left.get(digest, holders[digest])
                self._holders_left[digest] = left - 1

    def _protection(
        self, image: EvictionCandidate, freed: set[Digest], reason: EvictionReason
    ) -> Protection | None:
        if self._is_pinned(image):
            return Protection.PINNED
        latest = max(image.last_pull, image.stored_at)
        is_served = any(map(self._usage.is_in_use, freed))
        if is_served or self._is_arriving(image.repository, latest):
            return Protection.IN_USE
        if latest > self._young_since and reason is not EvictionReason.ASKED:
            return Protection.YOUNG
        return None

    def _is_arriving(self, repository: RepositoryName, at: float) -> bool:
        """Say whether blobs arrive that may be for an image pulled or stored at this time."""
        since = self._usage.pulling_since.get(repository)
        return since is not None and at >= since - self._grace_seconds


async def make_plan(planner: Planner, rows: Rows, wishes: Sequence[Wish]) -> Plan:
    """Fulfil wishes in their order, as far as what is protected allows.

    What the planner has taken already counts.

    Raises:
        MetadataError: the rows cannot be read.
    """
    missing = 0
    for wish in wishes:
        if wish.pulled_before is not None:
            await _take_old(planner, rows, wish, wish.pulled_before)
        elif wish.scope == EVERYTHING:
            missing = max(missing, await _free(planner, rows, wish))
        else:
            missing = max(missing, await _free_part(planner, rows, wish))
    return planner.plan(missing)


async def take_unneeded(planner: Planner, rows: Rows) -> None:
    """Let everything go that no image needs.

    Raises:
        MetadataError: the rows cannot be read.
    """
    async for orphan in rows.orphans():
        planner.take_orphan(orphan)
    async for layer in rows.loose_layers():
        planner.take_loose(layer, needed=await rows.holders(layer.digest) > 0)


async def _take_old(planner: Planner, rows: Rows, wish: Wish, pulled_before: float) -> None:
    async for image in rows.candidates(wish.scope):
        if image.last_pull >= pulled_before:
            return
        planner.take_image(image, wish.reason)


async def _free(planner: Planner, rows: Rows, wish: Wish) -> int:
    """Free bytes of everything; return how many are missing."""
    if planner.freed_bytes < wish.free_bytes:
        async for image in rows.candidates():
            planner.take_image(image, wish.reason)
            if planner.freed_bytes >= wish.free_bytes:
                break
    return max(0, wish.must_bytes - planner.freed_bytes)


async def _free_part(planner: Planner, rows: Rows, wish: Wish) -> int:
    """Free bytes of one upstream; return how many are missing for sure.

    Data that another upstream's images need leaves this part without being freed, and how much
    that is only a measurement can tell: so a plan stops early, and another one follows.
    """
    freed, touched = planner.freed_bytes, planner.touched_bytes
    async for image in rows.candidates(wish.scope):
        planner.take_image(image, wish.reason)
        if planner.freed_bytes - freed >= wish.free_bytes:
            break
        if planner.touched_bytes - touched >= _OVERSHOOT * wish.free_bytes:
            break
    return max(0, wish.must_bytes - (planner.touched_bytes - touched))
