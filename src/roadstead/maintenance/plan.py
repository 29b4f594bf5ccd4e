"""What is to go, as values: wishes that lead to a plan, and the plan. Sizes are bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from roadstead.metadata.records import EVERYTHING, EvictionCandidate, Scope
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.telemetry.events import EvictionReason


class Protection(StrEnum):
    """Why an image stays although its turn has come."""

    PINNED = "pinned"
    IN_USE = "in use"
    """Its data is being served, or blobs of it are arriving."""
    YOUNG = "young"
    """Pulled or stored within the grace: a client may be in the middle of its pull."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a plan is to achieve within ``scope``: free bytes, or remove what is too old.

    ``free_bytes`` is to be freed, and ``must_bytes`` of it for the plan to be of any use.
    ``pulled_before``, in seconds since the epoch, is set instead for what is too old.
    """

    reason: EvictionReason
    scope: Scope = EVERYTHING
    free_bytes: int = 0
    must_bytes: int = 0
    pulled_before: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What is under way now.

    ``is_in_use`` says whether data is being read by clients. ``pulling_since`` says, of each
    repository into which blobs are arriving, when the oldest of these fetches began: images
    pulled since then may be the ones that the blobs are for.
    """

    is_in_use: Callable[[Digest], bool] = field(default=lambda _digest: False)
    pulling_since: Mapping[RepositoryName, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that is to go, and the data that goes with it."""

    image: EvictionCandidate
    reason: EvictionReason
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedBlob:
    """Data that is to go by itself; ``repository`` is None for what no repository links to."""

    digest: Digest
    repository: RepositoryName | None
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """How much stays although its turn had come."""

    images: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to go, in this order: blobs first, then images, least recently pulled first.

    ``missing_bytes`` is how much less is freed than must be.
    """

    blobs: tuple[PlannedBlob, ...] = ()
    images: tuple[PlannedImage, ...] = ()
    kept: Mapping[Protection, Kept] = field(default_factory=dict)
    missing_bytes: int = 0

    @property
    def freed_bytes(self) -> int:
        """How many bytes of data go."""
        blobs = sum(one.freed_bytes for one in self.blobs)
        return blobs + sum(one.freed_bytes for one in self.images)
