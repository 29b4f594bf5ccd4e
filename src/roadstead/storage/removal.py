"""Removing links and data, each step whole in itself and harmless when it is repeated.

Only while the lock on links is held alone (see barrier), so that no writer makes a directory
that is pruned here. Nothing is synced: what comes back after the power was lost is removed by
the next collection, and a journalling file system keeps links and data in order.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import (
    Damage,
    FileIdentity,
    Removed,
    RemovedData,
    RemovedLayerLink,
    RemovedManifest,
    RemovedTag,
)
from roadstead.storage.boundary import Boundary
from roadstead.storage.layout import Layout
from roadstead.storage.leftovers import remove_leftover
from roadstead.storage.quarantine import identify, put_away
from roadstead.storage.reading import AbsenceIgnored


class FilesystemRemoval:
    """A ``Removal`` of the filesystem store; notes in ``removed`` what it has removed."""

    def __init__(
        self, layout: Layout, boundary: Boundary, clock: Callable[[], float] = time.time
    ) -> None:
        self._layout = layout
        self._boundary = boundary
        self.at = clock()
        self.removed: list[Removed] = []

    def remove_tag(self, repository: RepositoryName, tag: Tag) -> bool:
        """Remove a tag with its history; False if there was none."""
        with self._boundary.action("Delete"):
            current = self._layout.tag_current_link(repository, tag)
            directory = current.parent.parent
            if not directory.is_dir():
                return False
            _unlink(current)
            shutil.rmtree(directory)
            self._prune(directory.parent)
            self.removed.append(RemovedTag(repository, tag))
            return True

    def untag(self, repository: RepositoryName, tag: Tag) -> bool:
        """Remove what a tag points at, but not its history; False if it pointed at nothing."""
        with self._boundary.action("Delete"):
            current = self._layout.tag_current_link(repository, tag)
            if not _unlink(current):
                return False
            self._prune(current.parent)
            self.removed.append(RemovedTag(repository, tag))
            return True

    def remove_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        """Remove a manifest's link, and its traces in history and referrers."""
        with self._boundary.action("Delete"):
            link = self._layout.revision_link(repository, digest)
            was_there = _unlink(link)
            self._prune(link.parent)
            with AbsenceIgnored():
                for directory in self._layout.tags(repository).iterdir():
                    trace = directory / f"index/{digest.algorithm}/{digest.encoded}/link"
                    if _unlink(trace):
                        self._prune(trace.parent)
            referrers = self._layout.referrers(repository, digest)
            if _unlink(referrers):
                self._prune(referrers.parent)
            if was_there:
                self.removed.append(RemovedManifest(repository, digest))
            return was_there

    def remove_layer_link(self, repository: RepositoryName, digest: Digest) -> bool:
        """Remove a layer's link; False if there was none."""
        with self._boundary.action("Delete"):
            link = self._layout.layer_link(repository, digest)
            if not _unlink(link):
                return False
            self._prune(link.parent)
            self.removed.append(RemovedLayerLink(repository, digest))
            return True

    def remove_data(self, digest: Digest) -> int:
        """Remove data; return how many bytes are free now: 0 for a second name of others."""
        with self._boundary.action("Delete"):
            path = self._layout.blob(digest)
            freed = 0
            with AbsenceIgnored():
                found = path.stat()
                path.unlink()
                freed = found.st_size if found.st_nlink == 1 else 0
                self.removed.append(RemovedData(digest, found.st_size))
            self._prune(path.parent)
            return freed

    def remove_leftover(self, path: str) -> int:
        """Remove an upload, a temporary file or a bare directory; return the bytes freed."""
        with self._boundary.action("Delete"):
            leftover = self._layout.root / path
            freed = remove_leftover(leftover)
            self._prune(leftover.parent)
            return freed

    def quarantine_data(self, digest: Digest, damage: Damage, seen: FileIdentity) -> bool:
        """Put damaged data out of sight, if it is still the file that was seen."""
        with self._boundary.action("Move"):
            path = self._layout.blob(digest)
            if identify(path) != seen:
                return False
            put_away(self._layout, digest, damage, self.at)
            self.removed.append(RemovedData(digest, seen.size_bytes))
            self._prune(path.parent)
            return True

    def _prune(self, directory: Path) -> None:
        """Remove ``directory`` and those around it, as long as they are empty."""
        kept = {self._layout.repositories, self._layout.blobs, self._layout.own}
        while directory not in kept:
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                # Not empty, nearly always; an empty directory that stays harms nobody.
                return
            directory = directory.parent


def _unlink(path: Path) -> bool:
    with AbsenceIgnored():
        path.unlink()
        return True
    return False
