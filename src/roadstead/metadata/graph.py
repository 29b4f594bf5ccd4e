"""Which held manifests of one repository belong together.

An index stands above its children, and a subject above what refers to it. Both ends must be
held by the repository. Pairs are ids of repository and content.
"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from roadstead.metadata.schema import EdgeKind, edge, manifest

Pair = tuple[int, int]

# Pairs in one statement: SQLite allows 32766 values, and each pair takes two.
_AT_ONCE = 500

_low = manifest.alias("low")
_high = manifest.alias("high")


def above(connection: sa.Connection, pairs: Sequence[Pair]) -> Iterator[tuple[int, int, int]]:
    """Yield (repository, low, high) for all that stands directly above the given ones."""
    yield from _related(connection, pairs, _low)


def below(connection: sa.Connection, pairs: Sequence[Pair]) -> Iterator[tuple[int, int, int]]:
    """Yield (repository, high, low) for all that stands directly below the given ones."""
    for of, low, high in _related(connection, pairs, _high):
        yield of, high, low


def _related(
    connection: sa.Connection, pairs: Sequence[Pair], given: sa.FromClause
) -> Iterator[tuple[int, int, int]]:
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        ids = sorted({content_id for _, content_id in some})
        for kind, lower, higher in (
            (EdgeKind.CHILD, edge.c.child_id, edge.c.parent_id),
            (EdgeKind.SUBJECT, edge.c.parent_id, edge.c.child_id),
        ):
            select = sa.select(_low.c.repository_id, _low.c.content_id, _high.c.content_id).where(
                # The pairs say it more exactly, but SQLite does not look them up in an index.
                (lower if given is _low else higher).in_(ids),
                sa.tuple_(given.c.repository_id, given.c.content_id).in_(some),
                edge.c.kind == kind,
                lower == _low.c.content_id,
                higher == _high.c.content_id,
                _low.c.repository_id == _high.c.repository_id,
            )
            for row in connection.execute(select):
                yield row[0], row[1], row[2]
