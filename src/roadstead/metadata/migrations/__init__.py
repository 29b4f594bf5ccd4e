"""Alembic's scripts; one step in ``versions`` for each change of the schema."""
