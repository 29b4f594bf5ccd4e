"""Comparing the database with the layout, and mending the database.

Only differences are written, page by page, so that a rebuild can run beside the mirror and its
records. A row without a link is removed unless it is young: its link may be about to be written.
Last pulls, hits and pins stay; what was not known counts as pulled when it was stored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import sqlalchemy as sa

from roadstead.metadata.mending import DataPage, mend_data, mend_repositories
from roadstead.metadata.paths import to_path
from roadstead.metadata.recording import prune
from roadstead.metadata.records import PointsAt
from roadstead.metadata.schema import content, state
from roadstead.metadata.volume import HeldData, HeldRepository, Volume
from roadstead.oci.digest import Digest

Value = TypeVar("Value")
Operation = Callable[[sa.Connection], Value]

_YOUNG_SECONDS = 600
"""A link is written within this time of its row, or never."""
_PAGE_DATA = 1000
_PAGE_LINKS = 500
_PAGE_REPOSITORIES = 100
_DATA_SHARE = 0.3
"""Of the progress; looking at data is quicker than looking at links."""


class Run(Protocol):
    """Runs an operation in a transaction of its own and returns what it gives."""

    def __call__(self, operation: Operation[Value]) -> Value:
        """Block until it is committed."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild has found on the volume."""

    repositories: int
    manifests: int
    layers: int
    tags: int
    data: int
    held_bytes: int


class Rebuild:
    """One rebuild. ``progress`` is called with 0 to 1 between pages and may raise to stop it."""

    def __init__(
        self, volume: Volume, run: Run, *, now: float, progress: Callable[[float], None]
    ) -> None:
        self._volume = volume
        self._run = run
        self._cutoff = now - _YOUNG_SECONDS
        self._progress = progress
        self._counts = dict.fromkeys(("repositories", "manifests", "layers", "tags", "data"), 0)

    def __call__(self) -> Rebuilt:
        """Do it; afterwards the database says that it is whole.

        Raises:
            OSError: the volume cannot be read.
            MetadataError: the database cannot be written.
        """
        self._run(lambda connection: _set_whole(connection, whole=False))
        behind = ""
        for done, last, data in _data_pages(self._volume.data()):
            self._counts["data"] += len(data)
            found = DataPage(behind, last, data)
            self._run(partial(mend_data, page=found, cutoff=self._cutoff))
            behind = last
            self._progress(done * _DATA_SHARE)
        behind = ""
        for done, page in _pages(self._volume.repositories()):
            for one in page:
                self._counts["manifests"] += len(one.manifests)
                self._counts["layers"] += len(one.layers)
                self._counts["tags"] += len(one.tags)
            self._counts["repositories"] += len(page)
            last = to_path(page[-1].name)
            self._mend(page, behind, last)
            behind = last
            self._progress(_DATA_SHARE + done * (1 - _DATA_SHARE))
        self._mend([], behind, None)
        held_bytes = self._run(_finish)
        self._progress(1.0)
        return Rebuilt(held_bytes=held_bytes, **self._counts)

    def _mend(self, page: Sequence[HeldRepository], behind: str, last: str | None) -> None:
        """Mend the rows of all repositories behind one path up to another; None: to the end."""
        sources = {digest: link.source for one in page for digest, link in one.manifests.items()}
        known = self._run(lambda connection: _known_manifests(connection, sources))
        points_at = {
            digest: found
            for digest, source in sources.items()
            if digest not in known and (found := self._read(digest, source)) is not None
        }

        def mend(connection: sa.Connection) -> None:
            mend_repositories(
                connection,
                page,
                behind=behind,
                last=last,
                points_at=points_at,
                cutoff=self._cutoff,
            )

        self._run(mend)

    def _read(self, digest: Digest, source: Digest) -> PointsAt | None:
        document = self._volume.read_manifest(digest, source)
        found = None if document is None else PointsAt.read(document)
        if found is None or source == digest:
            return found
        # Content that lies under another name is needed like a layer.
        return replace(found, blobs=(*found.blobs, source))


def _set_whole(connection: sa.Connection, *, whole: bool) -> None:
    connection.execute(sa.update(state).values(is_whole=whole))


def _finish(connection: sa.Connection) -> int:
    """Remove what says nothing, sum up, and call the database whole."""
    prune(connection)
    held = sa.select(sa.func.coalesce(sa.func.sum(content.c.size_bytes), 0))
    connection.execute(sa.update(state).values(is_whole=True, held_bytes=held.scalar_subquery()))
    return connection.scalar(sa.select(state.c.held_bytes)) or 0


def _known_manifests(connection: sa.Connection, digests: Mapping[Digest, object]) -> set[Digest]:
    select = sa.select(content.c.digest).where(
        content.c.digest.in_([str(digest) for digest in digests]),
        content.c.media_type.is_not(None),
    )
    return {Digest.parse(text) for text in connection.scalars(select)}


def _data_pages(
    walk: Iterator[tuple[float, str, Sequence[HeldData]]],
) -> Iterator[tuple[float, str, list[HeldData]]]:
    """Put data together, page by page; each comes with what its last digest is less than."""
    page: list[HeldData] = []
    for done, prefix, data in walk:
        page += data
        if len(page) >= _PAGE_DATA or done >= 1:
            yield done, prefix + "\x7f", page
            page = []


def _pages(
    walk: Iterator[tuple[float, HeldRepository]],
) -> Iterator[tuple[float, list[HeldRepository]]]:
    page: list[HeldRepository] = []
    links = 0
    done = 0.0
    for done, one in walk:
        page.append(one)
        links += len(one.manifests) + len(one.layers) + len(one.tags)
        if links >= _PAGE_LINKS or len(page) >= _PAGE_REPOSITORIES:
            yield done, page
            page, links = [], 0
    if page:
        yield done, page
