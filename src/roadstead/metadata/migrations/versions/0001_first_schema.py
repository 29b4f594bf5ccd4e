"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_SECONDS = sa.Float(53)


def upgrade() -> None:
    """Make all tables, and the one row of ``state``."""
    op.create_table(
        "content",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("stored_at", _SECONDS, nullable=False),
        sa.Column("media_type", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "edge",
        sa.Column("parent_id", _KEY, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("child_id", _KEY, nullable=False),
        sa.PrimaryKeyConstraint("parent_id", "kind", "child_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("edge_child", "edge", ["child_id", "kind"], unique=False)
    op.create_table(
        "hourly",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("upstream", _TEXT, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("served_bytes", sa.BigInteger(), nullable=False),
        sa.Column("fetched_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "upstream"),
    )
    op.create_table(
        "layer",
        sa.Column("repository_id", _KEY, nullable=False),
        sa.Column("content_id", _KEY, nullable=False),
        sa.Column("stored_at", _SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "content_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("layer_content", "layer", ["content_id"], unique=False)
    op.create_table(
        "manifest",
        sa.Column("repository_id", _KEY, nullable=False),
        sa.Column("content_id", _KEY, nullable=False),
        sa.Column("stored_at", _SECONDS, nullable=False),
        sa.Column("last_pull", _SECONDS, nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("is_top", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "content_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("manifest_content", "manifest", ["content_id"], unique=False)
    op.create_index(
        "manifest_oldest",
        "manifest",
        ["last_pull", "repository_id", "content_id"],
        unique=False,
        sqlite_where=sa.text("is_top"),
        postgresql_where=sa.text("is_top"),
    )
    op.create_table(
        "pin",
        sa.Column("pattern", _TEXT, nullable=False),
        sa.Column("pinned_by", _TEXT, nullable=False),
        sa.Column("pinned_at", _SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("pattern"),
    )
    op.create_table(
        "repository",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("path"),
    )
    op.create_table(
        "state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("held_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("written_at", _SECONDS, nullable=False),
        sa.Column("closed_as", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tag",
        sa.Column("repository_id", _KEY, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("content_id", _KEY, nullable=False),
        sa.Column("stored_at", _SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "name"),
        sqlite_with_rowid=False,
    )
    op.create_index("tag_content", "tag", ["content_id", "repository_id"], unique=False)
    op.execute(
        "INSERT INTO state (id, held_bytes, is_whole, written_at, closed_as)"
        " VALUES (1, 0, false, 0, '')"
    )
