"""Bringing the schema up to date."""

import logging
from pathlib import Path

import sqlalchemy as sa

from roadstead.errors import MetadataError
from roadstead.metadata.schema import REVISION

_SCRIPTS = Path(__file__).with_name("migrations")


def migrate(connection: sa.Connection) -> None:
    """Run the migrations that the database lacks, in the transaction of ``connection``.

    The caller keeps other processes from migrating. Alembic is imported only if there is
    something to do: it takes a tenth of a second that a start can spare.

    Raises:
        MetadataError: a newer version of Roadstead has written the database.
        sqlalchemy.exc.SQLAlchemyError: the database is in trouble.
    """
    found = _revision(connection)
    if found == REVISION:
        return
    # What it does is of no interest in a mirror's log, unless it fails.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic.command import upgrade  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        message = (
            f"the metadata database has schema {found}, of a newer version of Roadstead; "
            "run that version, or remove the file: it is rebuilt, without pins and last pulls"
        )
        raise MetadataError(message)
    upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
