"""What the database promises to those who use it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roadstead.metadata.database import MetadataDatabase
from roadstead.metadata.records import Condition, Pin, Pulls, RemovedRows, Scope, Totals
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.telemetry.events import Event, MetadataSettled
from tests.metadata.model import Model, digest_of
from tests.metadata.opened import database_of, opened, until

APP = RepositoryName("library/app")
OTHER = RepositoryName("ghcr.io/org/app")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[MetadataDatabase]:
    """Return the whole database of an empty volume."""
    async with opened(tmp_path) as database:
        yield database


async def record(database: MetadataDatabase, *names: str, to: RepositoryName = APP) -> None:
    """Record manifests of the model, one second apart."""
    model = Model()
    for number, name in enumerate(names):
        database.record_manifest(model.record_manifest(to, name, 100.0 + number)).result(20)


async def test_an_image_is_a_candidate_with_all_that_goes_with_it(
    database: MetadataDatabase,
) -> None:
    """The top comes with its held children and referrers, and with the data they need."""
    await record(database, "image0", "image1", "index0", "signature")
    database.record_layer(APP, digest_of("blob0"), 5, 100.0).result(20)

    (found,) = [one async for one in database.candidates()]

    assert found.digest == digest_of("index0")
    names = {"index0", "image0", "image1", "signature"}
    assert {member.digest for member in found.members} == {digest_of(name) for name in names}
    assert {blob.digest for blob in found.blobs} == {digest_of(name) for name in (*names, "blob0")}


async def test_a_pull_of_a_child_counts_for_its_image(database: MetadataDatabase) -> None:
    """What is pulled last is the last candidate, whichever member was pulled."""
    await record(database, "image0", "index0", "image2")
    assert [one.digest async for one in database.candidates()] == [
        digest_of("index0"),
        digest_of("image2"),
    ]

    database.touch(APP, digest_of("image0"), 500.0)
    await database.flush()

    found = [one async for one in database.candidates()]
    assert [(one.digest, one.last_pull) for one in found] == [
        (digest_of("image2"), 102.0),
        (digest_of("index0"), 500.0),
    ]


async def test_pulls_are_written_by_themselves(database: MetadataDatabase) -> None:
    """They wait in memory for a moment only, and a thousand of one image are one row."""
    await record(database, "image0")
    for number in range(1000):
        database.touch(APP, digest_of("image0"), 200.0 + number)
    database.touch(APP, digest_of("image1"), 200.0)

    async def are_written() -> bool:
        found = await database.pulls(APP, digest_of("image0"))
        return found is not None and found.hits > 0

    await until(are_written)

    found = await database.pulls(APP, digest_of("image0"))
    assert found == Pulls(stored_at=100.0, last_pull=1199.0, hits=1000)
    assert await database.pulls(APP, digest_of("image1")) is None


async def test_candidates_come_page_by_page(database: MetadataDatabase) -> None:
    """More images than fit into a page come all, once, oldest pull first."""
    waiting = [
        database.record_manifest(
            Model().record_manifest(f"library/app{number}", "image2", float(number))
        )
        for number in range(501)
    ]
    for one in waiting:
        one.result(20)

    found = [one async for one in database.candidates()]

    assert [one.last_pull for one in found] == [float(number) for number in range(501)]
    # All of them share their own data.
    assert {blob.holders for one in found for blob in one.blobs} == {501}


async def test_an_image_that_is_pulled_meanwhile_comes_once(database: MetadataDatabase) -> None:
    """It does not come again at the end, where it belongs now."""
    for number in range(300):
        to = f"library/app{number}"
        database.record_manifest(Model().record_manifest(to, "image2", float(number))).result(20)

    found: list[RepositoryName] = []
    async for one in database.candidates():
        if not found:
            database.touch(one.repository, one.digest, 9999.0)
            await database.flush()
        found.append(one.repository)

    assert len(found) == len(set(found)) == 300


async def test_the_images_of_one_repository(database: MetadataDatabase) -> None:
    """Oldest pull first, and of no repository inside it."""
    await record(database, "image0", "image2")
    await record(database, "image1", to=RepositoryName(f"{APP}/inner"))

    found = [one.digest async for one in database.images(APP)]

    assert found == [digest_of("image0"), digest_of("image2")]


async def test_a_scope_is_a_prefix_without_others(database: MetadataDatabase) -> None:
    """Candidates, loose layers and bytes can be asked for one upstream alone."""
    await record(database, "image0")
    await record(database, "image1", to=OTHER)
    for to, name in ((APP, "blob3"), (OTHER, "blob4")):
        database.record_layer(to, digest_of(name), 1000, 100.0).result(20)
    ours, theirs = Scope("", ("ghcr.io/",)), Scope("ghcr.io/")

    assert [one.repository async for one in database.candidates(ours)] == [APP]
    assert [one.repository async for one in database.candidates(theirs)] == [OTHER]
    assert [one.digest async for one in database.loose_layers(theirs)] == [digest_of("blob4")]
    parts = await database.used_bytes(ours), await database.used_bytes(theirs)
    assert sum(parts) == await database.used_bytes()
    assert min(parts) > 1000


async def test_a_layer_is_loose_beside_needed_ones(database: MetadataDatabase) -> None:
    """That a manifest needs another layer of the repository, or this one elsewhere, is nothing."""
    await record(database, "image0")
    await record(database, "image1", to=OTHER)
    for name in ("blob0", "blob2"):
        database.record_layer(APP, digest_of(name), 1000, 100.0).result(20)

    assert [one.digest async for one in database.loose_layers()] == [digest_of("blob2")]


async def test_names_are_in_distribution_s_order(database: MetadataDatabase) -> None:
    """Component by component: what lies inside comes before what only looks longer."""
    names = ["a", "a/b", "a/b/c", "a-b", "a.b", "b"]
    for name in names:
        database.record_layer(RepositoryName(name), digest_of("blob0"), 1, 1.0).result(20)

    assert await database.list_repositories(after=None, limit=100) == names
    for number, name in enumerate(names):
        assert await database.list_repositories(after=name, limit=2) == names[number + 1 :][:2]
    assert await database.list_repositories(after="a/a", limit=1) == ["a/b"]


async def test_tags_come_in_pages(database: MetadataDatabase) -> None:
    """In byte order; a repository that is not held has none, not even an empty list."""
    for tag in ("b", "a", "B", "1"):
        database.record_tag(APP, Tag(tag), digest_of("image0")).result(20)

    assert await database.list_tags(APP) == ["1", "B", "a", "b"]
    assert await database.list_tags(APP, after="B", limit=1) == ["a"]
    assert await database.list_tags(OTHER) is None


async def test_pins_stay(database: MetadataDatabase, tmp_path: Path) -> None:
    """A pin is kept as it was made first, over restarts and rebuilds, until it is removed."""
    await database.add_pin("library/*", "cli", 1.0)
    await database.add_pin("library/*", "somebody else", 2.0)
    await database.rebuild(lambda _: None)
    await database.aclose()

    async with opened(tmp_path) as again:
        assert await again.pins() == [Pin("library/*", "cli", 1.0)]
        assert await again.remove_pin("library/*") is True
        assert await again.remove_pin("library/*") is False
        assert await again.pins() == []


async def test_a_seeded_pull_never_goes_back(database: MetadataDatabase) -> None:
    """A time from elsewhere counts if it is later than what is known, and if the image is held."""
    await record(database, "image0")

    for at in (700.0, 600.0):
        await database.seed_pull(APP, digest_of("image0"), at)
        await database.seed_pull(OTHER, digest_of("image0"), at)

    assert await database.pulls(APP, digest_of("image0")) == Pulls(100.0, 700.0, 0)


async def test_a_batch_of_removals_is_forgotten_together(database: MetadataDatabase) -> None:
    """Tags, manifests, layers and data of one batch go in one transaction."""
    await record(database, "image0")
    database.record_tag(APP, Tag("latest"), digest_of("image0")).result(20)
    database.record_layer(APP, digest_of("blob0"), 5, 100.0).result(20)

    database.record_removal(
        RemovedRows(
            tags=((APP, Tag("latest")),),
            manifests=((APP, digest_of("image0")),),
            layers=((APP, digest_of("blob0")),),
            data=(digest_of("image0"), digest_of("blob0")),
        )
    ).result(20)

    assert await database.list_repositories(after=None, limit=9) == []
    assert await database.used_bytes() == 0


async def test_totals_add_up_per_hour(tmp_path: Path) -> None:
    """What several flushes and several processes count in one hour is one row."""
    for _ in range(2):
        async with opened(tmp_path) as database:
            for hits in (1, 0):
                database.notes.totals.put_back([Totals(7200, "docker.io", 1, hits, 10, 5)])
            database.notes.totals.put_back([Totals(3600, "ghcr.io", 1)])
    async with opened(tmp_path) as database:
        found = await database.hourly_totals(since=0)

    assert found == [Totals(3600, "ghcr.io", 2), Totals(7200, "docker.io", 4, 2, 40, 20)]


async def test_an_observer_hears_when_it_is_whole(tmp_path: Path) -> None:
    """Once for each change, from whichever thread finds out."""
    heard: list[Event] = []

    async with opened(tmp_path, observe=heard.append):
        pass

    assert heard == [MetadataSettled(whole=True)]


async def test_status_counts_what_is_held(database: MetadataDatabase) -> None:
    """Repositories, manifests, data and its bytes."""
    await record(database, "image0", "image1")
    database.record_layer(APP, digest_of("blob0"), 1000, 100.0).result(20)

    status = await database.status()

    assert (status.condition, status.progress) == (Condition.WHOLE, None)
    assert (status.repositories, status.manifests, status.blobs) == (1, 2, 3)
    assert status.held_bytes == await database.used_bytes()


async def test_a_manifest_with_very_many_children(database: MetadataDatabase) -> None:
    """More of them than a statement can have values."""
    children = tuple(Digest.of(str(number).encode()) for number in range(40_000))
    record = Model().record_manifest(APP, "index0", 1.0)
    assert record.points_at is not None
    points_at = type(record.points_at)("index", children=children)
    record = type(record)(APP, record.digest, 10, 1.0, points_at)

    database.record_manifest(record).result(30)

    (found,) = [one async for one in database.candidates()]
    assert len(found.members) == 1


async def test_many_records_share_few_commits(tmp_path: Path) -> None:
    """Whatever waits becomes one transaction: the last of many is done soon after the first."""
    database = database_of(tmp_path)
    records = [
        database.record_layer(APP, Digest.of(str(number).encode()), 1, 1.0)
        for number in range(1000)
    ]
    database.start()
    await until(lambda: all(record.done() for record in records))

    assert await database.used_bytes() == 1000
    await database.aclose()
