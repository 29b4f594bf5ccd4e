"""Looking over a whole volume, quickly: every link and every file, as a reader would see them.

Link files are not opened where their size says that they are whole: opening a million files
takes longer than all else. A link that is damaged and has the right size is taken for whole.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.catalog import is_repository
from roadstead.storage.entries import digest_of, directories, repository_of, tag_of
from roadstead.storage.layout import LAYERS, MANIFESTS, Layout
from roadstead.storage.links import follow_link, read_tag_link
from roadstead.storage.reading import AbsenceIgnored, plausible_size, read_regular

_ALGORITHMS = ("sha256", "sha384", "sha512")
_PREFIXES = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class FoundData:
    """A data file; ``stored_at`` is its modification time."""

    digest: Digest
    size_bytes: int
    stored_at: float


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A link; its content lies under ``source``, nearly always the digest of its path."""

    source: Digest
    stored_at: float


@dataclass(frozen=True, slots=True)
class FoundTag:
    """What a tag points at, and the modification time of its current link."""

    digest: Digest
    stored_at: float


@dataclass(slots=True)
class FoundRepository:
    """All links of one repository."""

    name: RepositoryName
    manifests: dict[Digest, FoundLink] = field(default_factory=dict)
    layers: dict[Digest, FoundLink] = field(default_factory=dict)
    tags: dict[Tag, FoundTag] = field(default_factory=dict)


class Survey:
    """The volume below ``root``. Everything blocks; what is not there is left out.

    Raises OSError where the volume cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)

    def data(self) -> Iterator[tuple[float, str, list[FoundData]]]:
        """Walk over all data: the progress from 0 to 1, a prefix, all whose digests begin so."""
        pages = [(algorithm, prefix) for algorithm in _ALGORITHMS for prefix in _PREFIXES]
        for number, (algorithm, prefix) in enumerate(pages, 1):
            found = list(self._data(algorithm, prefix))
            yield number / len(pages), f"{algorithm}:{prefix}", found

    def repositories(self) -> Iterator[tuple[float, FoundRepository]]:
        """Walk over all repositories in distribution's order, with the progress of the walk."""
        return self._repositories(str(self._layout.repositories), "", 0.0, 1.0)

    def read_manifest(self, digest: Digest, source: Digest) -> bytes | None:
        """Return the manifest ``digest`` that lies under ``source``, hashed and found right."""
        content = read_regular(self._layout.blob(source))
        if content is None or Digest.of(content, digest.algorithm) != digest:
            return None
        return content

    def last_change(self) -> float:
        """Return when the volume last changed, as far as the watched directories tell."""
        return max((at / 1e9 for _, at in self._watched()), default=0.0)

    def appearance(self) -> str:
        """Return a text that stays the same as long as the watched directories do."""
        return hashlib.sha256(repr(self._watched()).encode()).hexdigest()

    def _watched(self) -> list[tuple[str, int]]:
        """Return modification times, in nanoseconds, that nearly every writer changes.

        Data that comes or goes changes the directory of its prefix; a new first component of
        names changes that of all repositories; the stock registry in proxy mode rewrites its
        schedule for whatever it pulls.
        """
        blobs = self._layout.blobs
        paths = [
            self._layout.repositories,
            self._layout.schedule,
            *(blobs / algorithm / prefix for algorithm in _ALGORITHMS for prefix in _PREFIXES),
        ]
        found = []
        for path in paths:
            with AbsenceIgnored():
                found.append((str(path.relative_to(self._layout.root)), path.stat().st_mtime_ns))
        return found

    def _data(self, algorithm: str, prefix: str) -> Iterator[FoundData]:
        page = f"{self._layout.blobs}/{algorithm}/{prefix}"
        for encoded in directories(page):
            digest = digest_of(algorithm, encoded)
            if digest is None:
                continue
            with AbsenceIgnored():
                found = os.stat(f"{page}/{encoded}/data")  # noqa: PTH116 - a million Paths take seconds
                size = plausible_size(found.st_size, digest) if S_ISREG(found.st_mode) else None
                if size is not None:
                    yield FoundData(digest, size, found.st_mtime)

    def _repositories(
        self, directory: str, name: str, begin: float, end: float
    ) -> Iterator[tuple[float, FoundRepository]]:
        """Walk below ``directory``; its share of the progress is from ``begin`` to ``end``."""
        children = directories(directory)
        if name and is_repository(children):
            yield begin, self._repository(RepositoryName(name), directory)
        inner = [child for child in children if not child.startswith("_")]
        step = (end - begin) / max(len(inner), 1)
        for number, child in enumerate(inner):
            full = f"{name}/{child}" if name else child
            if repository_of(full) is not None:
                start = begin + number * step
                path = f"{directory}/{child}"
                yield from self._repositories(path, full, start, start + step)

    def _repository(self, repository: RepositoryName, directory: str) -> FoundRepository:
        found = FoundRepository(repository)
        for links, where in (
            (found.layers, f"{directory}/{LAYERS}"),
            (found.manifests, f"{directory}/{MANIFESTS}/revisions"),
        ):
            for algorithm in directories(where):
                for encoded in directories(f"{where}/{algorithm}"):
                    digest = digest_of(algorithm, encoded)
                    path = f"{where}/{algorithm}/{encoded}/link"
                    link = None if digest is None else _link(path, digest)
                    if digest is not None and link is not None:
                        links[digest] = link
        tags = f"{directory}/{MANIFESTS}/tags"
        for name in directories(tags):
            tag = tag_of(name)
            held = None if tag is None else read_tag_link(Path(f"{tags}/{name}/current/link"))
            if tag is not None and held is not None:
                found.tags[tag] = FoundTag(held.digest, held.confirmed_at)
        return found


def _link(path: str, digest: Digest) -> FoundLink | None:
    with AbsenceIgnored():
        found = os.stat(path)  # noqa: PTH116 - as above
        if S_ISREG(found.st_mode) and found.st_size == len(str(digest)):
            return FoundLink(digest, found.st_mtime)
        source = follow_link(Path(path), digest)
        if source is not None:
            return FoundLink(source, found.st_mtime)
    return None
