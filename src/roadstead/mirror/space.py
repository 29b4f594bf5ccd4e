"""Room for what arrives, as a protocol: nothing is written before somebody has agreed to it.

What cannot be kept is still served: whoever gets no reservation passes the bytes through.
"""

from typing import Protocol

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName


class Reservation(Protocol):
    """Room for one piece of content, from before its first byte until it is held or given up."""

    def grow(self, size_bytes: int) -> bool:
        """Have room for ``size_bytes`` in all; False: keep no more of it.

        For content whose size upstream does not tell, before each write. Blocks only when more
        than was granted so far is asked for; not for the event loop.
        """

    def release(self) -> None:
        """Note that nothing more of it will be written; callable from any thread. Idempotent.

        What became of it is seen in the store: its data if it was committed, a partial file if
        it is to be resumed, else nothing.
        """


class SpaceKeeper(Protocol):
    """Decides whether there is room; evicts to make it, within the limits that are set.

    Repositories go by their stored names. A size counts in full from the moment of its
    reservation, also what an earlier attempt has left of it on disk.
    """

    def reserve(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None
    ) -> Reservation | None:
        """Make room for a blob, before the first write; None: do not keep it.

        ``size_bytes`` is None while upstream has not told it; see ``Reservation.grow``. Blocks
        while something is evicted, thus belongs in a thread; never raises.
        """

    async def reserve_on_loop(
        self, repository: RepositoryName, digest: Digest, size_bytes: int
    ) -> Reservation | None:
        """Do the same on the event loop: for manifests."""

    async def has_room(self, size_bytes: int) -> bool:
        """Say whether so much could be kept now without evicting anything. Never raises."""

    def note_full(self) -> None:
        """Note that a write failed for want of space; callable from any thread.

        What can go is evicted soon, so that the next one finds room.
        """


class Unlimited:
    """A SpaceKeeper that agrees to everything, and the Reservation that it gives."""

    def reserve(
        self, _repository: RepositoryName, _digest: Digest, _size_bytes: int | None
    ) -> "Unlimited":
        """Agree."""
        return self

    async def reserve_on_loop(
        self, _repository: RepositoryName, _digest: Digest, _size_bytes: int
    ) -> "Unlimited":
        """Agree."""
        return self

    async def has_room(self, _size_bytes: int) -> bool:
        """Agree."""
        return True

    def note_full(self) -> None:
        """Do nothing: there is nobody who could evict."""

    def grow(self, _size_bytes: int) -> bool:
        """Agree."""
        return True

    def release(self) -> None:
        """Do nothing."""
