"""What is written: each function does one thing within the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from roadstead.metadata.graph import Pair, above, below
from roadstead.metadata.paths import to_path
from roadstead.metadata.records import ManifestRecord, PointsAt, RemovedRows
from roadstead.metadata.schema import (
    EdgeKind,
    content,
    edge,
    layer,
    manifest,
    repository,
    state,
    tag,
)
from roadstead.metadata.statements import pages, upsert
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag

_repository_id = sa.select(repository.c.id).where(repository.c.path == sa.bindparam("path"))
_add_repository = sa.insert(repository).returning(repository.c.id)
_find_content = sa.select(content.c.id, content.c.size_bytes, content.c.media_type).where(
    content.c.digest == sa.bindparam("digest")
)
_add_content = sa.insert(content).returning(content.c.id)
_set_size = (
    sa.update(content)
    .where(content.c.id == sa.bindparam("found"))
    .values(size_bytes=sa.bindparam("size"), stored_at=sa.bindparam("at"))
)
_set_media_type = (
    sa.update(content)
    .where(content.c.id == sa.bindparam("found"))
    .values(media_type=sa.bindparam("media"))
)
_add_bytes = sa.update(state).values(held_bytes=state.c.held_bytes + sa.bindparam("delta"))
_bump = (
    sa.update(manifest)
    .where(
        manifest.c.repository_id == sa.bindparam("of"),
        manifest.c.content_id == sa.bindparam("found"),
        manifest.c.last_pull < sa.bindparam("at"),
    )
    .values(last_pull=sa.bindparam("at"))
)


def record_manifest(connection: sa.Connection, record: ManifestRecord) -> None:
    """Note a manifest of a repository, its data and its edges."""
    of = repository_row(connection, record.repository)
    found = held_content(connection, record.digest, record.size_bytes, record.stored_at)
    if record.points_at is not None:
        note_edges(connection, {found: record.points_at})
    add = upsert(connection, manifest).values(
        repository_id=of,
        content_id=found,
        stored_at=record.stored_at,
        last_pull=record.stored_at,
        hits=0,
        is_top=True,
    )
    connection.execute(
        add.on_conflict_do_update(
            index_elements=[manifest.c.repository_id, manifest.c.content_id],
            set_={"stored_at": record.stored_at},
        )
    )
    settle(connection, of, found)


def record_tag(
    connection: sa.Connection, name: RepositoryName, tag_name: Tag, digest: Digest, at: float
) -> None:
    """Note what a tag points at."""
    of = repository_row(connection, name)
    found = known_content(connection, digest)
    this = sa.and_(tag.c.repository_id == of, tag.c.name == tag_name)
    before = connection.scalar(sa.select(tag.c.content_id).where(this))
    row = {"repository_id": of, "name": tag_name, "content_id": found, "stored_at": at}
    if before is None:
        connection.execute(sa.insert(tag), row)
        return
    connection.execute(sa.update(tag).where(this).values(content_id=found, stored_at=at))
    if before != found:
        prune(connection, [before])


def record_layer(
    connection: sa.Connection,
    name: RepositoryName,
    digest: Digest,
    size_bytes: int | None,
    at: float,
) -> None:
    """Note a layer of a repository, and its data if that is held."""
    of = repository_row(connection, name)
    if size_bytes is None:
        found = known_content(connection, digest)
    else:
        found = held_content(connection, digest, size_bytes, at)
    add = upsert(connection, layer).values(repository_id=of, content_id=found, stored_at=at)
    connection.execute(
        add.on_conflict_do_update(
            index_elements=[layer.c.repository_id, layer.c.content_id], set_={"stored_at": at}
        )
    )


def forget_tag(connection: sa.Connection, name: RepositoryName, tag_name: Tag) -> None:
    """Forget a tag."""
    gone = connection.scalar(
        sa.delete(tag)
        .where(
            tag.c.repository_id == _repository(connection, name),
            tag.c.name == tag_name,
        )
        .returning(tag.c.content_id)
    )
    if gone is not None:
        prune(connection, [gone])
        _drop_empty(connection, name)


def forget_manifest(connection: sa.Connection, name: RepositoryName, digest: Digest) -> None:
    """Forget a manifest of a repository; with the last one of its digest its edges go."""
    of = _repository(connection, name)
    found = _content(connection, digest)
    if of is None or found is None:
        return
    connection.execute(
        sa.delete(manifest).where(manifest.c.repository_id == of, manifest.c.content_id == found)
    )
    retop(connection, of, found)
    drop_edges(connection, [found])
    _drop_empty(connection, name)


def forget_layer(connection: sa.Connection, name: RepositoryName, digest: Digest) -> None:
    """Forget a layer of a repository."""
    found = _content(connection, digest)
    if found is None:
        return
    connection.execute(
        sa.delete(layer).where(
            layer.c.repository_id == _repository(connection, name), layer.c.content_id == found
        )
    )
    prune(connection, [found])
    _drop_empty(connection, name)


def forget_data(connection: sa.Connection, digest: Digest) -> None:
    """Forget data; what links to it or names it stays."""
    found = connection.execute(_find_content, {"digest": str(digest)}).first()
    if found is not None and found.size_bytes is not None:
        connection.execute(_set_size, {"found": found.id, "size": None, "at": 0})
        connection.execute(_add_bytes, {"delta": -found.size_bytes})
        prune(connection, [found.id])


def forget_all(connection: sa.Connection, removed: RemovedRows) -> None:
    """Forget a batch of removals."""
    for name, tag_name in removed.tags:
        forget_tag(connection, name, tag_name)
    for name, digest in removed.manifests:
        forget_manifest(connection, name, digest)
    for name, digest in removed.layers:
        forget_layer(connection, name, digest)
    for digest in removed.data:
        forget_data(connection, digest)


def repository_row(connection: sa.Connection, name: RepositoryName) -> int:
    """Return the id of a repository's row, made if need be."""
    found = _repository(connection, name)
    if found is None:
        found = connection.execute(_add_repository, {"path": to_path(name)}).scalar_one()
    return found


def known_content(connection: sa.Connection, digest: Digest) -> int:
    """Return the id of a digest's row, made if need be."""
    found = _content(connection, digest)
    if found is None:
        new = {"digest": str(digest), "stored_at": 0.0}
        found = connection.execute(_add_content, new).scalar_one()
    return found


def held_content(connection: sa.Connection, digest: Digest, size_bytes: int, at: float) -> int:
    """Return the id of a digest's row, which says from now on that the data is held."""
    found = connection.execute(_find_content, {"digest": str(digest)}).first()
    if found is None:
        new = {"digest": str(digest), "size_bytes": size_bytes, "stored_at": at}
        added = connection.execute(_add_content, new).scalar_one()
        connection.execute(_add_bytes, {"delta": size_bytes})
        return int(added)
    connection.execute(_set_size, {"found": found.id, "size": size_bytes, "at": at})
    if size_bytes != (found.size_bytes or 0):
        connection.execute(_add_bytes, {"delta": size_bytes - (found.size_bytes or 0)})
    return int(found.id)


def note_edges(connection: sa.Connection, documents: Mapping[int, PointsAt]) -> None:
    """Note what manifests, by content, point at; what is noted already says the same."""
    pointed = [
        (found, kind, digests)
        for found, points_at in documents.items()
        for kind, digests in (
            (EdgeKind.CHILD, points_at.children),
            (EdgeKind.BLOB, points_at.blobs),
            (EdgeKind.SUBJECT, (points_at.subject,) if points_at.subject is not None else ()),
        )
    ]
    ids = content_rows(connection, {digest for _, _, digests in pointed for digest in digests})
    rows = [
        {"parent_id": found, "kind": int(kind), "child_id": child}
        for found, kind, digests in pointed
        for child in {ids[digest] for digest in digests}
    ]
    if rows:
        connection.execute(upsert(connection, edge).on_conflict_do_nothing(), rows)
    media = [{"found": found, "media": one.media_type} for found, one in documents.items()]
    if media:
        connection.execute(_set_media_type, media)


def drop_edges(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Forget what those manifests pointed at that no repository holds any more."""
    if not ids:
        return
    held = sa.select(manifest.c.content_id).where(manifest.c.content_id.in_(ids))
    gone = sorted(set(ids).difference(connection.scalars(held)))
    if not gone:
        return
    children = connection.scalars(
        sa.delete(edge).where(edge.c.parent_id.in_(gone)).returning(edge.c.child_id)
    ).all()
    connection.execute(_set_media_type, [{"found": one, "media": None} for one in gone])
    prune(connection, [*gone, *children])


def content_rows(connection: sa.Connection, digests: Iterable[Digest]) -> dict[Digest, int]:
    """Return the ids of many digests' rows, made where need be."""
    ids: dict[Digest, int] = {}
    for some in pages(list(set(digests))):
        ids |= _find_contents(connection, some)
        missing = [digest for digest in some if digest not in ids]
        if missing:
            add = upsert(connection, content).on_conflict_do_nothing()
            connection.execute(add, [{"digest": str(one), "stored_at": 0.0} for one in missing])
            ids |= _find_contents(connection, missing)
    return ids


def _find_contents(connection: sa.Connection, digests: Sequence[Digest]) -> dict[Digest, int]:
    wanted = {str(digest): digest for digest in digests}
    select = sa.select(content.c.digest, content.c.id).where(content.c.digest.in_(wanted))
    return {wanted[row.digest]: int(row.id) for row in connection.execute(select)}


def settle(connection: sa.Connection, of: int, found: int) -> None:
    """Put a manifest that was just noted into its image: who is a top, and since when pulled."""
    retop(connection, of, found)
    below_it = [low for _, _, low in below(connection, [(of, found)])]
    latest = connection.scalar(
        sa.select(sa.func.max(manifest.c.last_pull)).where(
            manifest.c.repository_id == of, manifest.c.content_id.in_([found, *below_it])
        )
    )
    bump(connection, {(of, found): latest or 0.0})


def bump(connection: sa.Connection, pulls: Mapping[Pair, float]) -> None:
    """Note pulls of manifests and, with them, of all images they belong to."""
    _raise(connection, pulls)
    spread(connection, pulls)


def spread(connection: sa.Connection, pulls: Mapping[Pair, float]) -> None:
    """Let the images that manifests belong to count as pulled when these were."""
    latest = dict(pulls)
    frontier: Sequence[Pair] = list(pulls)
    higher: dict[Pair, float] = {}
    while frontier:
        following = set()
        for of, low, high in above(connection, frontier):
            at = latest[of, low]
            if at > latest.get((of, high), 0.0):
                latest[of, high] = higher[of, high] = at
                following.add((of, high))
        frontier = list(following)
    _raise(connection, higher)


def _raise(connection: sa.Connection, latest: Mapping[Pair, float]) -> None:
    rows = [{"of": of, "found": found, "at": at} for (of, found), at in latest.items()]
    if rows:
        connection.execute(_bump, rows)


def retop(connection: sa.Connection, of: int, found: int) -> None:
    """Find out anew who is a top: a manifest, its children, and those that refer to it."""
    around = sa.or_(
        manifest.c.content_id == found,
        manifest.c.content_id.in_(
            sa.select(edge.c.child_id).where(
                edge.c.parent_id == found, edge.c.kind == EdgeKind.CHILD
            )
        ),
        manifest.c.content_id.in_(
            sa.select(edge.c.parent_id).where(
                edge.c.child_id == found, edge.c.kind == EdgeKind.SUBJECT
            )
        ),
    )
    change = sa.update(manifest).where(manifest.c.repository_id == of, around)
    connection.execute(change.values(is_top=is_top()))


def retop_all(connection: sa.Connection, repositories: Sequence[int]) -> None:
    """Find out anew who is a top in whole repositories."""
    change = sa.update(manifest).where(
        manifest.c.repository_id.in_(repositories), manifest.c.is_top != is_top()
    )
    connection.execute(change.values(is_top=is_top()))


def is_top() -> sa.ColumnElement[bool]:
    """Say of a row of ``manifest`` whether it is a top, as records.EvictionCandidate says."""
    other = manifest.alias("other")
    same = other.c.repository_id == manifest.c.repository_id
    contained = sa.exists().where(
        edge.c.child_id == manifest.c.content_id,
        edge.c.kind == EdgeKind.CHILD,
        same,
        other.c.content_id == edge.c.parent_id,
    )
    referring = sa.exists().where(
        edge.c.parent_id == manifest.c.content_id,
        edge.c.kind == EdgeKind.SUBJECT,
        same,
        other.c.content_id == edge.c.child_id,
    )
    return sa.and_(~contained.correlate(manifest), ~referring.correlate(manifest))


def prune(connection: sa.Connection, ids: Sequence[int] | None = None) -> None:
    """Remove rows of content that say nothing any more: of ``ids``, or all."""
    nobody = (
        ~sa.exists().where(manifest.c.content_id == content.c.id),
        ~sa.exists().where(layer.c.content_id == content.c.id),
        ~sa.exists().where(tag.c.content_id == content.c.id),
        ~sa.exists().where(edge.c.child_id == content.c.id),
        ~sa.exists().where(edge.c.parent_id == content.c.id),
    )
    remove = sa.delete(content).where(content.c.size_bytes.is_(None), *nobody)
    if ids is None:
        connection.execute(remove)
        return
    for some in pages(ids):
        connection.execute(remove.where(content.c.id.in_(some)))


def _drop_empty(connection: sa.Connection, name: RepositoryName) -> None:
    """Remove a repository's row with its last link, as its directory goes then."""
    nothing = (
        ~sa.exists().where(table.c.repository_id == repository.c.id)
        for table in (manifest, layer, tag)
    )
    connection.execute(sa.delete(repository).where(repository.c.path == to_path(name), *nothing))


def _repository(connection: sa.Connection, name: RepositoryName) -> int | None:
    return connection.scalar(_repository_id, {"path": to_path(name)})


def _content(connection: sa.Connection, digest: Digest) -> int | None:
    found = connection.execute(_find_content, {"digest": str(digest)}).first()
    return None if found is None else int(found.id)
