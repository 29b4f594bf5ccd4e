"""Plain questions: names, tags, pins, pulls and sums."""

import sqlalchemy as sa

from roadstead.metadata.paths import in_scope, to_name, to_path
from roadstead.metadata.records import Pin, Pulls, Scope, Totals
from roadstead.metadata.schema import (
    content,
    hourly,
    layer,
    manifest,
    pin,
    repository,
    state,
    tag,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag


def list_repositories(
    connection: sa.Connection, *, after: str | None, limit: int
) -> list[RepositoryName]:
    """Return up to ``limit`` names behind ``after``, compared component by component."""
    select = sa.select(repository.c.path).order_by(repository.c.path).limit(max(limit, 0))
    if after is not None:
        select = select.where(repository.c.path > to_path(after))
    return [to_name(path) for path in connection.scalars(select)]


def list_tags(
    connection: sa.Connection, name: RepositoryName, *, after: str | None, limit: int | None
) -> list[Tag] | None:
    """Return tags in byte order; None if the repository is not held at all."""
    of = connection.scalar(sa.select(repository.c.id).where(repository.c.path == to_path(name)))
    if of is None:
        return None
    select = sa.select(tag.c.name).where(tag.c.repository_id == of).order_by(tag.c.name)
    if after is not None:
        select = select.where(tag.c.name > after)
    return [Tag(found) for found in connection.scalars(select.limit(limit))]


def pulls(connection: sa.Connection, name: RepositoryName, digest: Digest) -> Pulls | None:
    """Tell how a held manifest has been pulled."""
    select = (
        sa.select(manifest.c.stored_at, manifest.c.last_pull, manifest.c.hits)
        .join(repository, repository.c.id == manifest.c.repository_id)
        .join(content, content.c.id == manifest.c.content_id)
        .where(repository.c.path == to_path(name), content.c.digest == str(digest))
    )
    row = connection.execute(select).first()
    return None if row is None else Pulls(row.stored_at, row.last_pull, row.hits)


def used_bytes(connection: sa.Connection, scope: Scope) -> int:
    """Sum up held data, each once; see base.Metadata."""
    if scope == Scope():
        return connection.scalar(sa.select(state.c.held_bytes)) or 0
    linked = [
        sa.select(table.c.content_id)
        .join(repository, repository.c.id == table.c.repository_id)
        .where(*in_scope(scope))
        for table in (manifest, layer)
    ]
    select = sa.select(sa.func.sum(content.c.size_bytes)).where(
        content.c.id.in_(sa.union_all(*linked))
    )
    return int(connection.scalar(select) or 0)


def pins(connection: sa.Connection) -> list[Pin]:
    """List the pins, by pattern."""
    select = sa.select(pin.c.pattern, pin.c.pinned_by, pin.c.pinned_at).order_by(pin.c.pattern)
    return [Pin(*row) for row in connection.execute(select)]


def hourly_totals(connection: sa.Connection, since: int) -> list[Totals]:
    """Return the totals of all hours from ``since`` on, oldest first."""
    select = (
        sa.select(hourly).where(hourly.c.hour >= since).order_by(hourly.c.hour, hourly.c.upstream)
    )
    return [Totals(*row) for row in connection.execute(select)]


def count_rows(connection: sa.Connection) -> tuple[int, int, int, int]:
    """Count repositories, manifests, and held data; and sum up its bytes."""
    held = sa.select(sa.func.count()).where(content.c.size_bytes.is_not(None))
    return (
        connection.scalar(sa.select(sa.func.count()).select_from(repository)) or 0,
        connection.scalar(sa.select(sa.func.count()).select_from(manifest)) or 0,
        connection.scalar(held) or 0,
        used_bytes(connection, Scope()),
    )
