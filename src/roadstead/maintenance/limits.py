"""The limits that an operator sets, and how far the store is from them: pure arithmetic.

``maxsize`` counts the bytes of data, each once, and of partial downloads; what the file system
needs on top for links and directories, and the metadata database, is not in it. ``minfree`` is
about the file system as it is, so room for all that is kept beside what arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from roadstead.maintenance.plan import Wish
from roadstead.metadata.base import LOG_BYTES
from roadstead.metadata.records import Scope
from roadstead.oci.imagepattern import ImagePattern
from roadstead.telemetry.events import EvictionReason

DEFAULT_GRACE_SECONDS: Final = 300.0
_BATCH_PARTS: Final = 50
_BLOCKS_EACH: Final = 20
"""A tagged manifest, the first of its repository, took 17 on ext4; a blob more took 5."""
_MIN_FREE_BATCH_PARTS: Final = 4
_DEFAULT_MIN_FREE_BYTES: Final = 1024**3
_DEFAULT_MIN_FREE_PERCENT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of everything, or of one upstream; None: no such limit."""

    max_bytes: int | None = None
    max_age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MinFree:
    """How much of the file system stays free: the lesser of the two that are set."""

    size_bytes: int | None = None
    percent: float | None = None

    def of(self, total_bytes: int) -> int:
        """Return it in bytes, for a file system of this size."""
        wanted = [] if self.size_bytes is None else [self.size_bytes]
        if self.percent is not None:
            wanted.append(int(total_bytes * self.percent / 100))
        return min(wanted, default=0)


DEFAULT_MIN_FREE: Final = MinFree(_DEFAULT_MIN_FREE_BYTES, _DEFAULT_MIN_FREE_PERCENT)
"""Small enough to surprise nobody, and enough for the database and for what does not count."""


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """All limits; ``upstreams`` are by name, and ``ttl_seconds`` is ``proxy.ttl``.

    ``pins`` are those of the configuration; those set by command come on top.
    """

    everything: Limits = Limits()
    upstreams: Mapping[str, Limits] = field(default_factory=dict)
    min_free: MinFree = DEFAULT_MIN_FREE
    watches_free_space: bool = False
    """Whether space is freed for others too, and not only for what arrives."""
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    ttl_seconds: float | None = None
    pins: tuple[ImagePattern, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """How the file system of the store stands, and what lies there partly written.

    ``unwritten_bytes`` is what is promised to blobs that arrive and not written yet;
    ``partial_bytes`` what unfinished downloads take that are not under way; ``reserved_bytes``
    what links, directories and the metadata database may take until it is measured again.
    """

    total_bytes: int
    free_bytes: int
    unwritten_bytes: int = 0
    partial_bytes: int = 0
    reserved_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing with a size limit: everything, or one upstream's repositories.

    ``held_bytes`` is what it holds; ``promised_bytes`` the full size of what is arriving.
    """

    reason: EvictionReason
    scope: Scope
    max_bytes: int
    held_bytes: int
    promised_bytes: int = 0

    @property
    def batch_bytes(self) -> int:
        """How much more than needed is evicted at one time, so that it is done seldom."""
        return self.max_bytes // _BATCH_PARTS

    def excess(self, more_bytes: int) -> int:
        """Return how far it would be above its limit with so much more; at most 0 if it fits."""
        return self.held_bytes + self.promised_bytes + more_bytes - self.max_bytes


def reserved(*, arriving: int, log_bytes: int, block_bytes: int) -> int:
    """Return how many bytes so many blobs or manifests take beside their own.

    ``log_bytes`` is the size of the metadata database's log now.
    """
    return (
        arriving * _BLOCKS_EACH * block_bytes
        + max(0, LOG_BYTES - log_bytes)
        # What is in the log may be new to the database.
        + LOG_BYTES // 2
    )


def shortage(volume: Volume, min_free: MinFree, more_bytes: int) -> int:
    """Return how much must be freed so that enough stays free after so much more is written."""
    left = volume.free_bytes - volume.unwritten_bytes - volume.reserved_bytes - more_bytes
    return min_free.of(volume.total_bytes) - left


def fits(parts: Sequence[Part], volume: Volume, rules: RetentionRules, more_bytes: int) -> bool:
    """Say whether so much more may be written without crossing any limit."""
    if any(part.excess(more_bytes) > 0 for part in parts):
        return False
    wanted = rules.min_free.of(volume.total_bytes)
    return not wanted or shortage(volume, rules.min_free, more_bytes) <= 0


def wishes_for(
    parts: Sequence[Part], volume: Volume, rules: RetentionRules, more_bytes: int
) -> list[Wish]:
    """List what must go so that so much more may be written, and a batch beyond it."""
    wishes = [
        Wish(
            part.reason,
            part.scope,
            free_bytes=part.excess(more_bytes) + part.batch_bytes,
            must_bytes=part.excess(more_bytes),
        )
        for part in parts
        if part.excess(more_bytes) > 0
    ]
    wanted = rules.min_free.of(volume.total_bytes)
    short = shortage(volume, rules.min_free, more_bytes)
    if wanted and short > 0:
        batch = wanted // _MIN_FREE_BATCH_PARTS
        wishes.append(Wish(EvictionReason.MINFREE, free_bytes=short + batch, must_bytes=short))
    return wishes


def wishes_ahead(parts: Sequence[Part], volume: Volume, rules: RetentionRules) -> list[Wish]:
    """List what should go soon, so that what arrives next need not wait: half a batch early."""
    wishes = [
        Wish(part.reason, part.scope, free_bytes=part.excess(0) + part.batch_bytes)
        for part in parts
        if part.excess(part.batch_bytes // 2) > 0
    ]
    wanted = rules.min_free.of(volume.total_bytes)
    batch = wanted // _MIN_FREE_BATCH_PARTS
    short = shortage(volume, rules.min_free, 0)
    if wanted and short + batch // 2 > 0:
        wishes.append(Wish(EvictionReason.MINFREE, free_bytes=short + batch))
    return wishes


def wish_when_full(volume: Volume, rules: RetentionRules) -> Wish:
    """Say what should go after a write found no space, whatever the file system says is free."""
    short = shortage(volume, rules.min_free, 0)
    return Wish(EvictionReason.MINFREE, free_bytes=max(short, volume.total_bytes // _BATCH_PARTS))


def can_ever_fit(
    parts: Sequence[Part], volume: Volume, rules: RetentionRules, size_bytes: int
) -> bool:
    """Say whether something of this size would fit if nothing else were there."""
    if any(size_bytes > part.max_bytes for part in parts):
        return False
    return size_bytes <= volume.total_bytes - rules.min_free.of(volume.total_bytes)
