"""Making rows say what the layout says: for one page of a rebuild, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from roadstead.metadata.paths import to_path
from roadstead.metadata.recording import (
    content_rows,
    drop_edges,
    note_edges,
    retop_all,
    spread,
)
from roadstead.metadata.records import PointsAt
from roadstead.metadata.schema import content, layer, manifest, repository, tag
from roadstead.metadata.statements import upsert
from roadstead.metadata.volume import HeldData, HeldRepository
from roadstead.oci.digest import Digest

_set_size = (
    sa.update(content)
    .where(content.c.id == sa.bindparam("found"))
    .values(size_bytes=sa.bindparam("size"), stored_at=sa.bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class DataPage:
    """All data on the volume whose digest is between two texts, as text."""

    behind: str
    below: str
    data: Sequence[HeldData]


def mend_data(connection: sa.Connection, *, page: DataPage, cutoff: float) -> None:
    """Make the rows of all content of a page say what is held.

    A row that says "held" and has no file is believed if it was written after ``cutoff``. The
    sum of all sizes is left for the end.
    """
    held = {str(one.digest): one for one in page.data}
    select = sa.select(
        content.c.id, content.c.digest, content.c.size_bytes, content.c.stored_at
    ).where(content.c.digest > page.behind, content.c.digest < page.below)
    changed = []
    for row in connection.execute(select):
        one = held.pop(row.digest, None)
        if one is not None and row.size_bytes != one.size_bytes:
            changed.append({"found": row.id, "size": one.size_bytes, "at": one.stored_at})
        elif one is None and row.size_bytes is not None and row.stored_at < cutoff:
            changed.append({"found": row.id, "size": None, "at": 0.0})
    if changed:
        connection.execute(_set_size, changed)
    if held:
        connection.execute(
            sa.insert(content),
            [
                {"digest": digest, "size_bytes": one.size_bytes, "stored_at": one.stored_at}
                for digest, one in sorted(held.items())
            ],
        )


def mend_repositories(
    connection: sa.Connection,
    page: Sequence[HeldRepository],
    *,
    behind: str,
    last: str | None,
    points_at: Mapping[Digest, PointsAt],
    cutoff: float,
) -> None:
    """Make the rows of all repositories behind one path up to another say what ``page`` says.

    ``last`` None is the end of all. ``points_at`` is what was not known of manifests in the
    page. Rows written after ``cutoff`` stay.
    """
    _Page(connection, page, cutoff).mend(behind, last, points_at)


class _Page:
    def __init__(
        self, connection: sa.Connection, page: Sequence[HeldRepository], cutoff: float
    ) -> None:
        self._connection = connection
        self._page = {to_path(one.name): one for one in page}
        self._cutoff = cutoff

    def mend(self, behind: str, last: str | None, points_at: Mapping[Digest, PointsAt]) -> None:
        repositories = self._repositories(behind, last)
        contents = self._contents()
        note_edges(
            self._connection, {contents[digest]: found for digest, found in points_at.items()}
        )
        self._manifests(repositories, contents)
        self._layers(repositories, contents)
        self._tags(repositories, contents)
        retop_all(self._connection, list(repositories.values()))
        self._remove_empty([of for path, of in repositories.items() if path not in self._page])

    def _repositories(self, behind: str, last: str | None) -> dict[str, int]:
        """Return the ids of all rows in the range, those of the page made where need be."""
        select = sa.select(repository.c.path, repository.c.id).where(repository.c.path > behind)
        if last is not None:
            select = select.where(repository.c.path <= last)
        found = {row.path: int(row.id) for row in self._connection.execute(select)}
        missing = [{"path": path} for path in self._page if path not in found]
        if missing:
            self._connection.execute(sa.insert(repository), missing)
            found = {row.path: int(row.id) for row in self._connection.execute(select)}
        return found

    def _contents(self) -> dict[Digest, int]:
        named = {
            digest
            for one in self._page.values()
            for digests in (
                one.manifests,
                one.layers,
                (link.source for link in one.layers.values()),
                (link.digest for link in one.tags.values()),
            )
            for digest in digests
        }
        return content_rows(self._connection, named)

    def _manifests(self, repositories: Mapping[str, int], contents: Mapping[Digest, int]) -> None:
        held = {
            (repositories[path], contents[digest]): link.stored_at
            for path, one in self._page.items()
            for digest, link in one.manifests.items()
        }
        gone, missing = self._compare(manifest, manifest.c.content_id, repositories, held)
        drop_edges(self._connection, [found for _, found in gone])
        rows = [
            {
                "repository_id": of,
                "content_id": found,
                "stored_at": held[of, found],
                "last_pull": held[of, found],
                "hits": 0,
                "is_top": True,
            }
            for of, found in missing
        ]
        if rows:
            self._connection.execute(
                upsert(self._connection, manifest).on_conflict_do_nothing(), rows
            )
        self._spread(list(repositories.values()))

    def _spread(self, repositories: Sequence[int]) -> None:
        """Let images count as pulled when their members were; all rows of the page are there."""
        select = sa.select(
            manifest.c.repository_id, manifest.c.content_id, manifest.c.last_pull
        ).where(manifest.c.repository_id.in_(repositories))
        rows = self._connection.execute(select).all()
        spread(self._connection, {(row[0], row[1]): row[2] for row in rows})

    def _layers(self, repositories: Mapping[str, int], contents: Mapping[Digest, int]) -> None:
        held = {
            (repositories[path], contents[name]): link.stored_at
            for path, one in self._page.items()
            for digest, link in one.layers.items()
            # Content that lies under another name must not look like an orphan.
            for name in (digest, link.source)
        }
        _, missing = self._compare(layer, layer.c.content_id, repositories, held)
        rows = [
            {"repository_id": of, "content_id": found, "stored_at": held[of, found]}
            for of, found in missing
        ]
        if rows:
            self._connection.execute(sa.insert(layer), rows)

    def _tags(self, repositories: Mapping[str, int], contents: Mapping[Digest, int]) -> None:
        held = {
            (repositories[path], str(name)): link
            for path, one in self._page.items()
            for name, link in one.tags.items()
        }
        self._compare(tag, tag.c.name, repositories, held)
        add = upsert(self._connection, tag)
        rows = [
            {
                "repository_id": of,
                "name": name,
                "content_id": contents[link.digest],
                "stored_at": link.stored_at,
            }
            for (of, name), link in held.items()
        ]
        if rows:
            # The layout may be older than a row that was written since it was read.
            differs = tag.c.content_id != add.excluded.content_id
            older = tag.c.stored_at < add.excluded.stored_at
            self._connection.execute(
                add.on_conflict_do_update(
                    index_elements=[tag.c.repository_id, tag.c.name],
                    set_={
                        "content_id": add.excluded.content_id,
                        "stored_at": add.excluded.stored_at,
                    },
                    where=sa.and_(differs, sa.or_(older, tag.c.stored_at < self._cutoff)),
                ),
                rows,
            )

    def _compare(
        self,
        table: sa.Table,
        column: sa.Column[Any],
        repositories: Mapping[str, int],
        held: Mapping[tuple[int, Any], object],
    ) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
        """Remove rows without a link, but for young ones; return these, and links without a row."""
        select = sa.select(table.c.repository_id, column, table.c.stored_at).where(
            table.c.repository_id.in_(repositories.values())
        )
        rows = {(row[0], row[1]): row[2] for row in self._connection.execute(select)}
        gone = [key for key, at in rows.items() if key not in held and at < self._cutoff]
        if gone:
            self._connection.execute(
                sa.delete(table).where(
                    table.c.repository_id == sa.bindparam("of"), column == sa.bindparam("what")
                ),
                [{"of": of, "what": what} for of, what in gone],
            )
        return gone, [key for key in held if key not in rows]

    def _remove_empty(self, ids: Sequence[int]) -> None:
        """Remove repositories that are not on the volume any more and have no row left."""
        if ids:
            self._connection.execute(
                sa.delete(repository).where(
                    repository.c.id.in_(ids),
                    *(
                        ~sa.exists().where(table.c.repository_id == repository.c.id)
                        for table in (manifest, layer, tag)
                    ),
                )
            )
