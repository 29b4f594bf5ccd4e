"""Images as candidates for eviction, and data that no image needs, read page by page.

Every function reads one page in the caller's transaction, with a number of statements that
does not depend on how much is held.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import sqlalchemy as sa

from roadstead.metadata.graph import Pair, above, below
from roadstead.metadata.paths import in_scope, to_name, to_path
from roadstead.metadata.records import (
    BlobUse,
    EvictionCandidate,
    LooseLayer,
    Member,
    Orphan,
    Scope,
)
from roadstead.metadata.schema import EdgeKind, content, edge, layer, manifest, repository, tag
from roadstead.metadata.statements import pages
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag

Cursor: TypeAlias = tuple[float, int, int]
"""Behind which image a page begins: its last pull, repository and content."""

_MANY_HOLDERS = 20

_position = sa.tuple_(manifest.c.last_pull, manifest.c.repository_id, manifest.c.content_id)
_images = (
    sa.select(
        manifest.c.repository_id,
        manifest.c.content_id,
        manifest.c.stored_at,
        manifest.c.last_pull,
        manifest.c.hits,
        repository.c.path,
    )
    .join(repository, repository.c.id == manifest.c.repository_id)
    # Word for word as the index has it; SQLAlchemy's "is_top = 1" would not find it.
    .where(sa.text("manifest.is_top"))
    .order_by(manifest.c.last_pull, manifest.c.repository_id, manifest.c.content_id)
)


def latest_pull(connection: sa.Connection) -> float:
    """Return when anything was last pulled."""
    return connection.scalar(sa.select(sa.func.max(manifest.c.last_pull))) or 0.0


def candidates(
    connection: sa.Connection,
    scope: Scope,
    *,
    after: Cursor | None,
    until: float,
    limit: int,
    shared: dict[int, int],
) -> tuple[list[EvictionCandidate], Cursor | None]:
    """Return up to ``limit`` images behind ``after``, and where the next page begins.

    Images pulled after ``until`` are left out: they would come twice. None: there are no more.
    ``shared`` is kept from page to page: the holders of data that so many images need that
    counting them for each page would take longer than all else.
    """
    select = _images.where(manifest.c.last_pull <= until, *in_scope(scope)).limit(limit)
    if after is not None:
        # The first condition says the same less exactly: it is what SQLite looks up.
        select = select.where(manifest.c.last_pull >= after[0], _position > after)
    tops = connection.execute(select).all()
    images = _Images(connection, [(top.repository_id, top.content_id) for top in tops], shared)
    last = tops[-1] if len(tops) == limit else None
    cursor = None if last is None else (last.last_pull, last.repository_id, last.content_id)
    return [images.candidate(top) for top in tops], cursor


def images_of(connection: sa.Connection, name: RepositoryName) -> list[EvictionCandidate]:
    """Return all images of one repository."""
    tops = connection.execute(_images.where(repository.c.path == to_path(name))).all()
    images = _Images(connection, [(top.repository_id, top.content_id) for top in tops], {})
    return [images.candidate(top) for top in tops]


def orphans(connection: sa.Connection, *, after: int, limit: int) -> tuple[list[Orphan], int]:
    """Return orphans behind a content's id, and the id of the last one looked at."""
    select = (
        sa.select(content.c.id, content.c.digest, content.c.size_bytes, content.c.stored_at)
        .where(
            content.c.id > after,
            content.c.size_bytes.is_not(None),
            ~sa.exists().where(layer.c.content_id == content.c.id),
            ~sa.exists().where(manifest.c.content_id == content.c.id),
            ~sa.exists().where(
                edge.c.child_id == content.c.id,
                edge.c.kind == EdgeKind.BLOB,
                manifest.c.content_id == edge.c.parent_id,
            ),
        )
        .order_by(content.c.id)
        .limit(limit)
    )
    rows = connection.execute(select).all()
    found = [Orphan(Digest.parse(row.digest), row.size_bytes, row.stored_at) for row in rows]
    return found, rows[-1].id if len(rows) == limit else -1


def loose_layers(
    connection: sa.Connection, scope: Scope, *, after: Pair, limit: int
) -> tuple[list[LooseLayer], Pair | None]:
    """Return layer links that no held manifest of their repository needs, behind ``after``."""
    # One inside the other, so that the few manifests of the repository are looked through, and
    # not the many of all others that need the same base layer. Left alone, SQLAlchemy correlates
    # with the nearest select only, and the inner one would look at any layer.
    names_it = (
        sa.exists()
        .where(
            edge.c.parent_id == manifest.c.content_id,
            edge.c.kind == EdgeKind.BLOB,
            edge.c.child_id == layer.c.content_id,
        )
        .correlate(manifest, layer)
    )
    needed = sa.exists().where(manifest.c.repository_id == layer.c.repository_id, names_it)
    select = (
        sa.select(layer, content.c.digest, content.c.size_bytes, repository.c.path)
        .join(repository, repository.c.id == layer.c.repository_id)
        .join(content, content.c.id == layer.c.content_id)
        .where(
            layer.c.repository_id >= after[0],
            sa.tuple_(layer.c.repository_id, layer.c.content_id) > after,
            ~needed,
            *in_scope(scope),
        )
        .order_by(layer.c.repository_id, layer.c.content_id)
        .limit(limit)
    )
    rows = connection.execute(select).all()
    found = [
        LooseLayer(to_name(row.path), Digest.parse(row.digest), row.size_bytes or 0, row.stored_at)
        for row in rows
    ]
    return found, (rows[-1].repository_id, rows[-1].content_id) if len(rows) == limit else None


def count_holders(connection: sa.Connection, ids: Iterable[int]) -> dict[int, int]:
    """Count, for data that is held, the held manifests that need it; see records.BlobUse."""
    counts: dict[int, int] = defaultdict(int)
    for some in pages(sorted(ids)):
        of_blobs = (
            sa.select(edge.c.child_id, sa.func.count())
            .join(manifest, manifest.c.content_id == edge.c.parent_id)
            .where(edge.c.kind == EdgeKind.BLOB, edge.c.child_id.in_(some))
            .group_by(edge.c.child_id)
        )
        of_manifests = (
            sa.select(manifest.c.content_id, sa.func.count())
            .where(manifest.c.content_id.in_(some))
            .group_by(manifest.c.content_id)
        )
        for select in (of_blobs, of_manifests):
            for found, count in connection.execute(select):
                counts[found] += count
    return counts


@dataclass(slots=True)
class _Held:
    """What is known of the content that the images of one page need."""

    digest: Digest
    size_bytes: int | None
    blobs: list[int] = field(default_factory=list)


class _Images:
    """The images of one page: members, tags and data of all of them, read together."""

    def __init__(
        self, connection: sa.Connection, tops: Sequence[Pair], shared: dict[int, int]
    ) -> None:
        self._under = _closure(connection, tops)
        members = {(of, low) for (of, _), lows in self._under.items() for low in lows}
        members |= set(tops)
        self._images = _count_images(connection, members)
        self._tags = _tags(connection, members)
        self._contents = _contents(connection, {found for _, found in members})
        needed = {blob for held in self._contents.values() for blob in held.blobs}
        self._contents |= _contents(connection, needed - self._contents.keys(), bare=True)
        counted = count_holders(connection, self._contents.keys() - shared.keys())
        shared |= {found: count for found, count in counted.items() if count >= _MANY_HOLDERS}
        self._holders = shared | counted

    def candidate(self, top: sa.Row[int, int, float, float, int, str]) -> EvictionCandidate:
        """Put one image together."""
        of, found, stored_at, last_pull, hits, path = top
        order = self._members(of, found)
        members = tuple(self._member(of, one) for one in order)
        blobs = dict.fromkeys(blob for one in order for blob in self._blobs(one))
        return EvictionCandidate(
            repository=to_name(path),
            digest=self._contents[found].digest,
            tags=members[0].tags,
            stored_at=stored_at,
            last_pull=last_pull,
            hits=hits,
            members=members,
            blobs=tuple(
                BlobUse(
                    self._contents[blob].digest,
                    self._contents[blob].size_bytes or 0,
                    self._holders.get(blob, 0),
                )
                for blob in blobs
            ),
        )

    def _members(self, of: int, top: int) -> list[int]:
        """List the content ids of an image, the top first."""
        order = {top: None}
        stack = [top]
        while stack:
            for low in sorted(self._under.get((of, stack.pop()), ())):
                if low not in order:
                    order[low] = None
                    stack.append(low)
        return list(order)

    def _member(self, of: int, found: int) -> Member:
        return Member(
            digest=self._contents[found].digest,
            images=self._images[of, found],
            tags=self._tags.get((of, found), ()),
            blobs=tuple(self._contents[blob].digest for blob in self._blobs(found)),
        )

    def _blobs(self, found: int) -> list[int]:
        """List what a member needs and is held, its own data first."""
        needed = [found, *self._contents[found].blobs]
        return [blob for blob in needed if self._contents[blob].size_bytes is not None]


def _closure(connection: sa.Connection, tops: Sequence[Pair]) -> dict[Pair, set[int]]:
    """Return, for each manifest of the images, what stands directly below it."""
    under: dict[Pair, set[int]] = defaultdict(set)
    seen = set(tops)
    frontier = list(tops)
    while frontier:
        following = set()
        for of, high, low in below(connection, frontier):
            under[of, high].add(low)
            following.add((of, low))
        frontier = sorted(following - seen)
        seen |= following
    return under


def _count_images(connection: sa.Connection, members: set[Pair]) -> Mapping[Pair, int]:
    """Count the tops of its repository that each member belongs to."""
    over: dict[Pair, set[int]] = defaultdict(set)
    seen = set(members)
    frontier = sorted(members)
    while frontier:
        following = set()
        for of, low, high in above(connection, frontier):
            over[of, low].add(high)
            following.add((of, high))
        frontier = sorted(following - seen)
        seen |= following
    return {pair: len(_tops(over, pair)) for pair in members}


def _tops(over: Mapping[Pair, set[int]], pair: Pair) -> set[int]:
    of, found = pair
    tops, seen, stack = set(), {found}, [found]
    while stack:
        one = stack.pop()
        highs = over.get((of, one))
        if not highs:
            tops.add(one)
            continue
        stack += highs - seen
        seen |= highs
    return tops


def _tags(connection: sa.Connection, members: set[Pair]) -> dict[Pair, tuple[Tag, ...]]:
    found: dict[Pair, list[Tag]] = defaultdict(list)
    repositories = sorted({of for of, _ in members})
    for some in pages(sorted({content_id for _, content_id in members})):
        select = (
            sa.select(tag.c.repository_id, tag.c.content_id, tag.c.name)
            .where(tag.c.content_id.in_(some), tag.c.repository_id.in_(repositories))
            .order_by(tag.c.name)
        )
        for of, content_id, name in connection.execute(select):
            found[of, content_id].append(Tag(name))
    return {pair: tuple(names) for pair, names in found.items()}


def _contents(connection: sa.Connection, ids: set[int], *, bare: bool = False) -> dict[int, _Held]:
    """Read digests and sizes; unless ``bare``, also which blobs the manifests among them need."""
    held: dict[int, _Held] = {}
    for some in pages(sorted(ids)):
        select = sa.select(content.c.id, content.c.digest, content.c.size_bytes)
        for found, digest, size_bytes in connection.execute(select.where(content.c.id.in_(some))):
            held[found] = _Held(Digest.parse(digest), size_bytes)
        if bare:
            continue
        edges = sa.select(edge.c.parent_id, edge.c.child_id).where(
            edge.c.parent_id.in_(some), edge.c.kind == EdgeKind.BLOB
        )
        for parent, child in connection.execute(edges):
            held[parent].blobs.append(child)
    return held


def holders_of(connection: sa.Connection, digest: Digest) -> int:
    """Count the held manifests, of any repository, that need some data."""
    found = connection.scalar(sa.select(content.c.id).where(content.c.digest == str(digest)))
    return 0 if found is None else count_holders(connection, [found]).get(found, 0)
