"""The tables.

A digest, whoever links to it, is one row of ``content``; so is one that a manifest names and
nobody holds. What a manifest points at follows from its content, so edges hang on content and
not on repositories. A repository's row stores its name with a space for every slash: the space
is smaller than all that a name can contain, so byte order is distribution's order, component
by component.
"""

from enum import IntEnum

import sqlalchemy as sa

REVISION = "0001"
"""The newest migration; with this one in the database nothing has to be migrated."""


class EdgeKind(IntEnum):
    """What a manifest says about the content that it points at."""

    CHILD = 0
    """A manifest of this index."""
    BLOB = 1
    """A config or layer of this image."""
    SUBJECT = 2
    """The manifest that this one refers to."""


# Sorted by bytes everywhere: SQLite does so anyway, PostgreSQL by the database's locale.
_Text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_Seconds = sa.Float(53)
_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()

repository = sa.Table(
    "repository",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("path", _Text, nullable=False, unique=True),
)

content = sa.Table(
    "content",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("digest", _Text, nullable=False, unique=True),
    # Null: the data is not held.
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("stored_at", _Seconds, nullable=False),
    # Null: not known to be a manifest; set together with its edges.
    sa.Column("media_type", _Text),
)

manifest = sa.Table(
    "manifest",
    metadata,
    sa.Column("repository_id", _Key, primary_key=True),
    sa.Column("content_id", _Key, primary_key=True),
    sa.Column("stored_at", _Seconds, nullable=False),
    sa.Column("last_pull", _Seconds, nullable=False),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("is_top", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("manifest_content", manifest.c.content_id)
sa.Index(
    "manifest_oldest",
    manifest.c.last_pull,
    manifest.c.repository_id,
    manifest.c.content_id,
    sqlite_where=sa.text("is_top"),
    postgresql_where=sa.text("is_top"),
)

layer = sa.Table(
    "layer",
    metadata,
    sa.Column("repository_id", _Key, primary_key=True),
    sa.Column("content_id", _Key, primary_key=True),
    sa.Column("stored_at", _Seconds, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("layer_content", layer.c.content_id)

tag = sa.Table(
    "tag",
    metadata,
    sa.Column("repository_id", _Key, primary_key=True),
    sa.Column("name", _Text, primary_key=True),
    sa.Column("content_id", _Key, nullable=False),
    sa.Column("stored_at", _Seconds, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("tag_content", tag.c.content_id, tag.c.repository_id)

edge = sa.Table(
    "edge",
    metadata,
    sa.Column("parent_id", _Key, primary_key=True),
    sa.Column("kind", sa.SmallInteger, primary_key=True),
    sa.Column("child_id", _Key, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("edge_child", edge.c.child_id, edge.c.kind)

pin = sa.Table(
    "pin",
    metadata,
    sa.Column("pattern", _Text, primary_key=True),
    sa.Column("pinned_by", _Text, nullable=False),
    sa.Column("pinned_at", _Seconds, nullable=False),
)

hourly = sa.Table(
    "hourly",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("upstream", _Text, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("served_bytes", sa.BigInteger, nullable=False),
    sa.Column("fetched_bytes", sa.BigInteger, nullable=False),
)

state = sa.Table(
    "state",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    # Of all data; kept up to date by whoever changes a size.
    sa.Column("held_bytes", sa.BigInteger, nullable=False),
    # Whether there is a row for every link, marks beside the file apart.
    sa.Column("is_whole", sa.Boolean, nullable=False),
    # When Roadstead last wrote here, which is about when it last wrote to the volume.
    sa.Column("written_at", _Seconds, nullable=False),
    # How the volume looked when the last process closed it; empty while one runs.
    sa.Column("closed_as", _Text, nullable=False),
)
"""One row, with id 1."""
