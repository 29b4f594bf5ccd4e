"""Several processes, and processes that are killed."""

import asyncio
import signal
import sys
from pathlib import Path
from random import Random

import pytest

from roadstead.metadata.database import MetadataDatabase
from roadstead.metadata.marks import Marks
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.layout import Layout
from roadstead.storage.survey import Survey
from tests.metadata.opened import opened, until
from tests.metadata.volumes import Image

_TOP = Path(__file__).parents[2]


async def start(root: Path, name: str, limit: int = 0) -> asyncio.subprocess.Process:
    """Start a process that pulls."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.metadata.child", str(root), name, str(limit)),
        cwd=_TOP,
        stdout=asyncio.subprocess.PIPE,
    )


async def links_without_rows(root: Path, database: MetadataDatabase) -> list[str]:
    """Compare the volume with the database, that way round which matters."""
    missing = []
    for _, found in Survey(root).repositories():
        tags = set(await database.list_tags(found.name) or ())
        missing += [f"{found.name}:{tag}" for tag in found.tags if tag not in tags]
        images = [one async for one in database.images(found.name)]
        members = {member.digest for one in images for member in one.members}
        needed = {blob.digest for one in images for blob in one.blobs}
        missing += [f"{found.name}@{digest}" for digest in found.manifests.keys() - members]
        loose = {
            one.digest async for one in database.loose_layers() if one.repository == found.name
        }
        missing += [f"{found.name} {one}" for one in found.layers.keys() - needed - loose]
    return missing


async def test_two_processes_share_a_database(tmp_path: Path) -> None:
    """Each one's rows and pulls are in it, and the layer that all share is counted once."""
    children = [await start(tmp_path, name, limit=10) for name in ("one", "two")]
    for child in children:
        await child.communicate()
        assert child.returncode == 0

    async with opened(tmp_path) as database:
        assert len(await database.list_repositories(after=None, limit=100)) == 20
        images = [one async for one in database.candidates()]
        assert [one.last_pull for one in images] == [9e9 + number // 2 for number in range(20)]
        assert await links_without_rows(tmp_path, database) == []
        assert await database.holders(Digest.of(Image().blobs[2])) == 20


@pytest.mark.crash
@pytest.mark.timeout(300)
async def test_no_link_is_ever_without_its_row(tmp_path: Path) -> None:
    """Whenever a process is killed: what the next one finds in the database is enough."""
    random = Random(4)  # noqa: S311 - chooses moments to kill at, guards nothing
    for turn in range(12):
        children = [await start(tmp_path, f"{name}{turn}") for name in ("one", "two")]
        for child in children:
            assert child.stdout is not None
            for _ in range(random.randint(1, 8)):
                await child.stdout.readline()
        await asyncio.sleep(random.random() / 50)
        for child in children:
            child.send_signal(signal.SIGKILL)
        for child in children:
            await child.communicate()

        # A mark says that rows may be missing; without one all must be there.
        is_owing = Marks(Layout(tmp_path).metadata.with_suffix(".behind")).present()
        async with opened(tmp_path, rebuilding=is_owing) as database:
            await until(database.is_whole)
            assert await links_without_rows(tmp_path, database) == []

    async with opened(tmp_path) as database:
        await database.rebuild(lambda _: None)
        assert await database.list_tags(RepositoryName("one0/app0")) == [Tag("latest")]
