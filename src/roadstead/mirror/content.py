"""What the mirror gives to the server: content with its descriptor and its outcome."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeAlias

from roadstead.oci.descriptor import Descriptor
from roadstead.oci.reference import Tag
from roadstead.storage.base import OpenBlob
from roadstead.telemetry.events import Outcome


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest, verbatim.

    By tag, ``age_seconds`` is the time since upstream last confirmed the tag and
    ``fresh_for_seconds`` the time until it is asked again; None by digest. ``stale_reason`` is
    why upstream could not confirm it now, None for an answer that is current.
    """

    descriptor: Descriptor
    content: bytes
    outcome: Outcome
    age_seconds: float | None = None
    fresh_for_seconds: float | None = None
    stale_reason: str | None = None


PassOn: TypeAlias = Callable[[int, BinaryIO], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Gets the bytes behind an offset from upstream, given the file with those before it."""


class BlobReader(Protocol):
    """A blob to read from, whole or still arriving; whoever gets it closes it."""

    @property
    def outcome(self) -> Outcome:
        """Where the bytes come from."""

    @property
    def size_bytes(self) -> int | None:
        """Size of the whole blob, None while nobody knows it."""

    @property
    def file(self) -> BinaryIO:
        """The file with the bytes; shared, so read it by offset only.

        Raises:
            StorageError: there is none; ``wait_beyond`` says so too.
        """

    async def wait_beyond(self, offset: int) -> int:
        """Wait for bytes behind ``offset``; return how many bytes from 0 can be read now.

        Returns ``offset`` itself (or less) only at the end of the blob.

        Raises:
            StorageError: they will not come into the file; see ``pass_on``.
            RoadsteadError: they will never come; what was sent so far must not end cleanly.
        """

    def pass_on(self, offset: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Get the bytes from ``offset`` to the end straight from upstream.

        For a file that cannot be written, or read. The whole content is hashed, with the bytes
        before ``offset``, and its end given only when the digest is right.

        Raises:
            RoadsteadError: as ``wait_beyond``, also from the iterator.
        """

    def is_near(self, offset: int) -> bool:
        """Say whether the byte at ``offset`` is there or will be soon."""

    def close(self) -> None:
        """Stop reading. Idempotent."""


async def wait_whole(reader: BlobReader) -> None:
    """Wait until the last byte of a blob is there, and right.

    Raises:
        RoadsteadError: as ``wait_beyond``.
    """
    offset = 0
    while (available := await reader.wait_beyond(offset)) > offset:
        offset = available


class HeldBlobReader:
    """A blob that is complete in the store."""

    def __init__(
        self,
        blob: OpenBlob,
        outcome: Outcome,
        *,
        pass_on: PassOn,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """``pass_on`` is where to go on if the file cannot be read; ``closed`` is called once."""
        self._blob = blob
        self._pass_on = pass_on
        self._closed = closed
        self.outcome = outcome
        self.size_bytes: int | None = blob.size_bytes
        self.file: BinaryIO = blob.file

    async def wait_beyond(self, offset: int) -> int:  # noqa: ARG002 - all of it is there
        """See BlobReader."""
        return self._blob.size_bytes

    def pass_on(self, offset: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See BlobReader."""
        return self._pass_on(offset, self.file)

    def is_near(self, offset: int) -> bool:  # noqa: ARG002 - all of it is there
        """See BlobReader."""
        return True

    def close(self) -> None:
        """See BlobReader."""
        if not self.file.closed:
            self.file.close()
            self._closed()


@dataclass(frozen=True, slots=True)
class TagListing:
    """Tags of one repository; ``last`` is set when there are more behind it.

    ``stale_reason`` is why these are the tags that are held rather than upstream's.
    """

    tags: list[Tag]
    last: str | None = None
    stale_reason: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Where the list comes from."""
        return Outcome.MISS if self.stale_reason is None else Outcome.STALE


@dataclass(frozen=True, slots=True)
class ReferrersListing:
    """Descriptors of all that refers to one manifest.

    ``stale_reason`` is why they are those that upstream told last rather than now.
    """

    descriptors: list[dict[str, Any]]
    outcome: Outcome
    stale_reason: str | None = None
