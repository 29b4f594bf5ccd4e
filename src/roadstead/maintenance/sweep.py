"""Removing what a collection has found, in short batches, each step looked at again.

What was linked since marking began is spared with all that it needs: a new manifest may need a
layer that nothing needed before, a new index manifests that no tag pointed at.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from roadstead.errors import ManifestInvalidError
from roadstead.maintenance.spool import Spool
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from roadstead.oci.reference import parse_repository, parse_tag
from roadstead.storage.base import Mark, Removal, RemovalStore

_log = logging.getLogger("roadstead.maintenance")

_BATCH_SECONDS = 0.05
# Link writers wait during a batch; between two of them they write what they have.
_PAUSE_SECONDS = 0.025
_ROOT = "/docker/registry/v2"


@dataclass(slots=True)
class Swept:
    """What was removed; ``spared`` counts what was linked, or needed again, meanwhile."""

    manifests: int = 0
    layer_links: int = 0
    tags: int = 0
    blobs: int = 0
    leftovers: int = 0
    freed_bytes: int = 0
    spared: int = 0


class Sweep:
    """One sweep, over what was found while ``mark`` was kept."""

    def __init__(
        self,
        store: RemovalStore,
        mark: Mark,
        *,
        progress: Callable[[float, float | None], None],
        is_in_use: Callable[[Digest], bool] = lambda _digest: False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._mark = mark
        self._progress = progress
        self._is_in_use = is_in_use
        self._sleep = sleep
        self._clock = clock
        self._spared: set[Digest] = set()
        self._done = 0
        self._swept = Swept()

    def run(self, links: Spool, blobs: Spool, leftovers: Spool) -> Swept:
        """Remove links first and data last.

        Raises:
            StorageError: something could not be removed, or links are written without end.
        """
        total = len(links) + len(blobs) + len(leftovers)
        for rows, remove in (
            (links, self._remove_link),
            (blobs, self._remove_blob),
            (leftovers, self._remove_leftover),
        ):
            self._in_batches(rows, remove, total)
        return self._swept

    def _in_batches(
        self,
        rows: Iterable[list[str]],
        remove: Callable[[Removal, list[str]], None],
        total: int,
    ) -> None:
        waiting = iter(rows)
        for first in waiting:
            with self._store.removing() as removal:
                end = self._clock() + _BATCH_SECONDS
                # Not before: a link is noted first, and a manifest could not be read yet.
                self._spare(self._mark.linked())
                remove(removal, first)
                self._done += 1
                while self._clock() < end and (row := next(waiting, None)) is not None:
                    remove(removal, row)
                    self._done += 1
            self._progress(self._done, total)
            self._sleep(_PAUSE_SECONDS)

    def _spare(self, linked: Iterable[Digest]) -> None:
        """Keep what was linked, and all that it needs if it is a manifest."""
        waiting = list(linked)
        while waiting:
            digest = waiting.pop()
            if digest in self._spared:
                continue
            self._spared.add(digest)
            document = self._store.walk.read(digest)
            if document is None:
                continue
            try:
                manifest = parse_manifest(document)
            except ManifestInvalidError:
                continue
            waiting.extend(one.digest for one in (*manifest.children, *manifest.blobs))

    def _remove_link(self, removal: Removal, row: list[str]) -> None:
        kind, name, *words = row
        repository = parse_repository(name)
        directory = f"{_ROOT}/repositories/{repository}"
        if kind == "tag":
            tag = parse_tag(words[0])
            found = self._store.walk.tag(repository, tag)
            if found is not None and not self._spared.isdisjoint({found.current, *found.history}):
                self._swept.spared += 1
            elif removal.remove_tag(repository, tag):
                self._swept.tags += 1
                _log.info("deleting manifest tag reference: %s/_manifests/tags/%s", directory, tag)
            return
        digest, source = map(Digest.parse, words)
        path = f"{digest.algorithm}/{digest.encoded}"
        if digest in self._spared:
            self._swept.spared += 1
            self._spared.add(source)
        elif kind != "layer":
            self._swept.manifests += removal.remove_manifest(repository, digest)
            _log.info("deleting manifest: %s/_manifests/revisions/%s", directory, path)
        else:
            self._swept.layer_links += removal.remove_layer_link(repository, digest)
            _log.info("Deleting layer link path: %s/_layers/%s", directory, path)

    def _remove_blob(self, removal: Removal, row: list[str]) -> None:
        digest = Digest.parse(row[0])
        if digest in self._spared or self._is_in_use(digest):
            self._swept.spared += 1
            return
        self._swept.freed_bytes += removal.remove_data(digest)
        self._swept.blobs += 1
        path = f"{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}"
        _log.info("Deleting blob: %s/blobs/%s", _ROOT, path)

    def _remove_leftover(self, removal: Removal, row: list[str]) -> None:
        path = " ".join(row)
        self._swept.freed_bytes += removal.remove_leftover(path)
        self._swept.leftovers += 1
        _log.info("Deleting leftover: %s", path)
