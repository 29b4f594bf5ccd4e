"""Walks over a whole volume, for those who tidy it up or count it.

They read the disk as they go, block, and hold one directory in memory at a time: of the data
that is a 256th. What comes and goes meanwhile may be missed. Leftovers are passed over, but
damaged links are told as such, so that they can be removed. Only faults are raised, as OSError.
"""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import HeldData, HeldLink, HeldTagLinks, Linker
from roadstead.storage.catalog import walk_repositories
from roadstead.storage.entries import digest_of, directories, tag_of
from roadstead.storage.layout import Layout
from roadstead.storage.leftovers import find_leftovers
from roadstead.storage.links import follow_link, read_dated_link, read_tag_link
from roadstead.storage.reading import AbsenceIgnored, open_regular

_BEGIN_BYTES = 64 * 1024


class FilesystemWalk:
    """A ``Walk`` over the volume of a filesystem store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def repositories(self) -> Iterator[RepositoryName]:
        """Yield all repositories, component by component in order."""
        return walk_repositories(self._layout)

    def revisions(self, repository: RepositoryName) -> Iterator[HeldLink]:
        """Yield a repository's links to manifests."""
        return _links(self._layout.revisions(repository))

    def layers(self, repository: RepositoryName) -> Iterator[HeldLink]:
        """Yield a repository's links to layers and configs."""
        return _links(self._layout.layers(repository))

    def tags(self, repository: RepositoryName) -> Iterator[HeldTagLinks]:
        """Yield a repository's tags, whole or damaged."""
        for name in directories(self._layout.tags(repository)):
            tag = tag_of(name)
            if tag is not None:
                yield self._tag(repository, tag)

    def tag(self, repository: RepositoryName, tag: Tag) -> HeldTagLinks | None:
        """Look at one tag; None if there is no trace of it."""
        if not self._layout.tag_index(repository, tag).parent.is_dir():
            return None
        return self._tag(repository, tag)

    def data(self, after: Digest | None = None) -> Iterator[HeldData]:
        """Yield all data behind ``after``, by algorithm, then in the order of the digests."""
        behind = ("", "") if after is None else (after.algorithm, after.encoded)
        for algorithm in directories(self._layout.blobs):
            of_algorithm = self._layout.blobs / algorithm
            for prefix in directories(of_algorithm):
                if (algorithm, prefix) < (behind[0], behind[1][:2]):
                    continue
                where = f"{of_algorithm}/{prefix}"
                for encoded in directories(where):
                    if (algorithm, encoded) <= behind:
                        continue
                    digest = digest_of(algorithm, encoded)
                    if digest is None or not encoded.startswith(prefix):
                        continue
                    with AbsenceIgnored():
                        found = os.stat(f"{where}/{encoded}/data")  # noqa: PTH116 - no Path, see _digests
                        if stat.S_ISREG(found.st_mode):
                            yield HeldData(digest, found.st_size, found.st_mtime)

    def read(self, digest: Digest) -> bytes | None:
        """Return held data if it looks like a JSON document; layers are not read to the end."""
        file = open_regular(self._layout.blob(digest))
        if file is None:
            return None
        with file:
            begin = file.read(_BEGIN_BYTES)
            if not begin.lstrip().startswith(b"{"):
                return None
            return begin + file.read()

    def leftovers(self, *, before: float) -> Iterator[str]:
        """Yield what crashes have left behind; see Walk."""
        for path in find_leftovers(self._layout, before=before):
            yield str(path.relative_to(self._layout.root))

    def _tag(self, repository: RepositoryName, tag: Tag) -> HeldTagLinks:
        path = self._layout.tag_current_link(repository, tag)
        held = read_tag_link(path)
        index = self._layout.tag_index(repository, tag)
        return HeldTagLinks(
            tag=tag,
            current=None if held is None else held.digest,
            history=frozenset(digest for digest, _ in _digests(index)),
            stored_at=_linked_at(path) if held is None else held.confirmed_at,
        )

    def linkers(self, digests: Collection[Digest]) -> Iterator[Linker]:
        """Yield who links to any of ``digests``; two looks for each and each repository."""
        for repository in self.repositories():
            for digest in digests:
                for path, is_manifest in (
                    (self._layout.revision_link(repository, digest), True),
                    (self._layout.layer_link(repository, digest), False),
                ):
                    if follow_link(path, digest) is not None:
                        yield Linker(repository, digest, is_manifest)


def _links(directory: Path) -> Iterator[HeldLink]:
    for digest, path in _digests(directory):
        found = read_dated_link(path, digest)
        source, linked_at = (None, _linked_at(Path(path))) if found is None else found
        yield HeldLink(digest, source, linked_at)


def _digests(directory: Path) -> Iterator[tuple[Digest, str]]:
    """Yield the digests that lie in ``directory``, and where the link of each should be.

    That is no Path: a million of them take longer than the files.
    """
    for algorithm in directories(directory):
        where = f"{directory}/{algorithm}"
        for encoded in directories(where):
            digest = digest_of(algorithm, encoded)
            if digest is not None:
                yield digest, f"{where}/{encoded}/link"


def _linked_at(path: Path) -> float:
    """Return the time of a link; of one whose file is missing, that of its directory."""
    for found in (path, path.parent):
        with AbsenceIgnored():
            return found.stat().st_mtime
    return 0.0
