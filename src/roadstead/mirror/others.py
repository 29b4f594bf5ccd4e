"""Other processes of the same mirror, as a protocol: they fetch into the same store."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from roadstead.oci.reference import RepositoryName, Tag


class OtherProcesses(Protocol):
    """Takes turns with them, and tells them what they may have in memory otherwise."""

    def turn(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only process that asks upstream for ``name``; waits for its turn.

        Whoever has waited looks into the store first.
        """

    def moved(self, repository: RepositoryName, tag: Tag) -> None:
        """Tell that a tag points at something else."""
