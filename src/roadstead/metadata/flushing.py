"""Writing what the buffers hold: pulls and hourly totals, many rows in few statements."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from roadstead.metadata.buffers import Key, NotedPulls
from roadstead.metadata.paths import to_path
from roadstead.metadata.recording import bump
from roadstead.metadata.records import Totals
from roadstead.metadata.schema import content, hourly, manifest, repository
from roadstead.metadata.statements import pages, upsert
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName

_count_hits = (
    sa.update(manifest)
    .where(
        manifest.c.repository_id == sa.bindparam("of"),
        manifest.c.content_id == sa.bindparam("found"),
    )
    .values(hits=manifest.c.hits + sa.bindparam("more"))
)


def write_pulls(connection: sa.Connection, noted: Mapping[Key, NotedPulls]) -> None:
    """Note pulls; what is not held (any more) is passed over."""
    for some in pages(list(noted)):
        repositories = _ids(connection, repository.c.path, {to_path(name) for name, _ in some})
        contents = _ids(connection, content.c.digest, {str(digest) for _, digest in some})
        rows = []
        latest = {}
        for name, digest in some:
            of, found = repositories.get(to_path(name)), contents.get(str(digest))
            if of is not None and found is not None:
                one = noted[name, digest]
                rows.append({"of": of, "found": found, "more": one.hits})
                latest[of, found] = one.at
        if rows:
            connection.execute(_count_hits, rows)
            bump(connection, latest)


def write_totals(connection: sa.Connection, totals: Sequence[Totals]) -> None:
    """Add to the sums of their hours."""
    if not totals:
        return
    names = ("requests", "hits", "served_bytes", "fetched_bytes")
    add = upsert(connection, hourly)
    more = {name: hourly.c[name] + add.excluded[name] for name in names}
    connection.execute(
        add.on_conflict_do_update(index_elements=[hourly.c.hour, hourly.c.upstream], set_=more),
        [
            {"hour": one.hour, "upstream": one.upstream}
            | {name: getattr(one, name) for name in names}
            for one in totals
        ],
    )


def _ids(connection: sa.Connection, column: sa.Column[str], values: set[str]) -> dict[str, int]:
    select = sa.select(column, column.table.c.id).where(column.in_(values))
    return {row[0]: row[1] for row in connection.execute(select)}


def seed_pull(connection: sa.Connection, name: RepositoryName, digest: Digest, at: float) -> None:
    """Take a time of last pull from elsewhere, for a manifest that is held."""
    of = _ids(connection, repository.c.path, {to_path(name)})
    found = _ids(connection, content.c.digest, {str(digest)})
    if of and found:
        bump(connection, {(of[to_path(name)], found[str(digest)]): at})
