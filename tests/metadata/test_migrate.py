"""The schema and its steps."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import roadstead.metadata
from roadstead.errors import MetadataError
from roadstead.metadata.engine import open_engine
from roadstead.metadata.migrate import migrate
from roadstead.metadata.records import Condition
from roadstead.metadata.schema import REVISION, metadata
from roadstead.storage.layout import Layout
from tests.metadata.opened import database_of, opened, until

_SCRIPTS = Path(roadstead.metadata.__file__).with_name("migrations")


def test_the_steps_lead_to_the_schema(tmp_path: Path) -> None:
    """What the migrations make is what the program expects, and doing it again does nothing."""
    engine = open_engine(tmp_path / "a %20 odd name.sqlite", for_writing=True)
    try:
        with engine.connect() as connection:
            for _ in range(2):
                with connection.begin():
                    migrate(connection)
            with connection.begin():
                context = MigrationContext.configure(connection)
                assert compare_metadata(context, metadata) == []
                found = sa.inspect(connection).get_table_names()
    finally:
        engine.dispose()
    assert set(found) == {table.name for table in metadata.sorted_tables} | {"alembic_version"}


def test_the_newest_step_is_the_revision() -> None:
    """Else each start would migrate, or none."""
    assert ScriptDirectory(str(_SCRIPTS)).get_current_head() == REVISION


def test_the_schema_is_one_for_postgresql_too() -> None:
    """Nothing in it is SQLite's alone."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    for table in metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=dialect))
        text += "".join(str(CreateIndex(one).compile(dialect=dialect)) for one in table.indexes)
        assert "ROWID" not in text


async def test_the_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """It is neither used nor replaced, and the log says what to do."""
    async with opened(tmp_path):
        pass
    path = Layout(tmp_path).metadata
    engine = open_engine(path, for_writing=True)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(MetadataError, match="newer version"):
            migrate(connection)
    engine.dispose()

    database = database_of(tmp_path)
    database.start()
    await until(lambda: database.condition() is Condition.FAILED)
    await database.aclose()

    assert path.exists()
    assert not path.with_suffix(".damaged").exists()
