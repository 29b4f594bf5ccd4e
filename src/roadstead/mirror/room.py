"""The room that one flight has for what it writes."""

from roadstead.errors import StorageFullError
from roadstead.mirror.space import Reservation, SpaceKeeper
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName


class Room:
    """What a pump asks before it writes; belongs to its thread."""

    def __init__(self, keeper: SpaceKeeper, repository: RepositoryName, digest: Digest) -> None:
        """Ask ``keeper`` for a blob of ``repository``, by its stored name."""
        self._keeper = keeper
        self.repository = repository
        self._digest = digest
        self._reservation: Reservation | None = None

    def take(self, size_bytes: int | None) -> None:
        """Reserve room for a blob of that size, None while it is unknown. Idempotent.

        Raises:
            StorageFullError: there is none.
        """
        if self._reservation is None:
            self._reservation = self._keeper.reserve(self.repository, self._digest, size_bytes)
            if self._reservation is None:
                raise _no_room()

    def grow(self, size_bytes: int) -> None:
        """Have room for so many bytes in all, of a blob of unknown size.

        Raises:
            StorageFullError: there is none.
        """
        if self._reservation is not None and not self._reservation.grow(size_bytes):
            raise _no_room()

    def note_full(self) -> None:
        """Note that the disk was full all the same."""
        self._keeper.note_full()

    def release(self) -> None:
        """Note that nothing more will be written. Idempotent."""
        if self._reservation is not None:
            self._reservation.release()


def _no_room() -> StorageFullError:
    return StorageFullError("there is no room for it within the limits that are set")
