"""The database, made anew from the layout."""

import json
import os
import shutil
from pathlib import Path

from roadstead.metadata.database import MetadataDatabase
from roadstead.metadata.records import EvictionCandidate
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.layout import Layout
from tests.metadata.opened import opened, store_of, until
from tests.metadata.volumes import APP, OTHER, Image, hold, hold_blob

OLD = 1_000_000_000.0


async def told(database: MetadataDatabase) -> dict[str, object]:
    """Return all that the database tells, but for times."""
    names = await database.list_repositories(after=None, limit=100)
    return {
        "images": sorted([timeless(one) async for one in database.candidates()], key=repr),
        "orphans": sorted([str(one.digest) async for one in database.orphans()]),
        "loose": sorted([str(one.digest) async for one in database.loose_layers()]),
        "tags": {name: await database.list_tags(name) for name in names},
        "bytes": await database.used_bytes(),
    }


def timeless(one: EvictionCandidate) -> tuple[object, ...]:
    """Return an image without what only records know."""
    members = sorted((str(member.digest), member.images, member.tags) for member in one.members)
    blobs = sorted((str(blob.digest), blob.size_bytes, blob.holders) for blob in one.blobs)
    return one.repository, str(one.digest), one.tags, tuple(members), tuple(blobs)


def remove_database(root: Path) -> None:
    """Remove what Roadstead keeps beside the layout."""
    shutil.rmtree(root / "roadstead")


def make_old(directory: Path) -> None:
    """Let everything in a directory look as if it was written long ago."""
    for path in directory.rglob("*"):
        os.utime(path, (OLD, OLD))


async def test_a_rebuild_finds_what_was_recorded(tmp_path: Path) -> None:
    """The database says the same whether it was there all the time or is made from the links."""
    async with opened(tmp_path) as database:
        store = store_of(tmp_path, database)
        await hold(store, Image("app"))
        await hold(store, Image("second"), tag="2.0")
        await hold(store, Image("app"), repository=OTHER)
        await hold_blob(store, OTHER, b"needed by nobody")
        recorded = await told(database)
    remove_database(tmp_path)

    async with opened(tmp_path) as database:
        assert await told(database) == recorded


async def test_times_come_from_the_files(tmp_path: Path) -> None:
    """What was stored long ago, and never pulled here, goes first."""
    await hold(store_of(tmp_path), Image("old"))
    make_old(Layout(tmp_path).repository(APP))
    await hold(store_of(tmp_path), Image("new"), repository=OTHER)

    async with opened(tmp_path) as database:
        first, second = [one async for one in database.candidates()]

    assert (first.repository, first.stored_at, first.last_pull) == (APP, OLD, OLD)
    assert second.last_pull > OLD


async def test_pulls_survive_a_rebuild(tmp_path: Path) -> None:
    """A rebuild beside a running mirror compares; it does not begin at nothing."""
    image = Image()
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), image)
        database.touch(APP, image.top, 9e9)
        await database.flush()

        found = await database.rebuild(lambda _: None)

        assert (found.repositories, found.manifests, found.tags, found.layers) == (1, 2, 1, 3)
        pulls = await database.pulls(APP, image.top)
        assert pulls is not None
        assert (pulls.last_pull, pulls.hits) == (9e9, 1)


async def test_what_has_gone_is_removed(tmp_path: Path) -> None:
    """Rows of links, data and repositories that are not there, unless they are young."""
    await hold(store_of(tmp_path), image := Image())
    await hold(store_of(tmp_path), Image("other"), repository=OTHER)
    layout = Layout(tmp_path)
    make_old(tmp_path)
    async with opened(tmp_path) as database:
        shutil.rmtree(layout.repository(OTHER))
        shutil.rmtree(layout.blob(image.top).parent)
        layout.revision_link(APP, image.top).unlink()
        layout.tag_current_link(APP, Tag("latest")).unlink()
        layout.layer_link(APP, Digest.of(image.blobs[0])).unlink()
        kept = database.record_layer(RepositoryName("young"), Digest.of(b"1"), 1, 9e9)
        kept.result(20)

        await database.rebuild(lambda _: None)

        assert await database.list_repositories(after=None, limit=9) == [APP, "young"]
        assert await database.list_tags(APP) == []
        (left,) = [one async for one in database.candidates()]
        assert left.digest == image.digest
        orphans = {one.digest async for one in database.orphans()}
        assert Digest.of(Image("other").blobs[0]) in orphans
        assert image.top not in orphans


async def test_leftovers_are_passed_over(tmp_path: Path) -> None:
    """What a crash or another program has left is no reason to stop, and is not held."""
    await hold(store_of(tmp_path), image := Image())
    layout = Layout(tmp_path)
    empty = Digest.of(b"an empty data file")
    for path, content in {
        layout.blob(empty): b"",
        layout.blob(empty).with_name("data.1234.tmp"): b"half",
        layout.blobs / "sha256/ab/no-digest/data": b"odd",
        layout.blobs / "md5/ab/abcd/data": b"odd",
        layout.layer_link(APP, empty): b"",
        layout.revision_link(APP, empty): b"sha256:cut",
        layout.tag_current_link(APP, Tag("empty")): b"",
        layout.tags(APP) / ".odd/current/link": b"",
        layout.repository(APP) / "_uploads/1234/data": b"half",
        layout.repositories / "lost+found/x": b"",
        layout.repositories / "a file": b"",
        layout.schedule: b"{broken",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    layout.repository(RepositoryName("empty")).joinpath("_layers").mkdir(parents=True)
    # A manifest whose bytes are damaged: held, and of nothing more is known.
    layout.blob(image.digest).write_bytes(b"[]")

    async with opened(tmp_path) as database:
        names = await store_of(tmp_path).list_repositories(after=None, limit=9)
        assert await database.list_repositories(after=None, limit=9) == names
        assert await database.list_tags(APP) == ["latest"]
        (found,) = [one async for one in database.candidates()]
        assert [member.digest for member in found.members] == [image.top, image.digest]
        assert {one.digest async for one in database.orphans()} == set()


async def test_content_under_another_name_is_needed(tmp_path: Path) -> None:
    """What was asked for by sha512 and lies under its sha256, as distribution keeps it."""
    layer, document = b"a layer", json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    layout = Layout(tmp_path)
    for content, link in ((layer, layout.layer_link), (document, layout.revision_link)):
        name, source = Digest.of(content, "sha512"), Digest.of(content)
        for path, text in ((layout.blob(source), content), (link(APP, name), str(source).encode())):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)

    async with opened(tmp_path) as database:
        (found,) = [one async for one in database.candidates()]
        assert found.digest == Digest.of(document, "sha512")
        assert [(one.digest, one.holders) for one in found.blobs] == [(Digest.of(document), 1)]
        assert [one async for one in database.orphans()] == []


async def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    """It never goes back."""
    for number in range(3):
        await hold(store_of(tmp_path), Image(), repository=RepositoryName(f"library/app{number}"))
    told: list[float] = []

    async with opened(tmp_path) as database:
        await database.rebuild(told.append)

    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)


async def test_a_volume_that_another_program_changed_is_looked_at_again(tmp_path: Path) -> None:
    """New data, or a schedule that the stock registry wrote, since the last process closed it."""
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), Image())
    await hold(store_of(tmp_path), Image("foreign"), tag="foreign")

    async with opened(tmp_path) as database:
        assert await database.list_tags(APP) == ["foreign", "latest"]
    await store_of(tmp_path).write_tag(APP, Tag("third"), Image().top, 0.0)
    Layout(tmp_path).schedule.write_bytes(b"{}")

    async with opened(tmp_path) as database:
        assert await database.list_tags(APP) == ["foreign", "latest", "third"]


async def test_a_volume_that_nobody_changed_is_believed(tmp_path: Path) -> None:
    """No walk at the next start: a row that only the database has is still there."""
    async with opened(tmp_path) as database:
        await hold(store_of(tmp_path, database), Image())
        only = database.record_tag(APP, Tag("only-here"), Image().top)
        only.result(20)

    async with opened(tmp_path, rebuilding=False) as database:
        await until(database.is_whole)
        assert await database.list_tags(APP) == ["latest", "only-here"]
