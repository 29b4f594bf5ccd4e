"""Commands that write to a volume beside a mirror keep its database in step."""

from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.runtime.volume import recorded_store
from roadstead.storage.layout import Layout
from tests.metadata.opened import opened
from tests.support.dockerregistry import image_manifest
from tests.support.rig import APP


async def test_what_a_command_links_and_removes_is_in_the_database(tmp_path: Path) -> None:
    """Else eviction would take imported data for orphans, and count what was collected."""
    content = image_manifest(b"config")
    digest = Digest.of(content)
    async with opened(tmp_path):
        pass

    async with recorded_store(tmp_path) as store:
        await store.write_manifest(APP, digest, content)
    async with opened(tmp_path) as database:
        assert [one.digest async for one in database.candidates()] == [digest]

    async with recorded_store(tmp_path) as store:
        with store.removing() as removal:
            removal.remove_manifest(APP, digest)
    async with opened(tmp_path) as database:
        assert [one.digest async for one in database.candidates()] == []


async def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    """The next mirror builds it from the layout."""
    async with recorded_store(tmp_path) as store:
        await store.write_manifest(APP, Digest.of(b"{}"), b"{}")

    assert not Layout(tmp_path).metadata.exists()
