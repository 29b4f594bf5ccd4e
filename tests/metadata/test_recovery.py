"""A database in trouble: nobody else is, and it recovers by itself."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from roadstead.errors import MetadataError
from roadstead.metadata.records import Condition
from roadstead.metadata.service import MetadataService
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.runtime.metadata import HeldNames, RecordedLinks
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.survey import Survey
from roadstead.telemetry.events import Event, MetadataFailed
from tests.metadata.model import digest_of
from tests.metadata.opened import database_of, opened, store_of, until, whole
from tests.metadata.volumes import APP, Image, hold


def marks(root: Path) -> list[Path]:
    """List the marks that say that rows may be missing."""
    return list((root / "roadstead/metadata.behind").glob("*"))


async def repositories(root: Path) -> list[RepositoryName]:
    """Open the database of a volume and list its repositories."""
    async with opened(root) as database:
        return await database.list_repositories(after=None, limit=100)


async def test_a_damaged_file_is_kept_aside_and_rebuilt(tmp_path: Path) -> None:
    """Whatever stands in it: the volume says what is held."""
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), Image())
    path = Layout(tmp_path).metadata
    path.write_bytes(b"no database at all, and longer than its header would be" * 100)

    assert await repositories(tmp_path) == [APP]
    assert path.with_suffix(".damaged").read_bytes().startswith(b"no database at all")


async def test_a_damaged_page_is_found_after_a_crash(tmp_path: Path) -> None:
    """A file that no process has closed is looked through before it is believed."""
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), Image())
    path = Layout(tmp_path).metadata
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE state SET closed_as = ''")
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))

    assert await repositories(tmp_path) == [APP]
    assert path.with_suffix(".damaged").exists()


async def test_a_removed_file_comes_back_while_running(tmp_path: Path) -> None:
    """It is noticed within a moment, made anew, and filled from the volume."""
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), Image())
        for path in (tmp_path / "roadstead").glob("metadata.sqlite*"):
            path.unlink()

        await until(Layout(tmp_path).metadata.exists)
        await whole(database)

        assert await database.list_repositories(after=None, limit=9) == [APP]
        assert await database.list_tags(APP) == ["latest"]


async def test_what_is_written_before_it_is_open_waits_under_a_mark(tmp_path: Path) -> None:
    """Links are written at once; the rows follow, and the mark goes."""
    service = MetadataService(Layout(tmp_path).metadata, Survey(tmp_path))
    store = FilesystemStore(tmp_path, notes=RecordedLinks(service))
    await hold(store, Image())
    assert len(marks(tmp_path)) == 1
    assert service.status().condition is Condition.OPENING

    service.start()
    await until(lambda: service.status().condition is Condition.WHOLE)

    assert marks(tmp_path) == []
    names = HeldNames(store, service)
    assert await names.list_repositories(after=None, limit=9) == [APP]
    assert await names.list_tags(APP) == ["latest"]
    assert service.database is not None
    assert await service.database.used_bytes() > 0
    await service.aclose()


async def test_a_process_that_ends_at_once_owes_nothing(tmp_path: Path) -> None:
    """What it wrote before its database was open is in there when it has ended."""
    service = MetadataService(Layout(tmp_path).metadata, Survey(tmp_path))
    await hold(FilesystemStore(tmp_path, notes=RecordedLinks(service)), Image())
    service.start()
    await service.aclose()

    assert marks(tmp_path) == []


async def test_what_a_dead_process_owed_is_rebuilt(tmp_path: Path) -> None:
    """A mark that nobody has locked says that rows are missing, whatever the file says."""
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), Image())
    left = tmp_path / "roadstead/metadata.behind/left"
    left.parent.mkdir(exist_ok=True)
    left.touch()

    async with opened(tmp_path, rebuilding=False) as database:
        await until(lambda: database.condition() is not Condition.OPENING)
        assert not await database.is_whole()
    assert await repositories(tmp_path) == [APP]
    assert marks(tmp_path) == []


async def test_a_locked_database_keeps_no_link_from_being_written(tmp_path: Path) -> None:
    """Its rows are owed for as long, counted, and rebuilt afterwards."""
    heard: list[Event] = []
    async with opened(tmp_path, observe=heard.append) as database:
        store = store_of(tmp_path, database)
        locker = sqlite3.connect(Layout(tmp_path).metadata, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        try:
            await hold(store, Image())
            assert await store.list_tags(APP) == ["latest"]
            assert marks(tmp_path)
            assert not await database.is_whole()
        finally:
            locker.execute("ROLLBACK")
            locker.close()

        await until(lambda: not marks(tmp_path))
        await whole(database)

        assert await database.list_tags(APP) == ["latest"]
    assert MetadataFailed("write") in heard


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The database is not there, says so, and links that cannot be owed are not written."""
    (tmp_path / "roadstead").write_bytes(b"in the way")
    database = database_of(tmp_path)
    database.start()
    await until(lambda: database.condition() is Condition.FAILED)

    with pytest.raises(MetadataError):
        await asyncio.wrap_future(database.record_tag(APP, Tag("a"), digest_of("image0")))
    with pytest.raises(MetadataError):
        await database.pins()
    with pytest.raises(MetadataError):
        await database.add_pin("a", "b", 1.0)
    assert not await database.is_whole()
    assert (await database.status()).condition is Condition.FAILED
    await database.aclose()


async def test_an_obstacle_that_goes_away(tmp_path: Path) -> None:
    """The database is tried again, and opens as soon as it can."""
    (tmp_path / "roadstead").write_bytes(b"in the way")
    database = database_of(tmp_path)
    database.start()
    await until(lambda: database.condition() is Condition.FAILED)

    (tmp_path / "roadstead").unlink()

    await whole(database)
    await database.aclose()


async def test_a_wrong_operation_fails_alone(tmp_path: Path) -> None:
    """What shares its transaction is committed all the same."""
    database = database_of(tmp_path)
    good = database.record_layer(APP, digest_of("blob0"), 1, 1.0)
    wrong = database.record_layer(APP, digest_of("blob1"), 2**70, 1.0)
    later = database.record_layer(APP, digest_of("blob2"), 2, 1.0)
    database.start()
    await until(lambda: all(one.done() for one in (good, wrong, later)))

    assert await database.used_bytes() == 3
    # It is owed as any other row that could not be written.
    assert wrong.exception() is None
    assert marks(tmp_path)
    await database.aclose()


async def test_removals_are_forgotten_by_the_store_itself(tmp_path: Path) -> None:
    """Whoever removes from a recorded store need not tell the database."""
    async with opened(tmp_path) as database:
        store = store_of(tmp_path, database)
        await hold(store, image := Image())

        def remove() -> None:
            with store.removing() as removal:
                removal.remove_tag(APP, Tag("latest"))
                removal.remove_manifest(APP, image.top)

        await asyncio.to_thread(remove)

        assert await database.list_tags(APP) == []
        (left,) = [one async for one in database.candidates()]
        assert left.digest == image.digest
