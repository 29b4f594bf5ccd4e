"""How repository names are stored, so that byte order is distribution's order; see schema."""

import sqlalchemy as sa

from roadstead.metadata.records import Scope
from roadstead.metadata.schema import repository
from roadstead.oci.reference import RepositoryName


def to_path(name: str) -> str:
    """Spell a repository's name as it is stored and sorted."""
    return name.replace("/", " ")


def to_name(path: str) -> RepositoryName:
    """Turn ``to_path`` round."""
    return RepositoryName(path.replace(" ", "/"))


def in_scope(scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for a row of ``repository`` to be in ``scope``."""
    path = repository.c.path
    conditions = [~_begins(path, prefix) for prefix in scope.without]
    return [_begins(path, scope.prefix), *conditions] if scope.prefix else conditions


def _begins(path: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    low = to_path(prefix)
    # Names are ASCII: the delete character is greater than all that can follow the prefix.
    return sa.and_(path >= low, path < low + "\x7f")
