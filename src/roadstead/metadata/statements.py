"""Pieces of statements that every module here needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Item = TypeVar("Item")
Upsert: TypeAlias = sqlite.Insert | postgresql.Insert

_MAKERS: Mapping[str, Callable[[sa.Table], Upsert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_AT_ONCE = 5_000
"""Values in one statement; SQLite allows 32766."""


def upsert(connection: sa.Connection, table: sa.Table) -> Upsert:
    """Return an insert that can say what happens to a row that is there."""
    return _MAKERS[connection.dialect.name](table)


def pages(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces for one statement each."""
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
