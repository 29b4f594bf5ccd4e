"""Removing links and data, each step whole in itself and harmless when it is repeated.

Only while the lock on links is held alone (see barrier), so that no writer makes a directory
that is pruned here. Each step is noted before it is done (see departures). Nothing is synced:
what comes back after the power was lost is removed by the next collection, and a journalling
file system keeps links and data in order.
"""

import shutil
import time
from collections.abc import Callable, Sequence
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
from roadstead.storage.departures import Departures
from roadstead.storage.layout import Layout
from roadstead.storage.leftovers import remove_leftover
from roadstead.storage.quarantine import identify, put_away
from roadstead.storage.reading import AbsenceIgnored

Tell = Callable[[float, Sequence[Removed]], None]


class FilesystemRemoval:
    """A ``Removal`` of the filesystem store.

    ``tell`` gets the time at which it began and what it has removed, at the end, and before if
    that is more than there is room to note. None: nobody here wants to know, so nothing is noted.
    """

    def __init__(
        self,
        layout: Layout,
        boundary: Boundary,
        departures: Departures,
        *,
        tell: Tell | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._layout = layout
        self._boundary = boundary
        self._departures = departures
        self._tell = tell
        self._at = clock()
        self._removed: list[Removed] = []

    def begin(self) -> None:
        """Tell of what was removed by a batch that was cut short; raises StorageError."""
        if self._tell is None:
            return
        with self._boundary.step("noting removals", "remove"):
            self._removed = self._departures.left()
            self.tell()
            self._departures.open()

    def end(self, *, well: bool) -> None:
        """Tell of what was removed; what may be half done is looked at by the next batch."""
        try:
            self.tell()
            if well:
                with self._boundary.step("noting removals", "remove"):
                    self._departures.clear()
        finally:
            self._departures.close()

    def tell(self) -> None:
        """Tell of what was removed since the last time."""
        removed, self._removed = self._removed, []
        if removed and self._tell is not None:
            self._tell(self._at, removed)

    def remove_tag(self, repository: RepositoryName, tag: Tag) -> bool:
        """Remove a tag with its history; False if there was none."""
        with self._boundary.action("Delete"):
            current = self._layout.tag_current_link(repository, tag)
            directory = current.parent.parent
            if not directory.is_dir():
                return False
            self._note(removed := RemovedTag(repository, tag))
            _unlink(current)
            shutil.rmtree(directory)
            self._prune(directory.parent)
            self._removed.append(removed)
            return True

    def untag(self, repository: RepositoryName, tag: Tag) -> bool:
        """Remove what a tag points at, but not its history; False if it pointed at nothing."""
        with self._boundary.action("Delete"):
            current = self._layout.tag_current_link(repository, tag)
            self._note(removed := RemovedTag(repository, tag))
            if not _unlink(current):
                return False
            self._prune(current.parent)
            self._removed.append(removed)
            return True

    def remove_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        """Remove a manifest's link, and its traces in history and referrers."""
        with self._boundary.action("Delete"):
            link = self._layout.revision_link(repository, digest)
            self._note(removed := RemovedManifest(repository, digest))
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
                self._removed.append(removed)
            return was_there

    def remove_layer_link(self, repository: RepositoryName, digest: Digest) -> bool:
        """Remove a layer's link; False if there was none."""
        with self._boundary.action("Delete"):
            link = self._layout.layer_link(repository, digest)
            self._note(removed := RemovedLayerLink(repository, digest))
            if not _unlink(link):
                return False
            self._prune(link.parent)
            self._removed.append(removed)
            return True

    def remove_data(self, digest: Digest) -> int:
        """Remove data; return how many bytes are free now: 0 for a second name of others."""
        with self._boundary.action("Delete"):
            path = self._layout.blob(digest)
            freed = 0
            with AbsenceIgnored():
                found = path.stat()
                self._note(removed := RemovedData(digest, found.st_size))
                path.unlink()
                freed = found.st_size if found.st_nlink == 1 else 0
                self._removed.append(removed)
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
            self._note(removed := RemovedData(digest, seen.size_bytes))
            put_away(self._layout, digest, damage, self._at)
            self._removed.append(removed)
            self._prune(path.parent)
            return True

    def _note(self, removed: Removed) -> None:
        """Note a step before it is done; raises OSError."""
        if not self._departures.note(removed):
            self.tell()
            self._departures.clear()
            self._departures.note(removed)

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
